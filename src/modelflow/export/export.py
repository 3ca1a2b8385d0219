"""A run's model taken out: written, run, compared with the run itself, and only then put in its place.

exported = export(load_run("results/generic_2"), "onnx", Path("generic_2_onnx"))
exported.largest, exported.agreement, exported.remarks
"""

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from modelflow.analysis.archive import read_seed
from modelflow.errors import RunError, UsageError
from modelflow.export import targets
from modelflow.export.loaded_run import CLASSES, LoadedRun
from modelflow.export.prediction import softmax
from modelflow.export.target import Target, as_NCHW
from modelflow.io.array import Array
from modelflow.io.files import make_folder, write_atomic
from modelflow.io.found import classes_in, files_in
from modelflow.report.model_card import Exported, run_card
from modelflow.results.asked import metric_of_run
from modelflow.text import counted, one_line, short

GOLDEN, CARD, SELF_TEST = "golden.npz", "README.md", "selftest.py"
GOLDEN_IMAGES = 10
GOLDEN_SEED = 0
LARGEST = 1e-3  # of a difference of logits: it moves no probability by more than 0.05 points
ROUNDING = 1e-5  # of the largest logit: ten times what float32 sums of some thousand terms lose in another order
CAPTIONS = {
    CARD: "this card",
    CLASSES: "classes in their order, form of the images",
    GOLDEN: "golden images with their probabilities",
    SELF_TEST: "checks the model on the golden images",
}


@dataclass(frozen=True)
class Agreement:
    """How an exported model compares with the run: on how many `images`, and whether these are `test` images.

    `largest` is the largest difference of a logit, `differing` counts images that are given another class.
    """

    images: int
    test: bool
    largest: float
    differing: int

    @property
    def words(self) -> str:
        """Of the output and the card."""
        kind = "test image" if self.test else "golden image"
        same = self.images - self.differing
        return (
            f"Compared with the run on {counted(self.images, kind)}: largest difference of a logit {self.largest:.1e}, "
            f"same class for {same:,} of {self.images:,}."
        )


@dataclass(frozen=True)
class Written:
    """What was exported: where it lies, how it compares, what else to know of it."""

    folder: Path
    agreement: Agreement
    remarks: tuple[str, ...]


def names() -> list[str]:
    """What `--to` takes."""
    return files_in(targets)


def of_modules() -> list[str]:
    """The options of those exports that take any module."""
    return [f"--to {kind.name}" for kind in classes_in(targets, Target) if not kind.needs_spec]


def target_named(name: str) -> Target:
    """The export of this name. Raises `UsageError` for an unknown one."""
    if name not in names():
        raise UsageError(f"--to {short(name)}: expected {', '.join(names())}")
    return next(kind() for kind in classes_in(targets, Target) if kind.name == name)


def export(run: LoadedRun, to: str, folder: Path, say: Callable[[str], None] = lambda _: None) -> Written:
    """Writes a run's model in the form `to` (see `names`) into a folder, after it was run there and compared.

    An earlier export in that folder is replaced, of which `say` is told. Raises `RunError` where the exported model
    differs from the run, `UsageError` where something else lies there, and as `LoadedRun.model` does.
    """
    target = target_named(to)
    if target.needs_spec and run.record.spec is None:
        raise UsageError(f"--to {to}: takes networks of a spec only. For a module: {' or '.join(of_modules())}.")
    _check_place(folder)
    images_NCHW, is_test = _images(run)
    own_NK = run.logits(images_NCHW)
    make_folder(folder.parent)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        say(f"writing {to} …")
        target.write(run, made)
        say(f"running it on {counted(len(images_NCHW), 'image')} …")
        agreement = compared(own_NK, target.logits(made, images_NCHW), is_test)
        remarks = [*([] if is_test else [_no_data(run)]), *target.remarks(run, made)]
        _describe(run, target, made, images_NCHW[:GOLDEN_IMAGES], [agreement.words, *remarks])
        if folder.exists():
            say(f"replacing the earlier export in {one_line(folder)}")
            os.replace(folder, Path(scratch) / "before")
        os.replace(made, folder)
    return Written(folder, agreement, tuple(remarks))


def _check_place(folder: Path) -> None:
    """Raises `UsageError` where anything but an earlier export lies."""
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return
    if folder.is_symlink() or not all((folder / name).is_file() for name in (CARD, CLASSES, GOLDEN)):
        raise UsageError(f"{one_line(folder)}: exists, and is no earlier export. Give another --output.")


def _images(run: LoadedRun) -> tuple[Array, bool]:
    """Images in bytes, N x C x H x W, and whether they are the test images. Where these are not there, noise."""
    if (source := run.source) is not None:
        return as_NCHW(source.test_images), True
    noise = np.random.default_rng(GOLDEN_SEED)
    shape = (GOLDEN_IMAGES, *run.input_shape)
    return noise.integers(0, run.normalisation.white, shape, np.uint8, endpoint=True), False


def _no_data(run: LoadedRun) -> str:
    return f"Its golden images are noise: the data set {run.record.data.name} is not on this machine."


def compared(own_NK: Array, exported_NK: Array, test: bool) -> Agreement:
    """How the logits of an exported model compare with the run's own.

    Raises `RunError` where they differ by more than rounding.
    """
    if own_NK.shape != exported_NK.shape or not np.isfinite(exported_NK).all():
        raise RunError(f"the exported model gives other outputs: {exported_NK.shape}, the run {own_NK.shape}")
    rounding = ROUNDING * max(1.0, float(np.abs(own_NK).max()))
    second_N, first_N = np.sort(own_NK, axis=1)[:, -2:].T
    differs_N = own_NK.argmax(1) != exported_NK.argmax(1)
    found = Agreement(len(own_NK), test, float(np.abs(own_NK - exported_NK).max()), int(differs_N.sum()))
    beyond = int((differs_N & (first_N - second_N > 2 * rounding)).sum())
    if found.largest > max(LARGEST, rounding) or beyond:
        raise RunError(
            f"The exported model is not the run's, and was removed. {found.words} Expected at most "
            f"{max(LARGEST, rounding):.1e}, and other classes only where two tie. Please report it."
        )
    return found


def _describe(run: LoadedRun, target: Target, folder: Path, golden_NCHW: Array, remarks: list[str]) -> None:
    """Classes, golden images, and last the card, which lists the files."""
    normalisation = run.normalisation
    facts = {
        "classes": list(run.class_names),
        "images": dict(zip(("channels", "height", "width"), run.input_shape, strict=True)),
        "white": normalisation.white,
        "mean": list(normalisation.mean),
        "std": list(normalisation.std),
    }
    write_atomic(folder / CLASSES, json.dumps(facts, indent=2) + "\n")
    packed = io.BytesIO()
    np.savez_compressed(packed, images=golden_NCHW, probabilities=softmax(run.logits(golden_NCHW)))
    write_atomic(folder / GOLDEN, packed.getvalue())
    captions = CAPTIONS | target.captions
    (folder / CARD).touch()  # so that it lists itself
    takes = f"Images: bytes from 0 to {normalisation.white}, {target.images_of(run.input_shape)}."
    exported = Exported(folder, target.use, (takes, *remarks), captions)
    card = run_card(read_seed(run.folder), exported, metric_of_run(run.folder, run.record))
    write_atomic(folder / CARD, card)
