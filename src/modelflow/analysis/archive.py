"""A results folder as the figures of its report: runs that may be compared, models, seeds, verdicts. No torch.

content = read_content("results")
content.groups[0].models[0].score                 # best first; what could not be read is in content.left_out

All figures are computed from the stored predictions, so that they are there for runs of any age; where a run has none,
those of its record are taken. Everything read here may come from a stranger: it is data, checked and bounded.
"""

import csv
import io
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from modelflow.analysis.identity import (
    Compared,
    Identity,
    compared_by,
    identity_of,
    settings_apart,
    short_form_of,
    unlike_words,
)
from modelflow.analysis.intervals import Interval, score_interval
from modelflow.analysis.reading import Found, LeftOut, Reading, read_folder
from modelflow.analysis.selection import selected
from modelflow.analysis.verdicts import Verdict, compare, default_margin
from modelflow.errors import DataError
from modelflow.evaluation.calibration import Bin, reliability
from modelflow.evaluation.measure import ACCURACY, measure
from modelflow.evaluation.metrics import ReportRow, classification_report, confusion_matrix
from modelflow.evaluation.record import Metrics
from modelflow.evaluation.scores.score import Metric
from modelflow.io.array import Array
from modelflow.io.bounds import MAX_EPOCHS, MAX_TABLE_BYTES
from modelflow.io.files import read_bounded
from modelflow.results.asked import NOTHING_ASKED, Asked
from modelflow.results.layout import CONFUSION_CSV, HISTORY, read_predictions, read_run
from modelflow.results.protocol import protocol_name
from modelflow.results.records import DataRecord, Epoch, OnDevice, Run
from modelflow.text import ended, shown, uncell

T = TypeVar("T")
MAX_UNPACKED_BYTES = 512 << 20  # of all runs together, unpacked
KEPT_EPOCHS = 600  # of a run, evenly spread, and its last; charts draw fewer


@dataclass(frozen=True, eq=False)
class Seed:
    """One run: its record, its losses, and its predictions where they can be read (`missing` says why not).

    Of a long run `history` has every so many epochs, and the last; `lowest` is the least validation loss of all.
    """

    folder: Path
    run: Run
    figures: Metrics
    history: tuple[Epoch, ...]
    logits_NK: Array | None = field(repr=False)
    labels_N: Array | None = field(repr=False)
    missing: str = ""
    lowest: float | None = None

    @property
    def images(self) -> int:
        """How many images it was evaluated on."""
        return self.run.metrics.images if self.labels_N is None else len(self.labels_N)

    @cached_property
    def bins(self) -> list[Bin]:
        """Confidence against accuracy; empty without predictions."""
        return [] if self.logits_NK is None or self.labels_N is None else reliability(self.logits_NK, self.labels_N)

    def classes(self, names: tuple[str, ...]) -> list[ReportRow]:
        """Precision, recall and F1 of each class; empty without predictions."""
        if self.logits_NK is None or self.labels_N is None:
            return []
        counts_KK = confusion_matrix(self.labels_N, self.logits_NK.argmax(1), len(names))
        return classification_report(counts_KK, names)[: len(names)]


