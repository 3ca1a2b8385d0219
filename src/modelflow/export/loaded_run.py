"""A finished run as a model that predicts and shows itself: `load_run("results/generic_2").predict(images)`."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelflow.analysis.archive import Model, every_epoch, model_of, read_class_names, seed_of
from modelflow.analysis.identity import identity_of
from modelflow.analysis.leaderboard import protocols_words, table
from modelflow.analysis.reading import FIGURES
from modelflow.analysis.units import range_words
from modelflow.errors import DataError, ModelFlowError, RunError, UsageError
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import Metric
from modelflow.export.given import WHITE, Given, image_of, images_of
from modelflow.export.prediction import Prediction, mean_of, softmax
from modelflow.io.array import Array
from modelflow.io.bounds import MAX_RECORD_BYTES
from modelflow.io.config import read_fields
from modelflow.io.faces import html
from modelflow.io.faces.face import Face
from modelflow.io.faces.html import Markup
from modelflow.io.faces.table import Table
from modelflow.networks.code import parse_code
from modelflow.networks.description import Description, parse_spec
from modelflow.networks.layers.kind import Shape
from modelflow.networks.trace import MAX_PARAMETERS, trace
from modelflow.report.card_tables import run_figures
from modelflow.report.gallery import Gallery, gallery_of
from modelflow.report.history import History
from modelflow.report.leaderboard import paper_table
from modelflow.results import layout
from modelflow.results.asked import metric_of_run
from modelflow.results.normalisation import Normalisation, normalisation_of
from modelflow.results.protocol import protocol_name
from modelflow.results.records import Run, TraceRecord, other_files
from modelflow.text import ended, one_line, sentence, short, shown

if TYPE_CHECKING:
    from torch import nn

    from modelflow.data.origins.origin import Source

BATCH = 1000
CLASSES = "classes.json"
SMALL = 64 << 20  # bytes of a network that is made without another look


@dataclass(frozen=True, eq=False, repr=False)
class LoadedRun(Face):
    """A finished run, read from its `folder`; its data set is not needed, and looked for in `data_dir` only if asked.

    `record` is run.json. `make` makes the network where no spec says it.
    """

    folder: Path
    record: Run = field(repr=False)
    data_dir: Path | None = None
    make: Callable[[], "nn.Module"] | None = field(default=None, repr=False)

    @property
    def title(self) -> str:
        """How the run is called in tables and messages."""
        return f"{self.record.model_name}, seed {self.record.seed}"

    @cached_property
    def history(self) -> History:
        """The losses of its epochs."""
        return History(every_epoch(self.folder), self.title, protocol_name(self.record))

    @property
    def figures(self) -> Gallery:
        """The pictures in its folder by name, such as "confusion_matrix". Raises `DataError` for a damaged one."""
        return gallery_of(self.folder)

    @cached_property
    def spec(self) -> Description:
        """The network. Raises `DataError` for a module that was not built from a spec."""
        if self.record.spec is None:
            module = f"the module {shown(self.record.model_class)}"
            raise DataError(f"{one_line(self.folder)}: its network is {module}. {_way(self.record)}")
        return parse_spec(self.record.spec, f"{self.folder / layout.RUN}: spec")

    @property
    def input_shape(self) -> Shape:
        """Channels, height and width of its images."""
        return self.spec.input_shape if self._traced is None else self._traced.input_shape

    @property
    def _logits(self) -> int:
        return self.spec.logits if self._traced is None else math.prod(self._traced.output_shape)

    @property
    def _traced(self) -> TraceRecord | None:
        """Of a module that was given again."""
        return self.record.traced if self.record.spec is None and self.make is not None else None

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """One for each logit; numbers where they are not known."""
        path = self.folder / CLASSES
        if not path.is_file():
            return read_class_names(self.folder, self._logits)
        names = read_fields(path, MAX_RECORD_BYTES)
        names = names.get("classes") if isinstance(names, dict) else None
        if not isinstance(names, list) or len(names) != self._logits:
            raise DataError(f"{one_line(path)}: expected {self._logits} classes. Restore it from a copy.")
        return tuple(map(shown, names))

    @cached_property
    def normalisation(self) -> Normalisation:
        """What its images are normalised by. Raises `DataError` where the record has no mean and std."""
        return normalisation_of(self.record, self.input_shape[0])

    @cached_property
    def model(self) -> "nn.Module":
        """The network with the weights that were evaluated, in eval mode.

        Raises `DataError` where the weights are missing, damaged or of another network.
        """
        import torch

        path = self.folder / layout.WEIGHTS
        with torch.inference_mode(False):
            return self._read_model(path)

    def _empty(self, path: Path) -> "nn.Module":
        """The network as it is made, whose weights are not the run's."""
        from modelflow.networks.build import GenericCNN, module_sha256

        if self._traced is None or self.make is None:
            self._check_size(path)
            return GenericCNN(self.spec)
        model = self.make()
        if module_sha256(model) != self.record.module_sha256:
            raise DataError(
                f"{one_line(self.folder)}: its network is another {shown(self.record.model_class)}, with other layers. "
                "Give the module that was trained."
            )
        return model

    def _read_model(self, path: Path) -> "nn.Module":
        from modelflow.training.checkpoint import most_bytes, parse_weights

        model = self._empty(path)
        try:
            content = layout.read_stored(path, most_bytes(model), self.record)
        except FileNotFoundError:
            raise DataError(f"{one_line(path)}: no such file. Restore it from a copy, or train again.") from None
        except ValueError as error:
            raise DataError(f"{one_line(path)}: {ended(error)} Restore it from a copy, or train again.") from None
        model.load_state_dict(parse_weights(content, model, path))
        model.eval()
        return model

    def _check_size(self, path: Path) -> None:
        """Raises `DataError` before a large network is made for weights that cannot be of it."""
        least = 4 * trace(self.spec, MAX_PARAMETERS).parameters
        if least > SMALL and path.is_file() and path.stat().st_size < least:
            raise DataError(f"{one_line(path)}: too small for the spec in {layout.RUN}, expected {least:,} bytes")

    @cached_property
    def source(self) -> "Source | None":
        """Its data set as bytes, where that is on this machine; nothing is downloaded."""
        with suppress(ModelFlowError):
            return self.read_source()
        return None

    def read_source(self) -> "Source":
        """Its data set as bytes. Raises `DataError` where that is not on this machine, or is not the one of the run."""
        from modelflow.data.source import Form
        from modelflow.data.sources import read_source

        data = self.record.data
        form = Form.of(**(data.form or {}))
        try:
            source = read_source(data.name, self.data_dir or data.data_dir, form, download=False)
        except ModelFlowError as error:
            raise DataError(str(error)) from None
        if source.checksums != data.checksums:
            raise DataError(f"{data.name}: other files: {other_files(data.checksums, source.checksums)}")
        return source

    def images_of(self, images: object) -> Given:
        """`images` in the form of the training images. Raises `DataError` for what cannot be read as images."""
        return self._noted(images_of(images, self.input_shape, self.normalisation.white))

    def picture_of(self, pixels_HWC: Array) -> Given:
        """A picture in bytes, as `pictures.read_picture` gives it, in the form of the training images."""
        return self._noted(image_of(pixels_HWC, self.input_shape))

    def _noted(self, given: Given) -> Given:
        scale = WHITE if given.images_NCHW.dtype == np.uint8 else 1
        note = self.normalisation.exchanged(float(given.images_NCHW.mean()) / scale)
        return Given(given.images_NCHW, (*given.notes, note)) if note else given

    def logits(self, images_NCHW: Array, white: int | None = None) -> Array:
        """Logits N x K (float32) of bytes or of floats from 0 to 1, by PyTorch on the CPU.

        Bytes are from 0 to `white`; left out, to what white is in the data set's files. Raises `RunError` for logits
        that are not finite.
        """
        import torch

        from modelflow.training.denormals import flushed_to_zero

        with torch.inference_mode(), flushed_to_zero():
            parts = [
                self.model(torch.from_numpy(self.normalisation.of(images_NCHW[start : start + BATCH], white))).numpy()
                for start in range(0, len(images_NCHW), BATCH)
            ]
        logits_NK: Array = np.concatenate(parts)
        if not np.isfinite(logits_NK).all():
            raise RunError(f"{one_line(self.folder)}: logits are not finite: the weights are useless. Train again.")
        return logits_NK

    def predict(self, images: Any) -> Prediction:
        """The class and the probabilities of each image.

        `images` are an array, a tensor or a list: N x H x W, N x C x H x W, N x H x W x C or one image, of bytes or of
        floats from 0 to 1. Or pictures of Pillow's, or paths. They are normalised as the training images were. Images
        of another size or colour are resized and recoloured, and the result's `notes` say so. Raises `DataError` for
        what cannot be read as images, and for runs whose record has no mean and std.
        """
        return self.predict_given(self.images_of(images))

    def predict_given(self, given: Given) -> Prediction:
        """As `predict`, of images that have the form of the training images already."""
        logits_NK = self.logits(given.images_NCHW, WHITE)
        return Prediction(softmax(logits_NK), self.class_names, logits_NK, given.notes)

    @cached_property
    def _evaluated(self) -> Model:
        """As a model of this one run."""
        seed, metric = seed_of(self.folder, self.record), metric_of_run(self.folder, self.record)
        known = metric if seed.figures.score(metric.name) is not None else ACCURACY
        return model_of(self.record.model_name, 0, [seed], known)

    def _headline(self) -> str:
        found, data = self._evaluated, shown(self.record.data.name)
        metric, span = found.metric, found.interval
        interval = "" if span is None else f" (95 % interval {range_words(span, metric.unit)})"
        score = f"{metric.title} {metric.text(found.score)}{interval}"
        return f"{self.title}: {score} on {found.seeds[0].figures.images:,} test images of {data}"

    @property
    def metric(self) -> Metric:
        """What it is judged by: the metric that its study keeps, accuracy where its record lacks that one."""
        return self._evaluated.metric

    @property
    def score(self) -> float:
        """Its figure by that metric."""
        return self._evaluated.score

    def _tables(self) -> Sequence[Table]:
        header, *lines = map(tuple, run_figures(self._evaluated))
        return [Table(header, lines, 1, sentence(protocols_words([protocol_name(self.record)])))]

    def _notes(self) -> Sequence[str]:
        return [f"Warning: {ended(warning)}" for warning in self.record.warnings]

    def _body(self) -> Sequence[Markup]:
        return [self.history.curves(), *map(html.table, self._tables())]

    def _paper_tables(self) -> Sequence[Table]:
        return [paper_table(table([(self.folder, self.record)]))]

    def _rows(self) -> Sequence[dict[str, Any]]:
        run = self.record
        return [
            {
                "model": run.model_name,
                "seed": run.seed,
                **{name: figure(run) for name, figure in FIGURES.items()},
                **run.metrics.more,
                "epochs": run.epochs,
                "parameters": run.parameters,
                "macs": run.macs,
                "data": run.data.name,
                "protocol": protocol_name(run),
                "warnings": len(run.warnings),
                "folder": str(self.folder),
            }
        ]


