"""The pictures of the README from a results folder that has generic_2: python benchmarks/pictures.py FOLDER

`make pictures` trains such a folder first, and redraws those of docs/card-revisited.md too.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from doc_images import THEMES, save, save_drawn
from matplotlib.figure import Figure
from playwright.sync_api import Browser, sync_playwright

from modelflow import ModelFlow
from modelflow.evaluation.inspection.filters import conv_layers
from modelflow.evaluation.metrics import confusion_matrix
from modelflow.figures.confusion import most_common_mistake, plot_confusion_matrix
from modelflow.figures.outputs import plot_outputs
from modelflow.results.layout import REPORT, read_predictions
from modelflow.studies.run import open_run
from modelflow.training.modes import one_thread

MODEL, SHOWN = "generic_2", 10
VIEW, ROOM = {"width": 900, "height": 800}, 8


def confusion(flow: ModelFlow) -> Callable[[], Figure]:
    """The confusion matrix of a run, its most common mistake in the title."""
    logits_NK, labels_N = read_predictions(flow.results_dir)
    counts_KK = confusion_matrix(labels_N, logits_NK.argmax(1), len(flow.class_names))
    title = f"{MODEL}'s most common mistake: {most_common_mistake(counts_KK, flow.class_names)}"
    return lambda: plot_confusion_matrix(counts_KK, flow.class_names, title)


def outputs(flow: ModelFlow) -> Callable[[], Figure]:
    """What the convolutional layers of a run make of its first validation images."""
    x, y = (part[:SHOWN] for part in next(iter(flow.val_loader)))
    flow.arch.attach_hooks(conv_layers(flow.model))
    with one_thread():
        predicted = flow.arch.predict(x).argmax(1)
    right = int((predicted == y.numpy()).sum())
    title = f"{MODEL} is right in {right} of these {SHOWN} images; below, what its filters find"
    maps = flow.arch.visualization
    return lambda: plot_outputs(x.numpy(), maps, SHOWN, y.numpy(), predicted, flow.class_names, title)


def report(browser: Browser, page_file: Path) -> None:
    """The answer of the report, down to the card beside its first chart."""
    for scheme, (ending, _) in THEMES.items():
        page = browser.new_page(viewport=VIEW, device_scale_factor=2, color_scheme=scheme, offline=True)
        page.goto(page_file.resolve().as_uri())
        parts = page.locator("h1"), page.locator(".chart svg").first, page.locator(".glance").first
        parts[1].wait_for()
        answer, *ends = (part.bounding_box() for part in parts)
        top, end = answer["y"] - ROOM, max(box["y"] + box["height"] for box in ends)
        place = {"x": 0, "y": top, "width": VIEW["width"], "height": end + ROOM - top}
        save(f"report{ending}", page.screenshot(full_page=True, clip=place))
        page.close()


def main(results: Path) -> None:
    """All of them."""
    flow = open_run(results / MODEL)
    save_drawn("confusion_matrix", confusion(flow))
    save_drawn("intermediate_outputs", outputs(flow))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        report(browser, results / REPORT)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
