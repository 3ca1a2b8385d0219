"""Results of several people: `merge`."""

from pathlib import Path

import click

from modelflow.cli import terminal
from modelflow.cli.options import FOLDER, HELP, example


@click.command(
    context_settings=HELP, epilog=example("merge anna.zip ben.zip --into class", "merge carla/results --into class")
)
@click.argument("sources", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--into", type=FOLDER, required=True, help="Results folder for all of them. It may exist.")
def merge(sources: tuple[Path, ...], into: Path) -> None:
    """Bring the results of several people together.

    SOURCES are results folders, or zips of them. The model generic_1 of anna.zip becomes anna-generic_1.

    ModelFlow checks all runs before it copies any. It overwrites nothing. It says in what the models differ, and writes
    the report. If all sources were decided by the same metric and margin, the report keeps them.
    """
    from modelflow.studies.merge import merge as merged_into
    from modelflow.studies.pages import write_pages

    for sentence in merged_into(sources, into).said:
        terminal.say(sentence)
    terminal.log("writing the report …")
    terminal.answer(write_pages(into))