def load_run(
    folder: str | Path,
    data_dir: str | Path | None = None,
    model: "nn.Module | Callable[[], nn.Module] | None" = None,
    allow_code: bool = False,
) -> LoadedRun:
    """The finished run in a folder, or in one that `modelflow export --to huggingface` wrote.

    Args:
        folder: that of the run.
        data_dir: where its data set lies, for exports alone.
        model: of a run of a module that no spec describes: the module, which stays as it is, or what makes one.
        allow_code: whether to run the file of code that a study named as the model.

    Raises:
        DataError: where there is no sound run.
        UsageError: for a file of code that is not there, or has changed.
    """
    folder = Path(folder)
    record = layout.read_run(folder)
    make = _maker(record, folder) if model is None and allow_code else _made_of(model)
    return LoadedRun(folder, record, None if data_dir is None else Path(data_dir), make)


def _made_of(model: object) -> "Callable[[], nn.Module] | None":
    if model is None:
        return None
    from torch import nn

    if isinstance(model, nn.Module):
        return partial(copy.deepcopy, model)
    if not callable(model):
        raise UsageError(f"load_run: model = {short(model)}: expected a module, or a function that makes one")
    made: Callable[[], nn.Module] = model
    return made


def _maker(record: Run, folder: Path) -> "Callable[[], nn.Module] | None":
    """What the file of code that a study named makes; it lies beside the results folder, or in the current one."""
    if record.spec is not None or record.code is None:
        return None
    code = parse_code(record.code.model_dump(), record.model_name, layout.model_folder(folder, record).parent.parent)
    return code.maker(record.model_name)