@dataclass(frozen=True, eq=False)
class Model:
    """A model with all its runs, the least seed first; `index` gives its colour and its mark in every chart.

    It is judged by its `metric`, which all its runs have.
    """

    name: str
    index: int
    seeds: tuple[Seed, ...]
    class_names: tuple[str, ...]
    metric: Metric = ACCURACY

    @property
    def first(self) -> Run:
        """The record of its first run."""
        return self.seeds[0].run

    @property
    def protocol(self) -> str:
        """The name of its protocol."""
        return protocol_name(self.first)

    @property
    def network(self) -> str:
        """The network in one line; empty where it has none."""
        return short_form_of(self.first)

    @property
    def runs(self) -> list[Run]:
        """The records of its runs."""
        return [seed.run for seed in self.seeds]

    @property
    def accuracies(self) -> list[float]:
        """Of its runs."""
        return [seed.figures.accuracy for seed in self.seeds]

    @cached_property
    def accuracy(self) -> float:
        """The mean over its runs."""
        return float(np.mean(self.accuracies))

    @property
    def scores(self) -> list[float]:
        """Of its runs, by its metric."""
        found = [seed.figures.score(self.metric.name) for seed in self.seeds]
        return [score for score in found if score is not None]

    @cached_property
    def score(self) -> float:
        """The mean over its runs, by its metric."""
        return float(np.mean(self.scores))

    def mean(self, figure: str) -> float | None:
        """Of one of the `Metrics` over its runs; None where a run lacks it."""
        values = [seed.figures.score(figure) for seed in self.seeds]
        return None if None in values else float(np.mean(values))  # type: ignore[arg-type]

    def spread(self, figure: str) -> float | None:
        """The standard deviation of one of the `Metrics` over its runs; None with one run, or where a run lacks it."""
        values = [seed.figures.score(figure) for seed in self.seeds]
        return None if None in values or len(values) < 2 else float(np.std(values, ddof=1))  # type: ignore[arg-type]

    def latency(self, batch: str) -> tuple[float, int] | None:
        """The least milliseconds for a batch, which other work disturbed least, and of how many runs."""
        known = [seed.run.latency_ms[batch] for seed in self.seeds if batch in seed.run.latency_ms]
        return (min(known), len(known)) if known else None

    def on_device(self, name: OnDevice) -> int | None:
        """The bytes that it needs as C code; None where no record has them."""
        return next((run.bytes_on_device[name] for run in self.runs if name in run.bytes_on_device), None)

    @cached_property
    def interval(self) -> Interval | None:
        """95 %: of the mean over seeds on the same images; of a single run, over images like these.

        None for a run without predictions, unless the metric is accuracy.
        """
        found = self.predictions() if len(self.seeds) == 1 else []
        of_run = [(self.metric.values(logits_NK, y_N), self.metric.groups(y_N)) for logits_NK, y_N in found]
        return score_interval(self.metric, self.scores, self.seeds[0].images, *(of_run[0] if of_run else ()))

    @property
    def seconds(self) -> float | None:
        """Of training, the mean over its runs; None where no record has any."""
        return float(np.mean(self._seconds)) if self._seconds else None

    @property
    def seconds_spread(self) -> float | None:
        """Of the seconds of training over its runs, the standard deviation; None where fewer than two are known."""
        return float(np.std(self._seconds, ddof=1)) if len(self._seconds) > 1 else None

    @property
    def _seconds(self) -> list[float]:
        times = [run.seconds.get("training") for run in self.runs]
        return [time for time in times if time is not None and time > 0]

    @property
    def warnings(self) -> list[tuple[int, str]]:
        """What its runs warn of, each with its seed."""
        return [(seed.run.seed, shown(words)) for seed in self.seeds for words in seed.run.warnings]

    @property
    def died(self) -> int:
        """How many of its runs did."""
        return sum(run.died for run in self.runs)

    @property
    def predicting(self) -> list[Seed]:
        """Its runs whose predictions can be read."""
        return [seed for seed in self.seeds if seed.logits_NK is not None]

    @cached_property
    def counts(self) -> Array | None:
        """True class x predicted class, all its runs together; None without predictions."""
        n = len(self.class_names)
        tables = [confusion_matrix(y_N, logits_NK.argmax(1), n) for logits_NK, y_N in self.predictions()]
        return np.sum(tables, axis=0) if tables else None

    @cached_property
    def classes(self) -> list[ReportRow]:
        """Precision, recall and F1 of each class, all its runs together."""
        if self.counts is None:
            return []
        return classification_report(self.counts, self.class_names)[: len(self.class_names)]

    @cached_property
    def bins(self) -> list[Bin]:
        """Confidence against accuracy, all its runs together."""
        pairs = self.predictions()
        if not pairs:
            return []
        return reliability(np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs]))

    def predictions(self) -> list[tuple[Array, Array]]:
        """Logits and labels of each run that has them."""
        return [
            (seed.logits_NK, seed.labels_N)
            for seed in self.predicting
            if seed.logits_NK is not None and seed.labels_N is not None
        ]


