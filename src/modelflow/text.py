"""Texts of any origin, made safe for where they are shown: a terminal, a line, Markdown, LaTeX, a cell. No torch.

visible("a\x1b[31m")       what a terminal shows and obeys none of; lines stay
shown("a\nb")              one line for a person, as in the report
short(value)               any value in a message
sentence("fix it.")        a capital letter at its beginning
ended("it is damaged")     a full stop at its end
escaped("<b>")             one line of Markdown that shows it as it stands
markdown_table(rows)       rows of such lines
latex("a_b & c")           one line of LaTeX that shows it as it stands
cell("=1+1")               a cell of a CSV file that no spreadsheet computes
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

NO_NAME = "(no name)"
MAX_LENGTH = 2000
TURNING = {chr(code) for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
BLANK = {chr(code) for code in (0x115F, 0x1160, 0x2800, 0x3164, 0xFFA0)}
OBEYED = re.compile(f"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029{''.join(sorted(TURNING))}]")
COMPUTED = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # the last four are the first four in full width
OF_LATEX = {  # what LaTeX obeys, or fonts of its first encoding lack
    **{mark: f"\\{mark}" for mark in "{}$&#_%"},
    **{mark: f"{{{mark}}}" for mark in "[]*"},  # which would belong to the end of the line before
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "\N{MINUS SIGN}": "$-$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{RIGHTWARDS ARROW}": r"$\to$",
    "\N{DAGGER}": r"\textdagger{}",
    "\N{MIDDLE DOT}": r"\textperiodcentered{}",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
    "\N{EN DASH}": "--",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def visible(text: str) -> str:
    """The text with an escape such as \\x1b in place of what moves a terminal's cursor or turns its direction."""
    return OBEYED.sub(_escape, text)


def one_line(text: object) -> str:
    """`visible` in one line, such as a path of any origin in a message."""
    return visible(str(text)).replace("\n", r"\n")


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def shown(name: object) -> str:
    """A text of any origin as one line: without marks that turn the direction of others, or what stands for no text."""
    line = "".join(_legal(character) for character in str(name)[:MAX_LENGTH])
    line = " ".join(line.split())
    return line if any(_visible(character) for character in line) else NO_NAME


def _legal(character: str) -> str:
    if character in TURNING:
        return ""
    category = unicodedata.category(character)
    return " " if category in ("Cc", "Cs", "Zl", "Zp") else character


def _visible(character: str) -> bool:
    return unicodedata.category(character)[0] not in "CZ" and character not in BLANK


def short(value: object) -> str:
    """`value` as it would be written in Python, cut to what fits into a message, however large or nested it is."""
    import reprlib

    brief = reprlib.Repr()
    brief.maxlevel, brief.maxstring, brief.maxlong, brief.maxother = 2, 60, 40, 60
    try:
        text = brief.repr(value)
    except ValueError:  # Python refuses to write integers of more than 4,300 digits
        return "a number of thousands of digits"
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= 80 else text[:77] + "..."


def counted(number: int, what: str) -> str:
    """ "1 run", "2 runs"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def sentence(text: str) -> str:
    """`text` with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def ended(text: object) -> str:
    """A text with a full stop at its end, unless it has one."""
    line = str(text)
    return line if line.endswith((".", "?")) else f"{line}."


class Ready(str):
    """Text that is Markdown already and is not escaped again."""


def escaped(value: object) -> str:
    """Any value as one line of Markdown that shows it as it stands: no markup, no HTML, no control characters."""
    if isinstance(value, Ready):
        return value
    text = plain(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]#|~$])", r"\\\1", text).replace("@", "&#64;")
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    text = re.sub(r"^([-+](?=\s|$)|[-=](?=[-=]*$)|\d{1,9}(?=[.)](\s|$)))", _no_block, text)
    return re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)", r"\\\1\2", text)


def _no_block(found: re.Match[str]) -> str:
    """What would begin a list, underline a heading or be a rule, so that it stands in a line of its own as text."""
    return f"{found[0]}\\" if found[0][-1].isdigit() else f"\\{found[0]}"


def markdown_table(rows: Sequence[Sequence[object]], left: int = 1) -> Ready:
    """Rows as a table of Markdown, the first one its head; columns from `left` on are aligned to the right."""
    cells = [[escaped(value) for value in row] for row in rows]
    rule = ["---"] * left + ["---:"] * (len(rows[0]) - left)
    return Ready("".join(f"| {' | '.join(line)} |\n" for line in (cells[0], rule, *cells[1:])))


def latex(value: object) -> str:
    """Any value as one line of LaTeX's text that shows it as it stands: no command, no comment, no ligature.

    Letters stay what they are. Those beyond Latin ones need XeLaTeX or LuaLaTeX.
    """
    apart = re.sub(r"([-',])(?=\1)", "\\1\0", plain(value))  # two of them would become another character
    return "".join("{}" if character == "\0" else OF_LATEX.get(character, character) for character in apart)


def plain(value: object) -> str:
    """One line without control, formatting (such as right-to-left marks) or unpaired surrogate characters."""
    kept = (_kept(character) for character in str(value))
    return " ".join("".join(kept).split())


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    return "" if category in ("Cf", "Cs", "Co", "Cn") else " " if category[0] in "CZ" else character


def cell(value: object) -> Any:
    """A value for a CSV file: a text that a spreadsheet would compute begins with an apostrophe; None is empty.

    Numbers stay, also as texts; `uncell` takes the apostrophe away. After OWASP's "CSV Injection".
    """
    if isinstance(value, str) and COMPUTED.match(value.lstrip("'")) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return "" if value is None else value


def uncell(text: str) -> str:
    """The text that `cell` made a cell of."""
    return text[1:] if text.startswith("'") and COMPUTED.match(text.lstrip("'")) else text