def _way(record: Run) -> str:
    """How to come by the network of a run of a module."""
    if record.traced is None:
        return f"Only the weights are stored. Create it in Python and load {layout.WEIGHTS}."
    by_python = f"Give it in Python: load_run(folder, model={shown(record.model_class)}())."
    if record.code is None or not record.code.is_in_file:
        return by_python
    return f"To run its code, {shown(record.code.code)}, give --allow-code (in Python: allow_code=True). {by_python}"


def seeds_of(run: LoadedRun) -> tuple[list[LoadedRun], list[str]]:
    """The runs of the same model, data and settings as `run` in its model's folder; which others are left out."""
    identity, alike, others = identity_of(run.record), dict[int, LoadedRun](), list[str]()
    for one in _runs_beside(run):
        if identity_of(one.record) != identity or one.record.seed in alike:
            others.append(f"{one_line(one.folder)}: left out, of another model, or a copy")
        else:
            alike[one.record.seed] = one
    return list(alike.values()), others


def _runs_beside(run: LoadedRun) -> Iterator[LoadedRun]:
    for folder in layout.model_runs(layout.model_folder(run.folder, run.record)):
        yield replace(load_run(folder, run.data_dir), make=run.make)


def predict_by_all(runs: list[LoadedRun], given: Given) -> Prediction:
    """The mean of the probabilities of several seeds; of one run, what it says."""
    if len(runs) == 1:
        return runs[0].predict_given(given)
    return mean_of(run.predict_given(given) for run in runs)