@dataclass(frozen=True, eq=False)
class Group:
    """Runs on the same data by the same protocol, which alone are compared; its models, best first by the `metric`.

    `protocol` is the protocol's name; settings of the models may differ, as `unlike` says.
    `labels_N` are of the images that most runs were evaluated on; `family` counts the pairs that the verdicts are
    among, more than there are verdicts where models are damaged or not shown; `unpaired` gives models that are in no
    verdict, and why; `margin` is what would matter, of 1 (of nll in nats).
    """

    number: int
    data: DataRecord
    protocol: str
    models: tuple[Model, ...]
    labels_N: Array | None
    verdicts: tuple[Verdict, ...]
    family: int
    unpaired: tuple[tuple[str, str], ...]
    margin: float
    metric: Metric = ACCURACY

    @property
    def images(self) -> int:
        """How many images the best model was evaluated on."""
        return self.models[0].seeds[0].images

    @property
    def most_seeds(self) -> int:
        """Of any model."""
        return max(len(model.seeds) for model in self.models)

    @property
    def unlike(self) -> str:
        """That its models were trained with different settings, and which; empty where they were not."""
        settings = settings_apart([model.first for model in self.models])
        return unlike_words(dict(zip([model.name for model in self.models], settings, strict=True)))

    @property
    def test_reads(self) -> list[int | None]:
        """How often each run's test images were evaluated; None where it is not known."""
        return [seed.run.test_reads for model in self.models for seed in model.seeds]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The longest list of any model."""
        return max((model.class_names for model in self.models), key=len)


@dataclass(frozen=True, eq=False)
class Content:
    """A whole results folder, and what was `asked` for in it.

    `left_out` gives folders that are in no figure, and why; `missing` says what was asked for and is not finished.
    """

    folder: Path
    groups: tuple[Group, ...]
    left_out: tuple[tuple[str, str], ...]
    missing: str = ""
    metric: Metric = ACCURACY
    asked: Asked = NOTHING_ASKED

    @property
    def other_metric(self) -> str:
        """What to know where the study keeps another metric than it is shown by."""
        return self.asked.other_metric(self.metric)

    @property
    def models(self) -> list[Model]:
        """Of all groups."""
        return [model for group in self.groups for model in group.models]

    @property
    def seeds(self) -> list[Seed]:
        """Of all models."""
        return [seed for model in self.models for seed in model.seeds]

    @property
    def runs(self) -> list[Run]:
        """Of all models."""
        return [seed.run for seed in self.seeds]


def read_content(results_folder: str | Path, metric: str | None = None) -> Content:
    """The figures of a results folder, of a vast one those that a page can hold.

    They are decided by `metric`, left out by that which the study keeps. Raises `DataError` when it holds no finished
    run that can be read, and `UsageError` for a metric that is none.
    """
    return content_of(read_folder(results_folder, LeftOut(), metric))


def content_of(reading: Reading) -> Content:
    """The figures of a results folder that has been read. Raises as `read_content` does."""
    folder, chosen = reading.where, selected(reading)
    seeds, left_out = list(_read_seeds(chosen.runs)), chosen.left_out
    if not seeds:
        reasons = [f" {ended(reason)}" for _, reason in left_out[:3]]
        fix = "Give a results folder, such as the one `modelflow run` wrote."
        raise DataError(f"{folder}: no finished run in it.{''.join(reasons)} {fix}")
    names, by_key = reading.names, defaultdict[Compared, list[Seed]](list)
    numbers = {name: i for i, name in enumerate(sorted({names[identity_of(seed.run)] for seed in seeds}))}
    for seed in seeds:
        by_key[compared_by(seed.run)].append(seed)
    margin = reading.asked.margin(reading.metric)
    largest_first = sorted(by_key.items(), key=lambda item: (-len(item[1]), item[1][0].run.data.name, item[0]))
    groups = tuple(
        group_of(i, members, numbers, chosen.absent[key], names, margin, reading.metric)
        for i, (key, members) in enumerate(largest_first)
    )
    return Content(folder, groups, tuple(left_out), reading.missing, reading.metric, reading.asked)


def _read_seeds(runs: Iterable[Found]) -> Iterator[Seed]:
    """Each run, with its predictions as long as there is room for them."""
    room = MAX_UNPACKED_BYTES  # of all runs together
    for folder, run in runs:
        seed = seed_of(folder, run, room > 0)
        if seed.logits_NK is not None and seed.labels_N is not None:
            room -= seed.logits_NK.nbytes + seed.labels_N.nbytes
        yield seed


def read_seed(folder: str | Path) -> Seed:
    """One run. Raises `DataError` when its record is damaged; without predictions, its figures are the record's."""
    return seed_of(Path(folder), read_run(folder))


