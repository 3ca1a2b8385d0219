"""The command of the page that trains by itself: `demo`."""

from pathlib import Path

import click

from modelflow.cli import terminal
from modelflow.cli.options import DATA_DIR, HELP, example

PAGE = Path("demo.html")


@click.command(context_settings=HELP, epilog=example("demo"))
@DATA_DIR
def demo(data_dir: Path | None) -> None:
    """Write demo.html, a page that trains a network in the browser.

    The page trains generic_2 on 1,600 images of Fashion-MNIST by the compiled step, as WebAssembly. Loss, filters and
    predictions change live. Learning rate and batch size are sliders. It is one file and needs no network.
    """
    from modelflow.data.sources import read_source
    from modelflow.export.demo.page import render
    from modelflow.io.files import write_atomic

    terminal.log("compiling the training step …")
    write_atomic(PAGE, render(read_source("fashion-mnist", data_dir)))
    terminal.say(f"Open {PAGE} in a browser.")
