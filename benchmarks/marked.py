"""Text that a script writes between two marks of a document, and leaves the rest of it alone."""

END = "<!-- end -->"


def between_marks(text: str, begin: str, block: str) -> str:
    """`text` with `block` in place of what stands between the mark `begin` and the next `<!-- end -->`."""
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{block}\n{END}{rest.split(END, 1)[1]}"
