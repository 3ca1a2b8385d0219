"""docs/reference/commands.md, written from the command line's own help: python docs/generate.py"""

from collections.abc import Iterator
from pathlib import Path

import click

from modelflow.cli import cli

PAGE = Path(__file__).parent / "reference" / "commands.md"
HEAD = """# Commands

Written by `docs/generate.py` from `modelflow COMMAND --help`. Exit codes: 0 success, 1 failure, 2 invalid input.
"""


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command below a group with the words that call it, groups left out."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def section(path: tuple[str, ...], command: click.Command) -> str:
    """What a command does, its options, and its examples."""
    context = click.Context(command, info_name=" ".join(("modelflow", *path)))
    arguments = [param.make_metavar(context) for param in command.params if isinstance(param, click.Argument)]
    usage = " ".join(["modelflow", *path, "[OPTIONS]", *arguments])
    records = [param.get_help_record(context) for param in command.params if isinstance(param, click.Option)]
    rows = [f"| `{cell(names)}` | {cell(text)} |" for names, text in filter(None, records)]
    parts = [f"## {' '.join(path)}", f"```\n{usage}\n```", paragraphs(command.help or "")]
    return "\n\n".join([*parts, "\n".join(["| Option | Meaning |", "| --- | --- |", *rows])] if rows else parts)


def paragraphs(text: str) -> str:
    """A help text with each paragraph on a line of its own."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def cell(text: str) -> str:
    """A text that ends no cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def page() -> str:
    """The whole page."""
    return "\n\n".join([HEAD.rstrip(), *(section(path, command) for path, command in commands(cli))]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