def seed_of(folder: Path, run: Run, with_predictions: bool = True) -> Seed:
    """A run whose record has been read."""
    history, lowest = read_history(folder)
    alone = Seed(folder, run, run.metrics, history, None, None, lowest=lowest)
    if not with_predictions:
        return replace(alone, missing="there are too many predictions for one page")
    try:
        logits_NK, y_N = read_predictions(folder, run)
    except DataError as error:
        return replace(alone, missing=str(error))
    return replace(alone, figures=measure(logits_NK, y_N), logits_NK=logits_NK, labels_N=y_N)


def read_history(folder: Path) -> tuple[tuple[Epoch, ...], float | None]:
    """Of history.csv `every_so_many` of the epochs, and the least validation loss of all."""
    found = list(_losses(folder))
    kept = tuple(Epoch(epoch=n, loss=loss, val_loss=val_loss) for n, loss, val_loss in every_so_many(found))
    return kept, min((val_loss for *_, val_loss in found if val_loss is not None), default=None)


def every_epoch(folder: Path) -> tuple[Epoch, ...]:
    """All that can be read of history.csv."""
    return tuple(Epoch(epoch=n, loss=loss, val_loss=val_loss) for n, loss, val_loss in _losses(folder))


def every_so_many(epochs: Sequence[T], most: int = KEPT_EPOCHS) -> list[T]:
    """All of them, or of more than `most` every so many, and the last."""
    every = max(1, math.ceil(len(epochs) / most))
    return [*epochs[:-1:every], *epochs[-1:]]


def _losses(folder: Path) -> Iterator[tuple[int, float, float | None]]:
    """Epoch, loss and validation loss of each line; what is not finite or cannot be read is left out."""
    for row in islice(_table(folder / HISTORY), 1, MAX_EPOCHS + 1):
        try:
            number, loss, val_loss = int(row[0]), float(row[1]), float(row[2]) if row[2] else None
        except (ValueError, IndexError):
            continue
        known = val_loss if val_loss is not None and math.isfinite(val_loss) else None
        if math.isfinite(loss) or known is not None:
            yield number, loss, known


def read_class_names(folder: Path, n_classes: int) -> tuple[str, ...]:
    """The classes by the header of confusion_matrix.csv, safe to show; numbers where it does not fit."""
    header = next(_table(folder / CONFUSION_CSV), [])[1:]
    names = header if len(header) == n_classes else [str(k) for k in range(n_classes)]
    return tuple(shown(uncell(name)) for name in names)


def _table(path: Path) -> Iterator[list[str]]:
    """The lines of a table, as far as it can be read."""
    with suppress(OSError, ValueError, csv.Error):
        yield from csv.reader(io.StringIO(read_bounded(path, MAX_TABLE_BYTES, links=False).decode()))


