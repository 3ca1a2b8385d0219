"""Pictures of a run's insides: the search of its learning rate, its filters, what its layers make of some images."""

from collections.abc import Sequence

from modelflow.evaluation.inspection.activations import activations
from modelflow.evaluation.inspection.filters import filters
from modelflow.evaluation.inspection.hooks import copied
from modelflow.io.arguments import layer_names
from modelflow.results import layout
from modelflow.studies.parts import Parts
from modelflow.studies.preview import first_images, logits_for
from modelflow.training.lr_finder import METHOD, LRSearch

SHOWN_IMAGES = 10


def search_lr(parts: Parts, end_lr: float, num_iter: int, set_lr: bool, start_lr: float | None) -> float:
    """A range test from `start_lr`, or from the current learning rate; its curve as a picture and a table.

    Raises as `Architecture.find_best_lr` does, and `UsageError` where nothing can be written.
    """
    arch = parts.arch
    parts.folder.check_writable()
    arch.lr_search = None
    try:
        return arch.search_lr(arch.train_loader, end_lr, num_iter, set_lr, parts.seed, start_lr)
    finally:
        if arch.lr_search is not None:
            _write_search(parts, arch.lr_search, set_lr)


def _write_search(parts: Parts, found: LRSearch, set_lr: bool) -> None:
    """Notes what was found too, and what became of it."""
    from modelflow.figures.lr_finder import plot_lr_finder

    finding = "no rate is suggested" if found.suggestion is None else f"{found.suggestion:.2g} is suggested"
    title = f"{parts.model_name}: {finding} as learning rate"
    figure = plot_lr_finder(found.lrs, found.losses, found.steepest, found.suggestion, METHOD, title)
    parts.folder.write_png(layout.LR_FINDER_PNG, figure)
    rows = zip(found.lrs, found.losses, strict=True)
    parts.folder.write(layout.LR_FINDER_CSV, layout.csv_text(("lr", "smoothed_loss"), rows))
    parts.notes += _search_notes(found, None if set_lr else parts.lr)


def _search_notes(found: LRSearch, kept_lr: float | None) -> list[str]:
    what = "learning rate search: "
    notes = [what + found.note.removeprefix(what)] if found.note else []
    if found.suggestion is not None:
        use = "Set for this run." if kept_lr is None else f"Not used: the run keeps {kept_lr:g}."
        notes.append(f"{what}{METHOD} {found.suggestion:.3g}, steepest point {found.steepest:.3g}. {use}")
    return notes


def write_filters(parts: Parts, names: Sequence[str]) -> None:
    """A picture of the filters of each of these layers. Raises `UsageError` for one that has none."""
    from modelflow.figures.filters import plot_filters

    for name in layer_names(names):
        title = f"{parts.model_name}: filters learned by {name}"
        parts.folder.write_png(layout.filters_png(name), plot_filters(filters(parts.model, name), name, title))


def write_outputs(parts: Parts, names: Sequence[str]) -> None:
    """A picture of some images beside what these layers make of them. Raises `UsageError` for an unknown layer."""
    shown = layer_names(names)
    if not shown:
        return
    from modelflow.figures.outputs import plot_outputs

    x, y = first_images(parts, SHOWN_IMAGES)
    predicted = logits_for(parts, x).argmax(1)
    maps = activations(parts.model, x, shown)
    parts.arch.visualization = dict(maps)
    right = int((predicted == y.numpy()).sum())
    title = f"{parts.model_name} is right in {right} of these {len(x)} images. Below, what its layers make of them"
    figure = plot_outputs(copied(x), maps, len(x), y.numpy(), predicted, parts.class_names or None, title)
    parts.folder.write_png(layout.OUTPUTS, figure)