def group_of(
    number: int,
    members: Iterable[Seed],
    numbers: dict[str, int],
    absent: int = 0,
    names: Mapping[Identity, str] | None = None,
    margin: float | None = None,
    metric: Metric = ACCURACY,
) -> Group:
    """Runs of the same data and protocol as their models; `numbers` gives each its index, `absent` counts others.

    `names` says what a model is called where its own name does not tell it apart. `margin` is what would
    matter, of 1; left out, the metric's default for so many images.
    """
    by_name: dict[str, list[Seed]] = defaultdict(list)
    for seed in members:
        by_name[(names or {}).get(identity_of(seed.run), seed.run.model_name)].append(seed)
    models = [model_of(name, numbers[name], seeds, metric) for name, seeds in by_name.items()]
    models.sort(key=lambda model: (-metric.merit(model.score), model.name))
    labels_N = _usual_labels(models)
    reasons = {model.name: _why_unpaired(model, labels_N) for model in models}
    paired = {model.name: values(model) for model in models if not reasons[model.name]}
    absent += sum(len(model.predicting) < len(model.seeds) > 1 for model in models)
    margin = default_margin(models[0].seeds[0].images, metric) if margin is None else margin
    died = {model.name: [seed.run.died for seed in model.predicting] for model in models}
    groups = () if labels_N is None else metric.groups(labels_N)
    verdicts = tuple(compare(paired, margin, absent, died, metric, groups)) if len(paired) > 1 else ()
    unpaired = tuple((name, why) for name, why in reasons.items() if why)
    first = models[0].first
    family = math.comb(len(paired) + absent, 2)
    shown_as = number, first.data, models[0].protocol, tuple(models), labels_N
    return Group(*shown_as, verdicts, family, unpaired, margin, metric)


def model_of(name: str, index: int, seeds: Sequence[Seed], metric: Metric = ACCURACY) -> Model:
    """Runs of one model; predictions of other classes than the first run's are left out."""
    ordered = tuple(sorted(seeds, key=lambda seed: seed.run.seed))
    known = next((seed for seed in ordered if seed.logits_NK is not None), None)
    names = () if known is None or known.logits_NK is None else read_class_names(known.folder, known.logits_NK.shape[1])
    fitting = tuple(seed if _fits(seed, len(names)) else _without(seed) for seed in ordered)
    return Model(name, index, fitting, names, metric)


def _fits(seed: Seed, n_classes: int) -> bool:
    return seed.logits_NK is None or seed.logits_NK.shape[1] == n_classes


def _without(seed: Seed) -> Seed:
    """The run without predictions of another number of classes than its model's."""
    return replace(seed, logits_NK=None, labels_N=None, missing="its predictions have other classes")


def _usual_labels(models: Sequence[Model]) -> Array | None:
    found = [seed.labels_N for model in models for seed in model.seeds if seed.labels_N is not None]
    if not found:
        return None
    counts = Counter(labels_N.tobytes() for labels_N in found)
    usual = counts.most_common(1)[0][0]
    return next(labels_N for labels_N in found if labels_N.tobytes() == usual)


def _why_unpaired(model: Model, labels_N: Array | None) -> str:
    """Why a model is in no verdict; empty when it is."""
    if len(model.predicting) < len(model.seeds) or labels_N is None:
        return "predictions of a run are missing or damaged"
    if not tested_on(model, labels_N):
        return "evaluated on other images than the other models"
    return "" if len(model.seeds) > 1 else "one run alone"


def tested_on(model: Model, labels_N: Array | None) -> bool:
    """Whether the model has predictions, all of them of the images with these labels."""
    found = [y_N for _, y_N in model.predictions()]
    return bool(found) and labels_N is not None and all(np.array_equal(y_N, labels_N) for y_N in found)


def values(model: Model) -> Array:
    """The value of each image (N) by the model's metric, for each run (S) with predictions: S x N."""
    return np.stack([model.metric.values(logits_NK, y_N) for logits_NK, y_N in model.predictions()])


def correct(model: Model) -> Array:
    """Whether each run (S) with predictions has each image (N) right: S x N."""
    return np.stack([logits_NK.argmax(1) == y_N for logits_NK, y_N in model.predictions()])
