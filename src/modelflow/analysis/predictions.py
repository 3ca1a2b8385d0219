"""Predictions that were made elsewhere, compared as those of runs are: by which images each run has right. No torch.

comparison = compare_predictions({"A": logits_SNK, "B": logits_SNK}, labels_N)
for verdict in comparison.verdicts: print(verdict.words)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from modelflow.analysis.comparison import Comparison, Entry, judged
from modelflow.analysis.identity import told_apart
from modelflow.analysis.intervals import score_interval
from modelflow.analysis.verdicts import margin_of
from modelflow.data.idx import MAX_BYTES
from modelflow.data.origins.npz import read_arrays
from modelflow.errors import DataError, UsageError
from modelflow.evaluation.measure import ACCURACY, metric_named
from modelflow.evaluation.scores.score import SHARE, Metric
from modelflow.io.array import Array
from modelflow.io.bounds import MAX_CLASSES
from modelflow.io.files import read_bounded
from modelflow.results.protocol import Protocol
from modelflow.text import ended, one_line, short

LABELS, LOGITS, PREDICTIONS = "labels", "logits", "predictions"
KEYS = f"{LABELS}, and {LOGITS} or {PREDICTIONS}"
MAX_RUNS = 10_000  # of a model
MAX_NAME_LENGTH = 100
OF_A_SUM = 1e-3  # how far probabilities in float16 may be from 1 together


def compare_predictions(
    predictions: Mapping[str, object], labels_N: object, margin: float | None = None, metric: str | None = None
) -> Comparison:
    """The comparison that `compare_folders` gives, of predictions for the same images by whatever made them.

    A run whose predictions are no better than guessing, or of nearly one class, counts as died, as a run of ModelFlow
    does; whether units never fire is not known here.

    Args:
        predictions: by the name of each model, logits or probabilities S x N x K of S runs (N x K of one), or the
            predicted classes S x N (N of one) as whole numbers; arrays, tensors or lists.
        labels_N: the true class of each image, whole numbers from 0.
        margin: what would matter, in points, of nll in nats; the default is half a point, or four images.
        metric: what is compared: accuracy (the default), balanced_accuracy, macro_f1 or nll.

    Raises:
        UsageError: for fewer than two models, names that cannot be shown, a margin below four images, a metric that
            is none, and nll of predicted classes alone.
        DataError: for arrays of other shapes, labels out of range, and values that are not finite.
    """
    if not isinstance(predictions, Mapping) or len(predictions) < 2:
        raise UsageError(f"predictions = {short(predictions)}: expected two models or more: {{'A': …, 'B': …}}")
    for name in predictions:
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_NAME_LENGTH:
            raise UsageError(f"predictions: name {short(name)}: expected 1 to {MAX_NAME_LENGTH} printable characters")
    labels_N = _labels(_array(labels_N), LABELS)
    by = ACCURACY if metric is None else metric_named(metric)
    runs = {name: _Runs(_array(given), labels_N, name, by) for name, given in predictions.items()}
    return _compared(runs, margin_of(margin, len(labels_N), by), by, by.groups(labels_N))


def compare_files(paths: Sequence[Path], margin: float | None = None, metric: str | None = None) -> Comparison:
    """`compare_predictions` of `.npz` files, each with the arrays `labels`, and `logits` or `predictions`.

    A model is called as its file. Nothing is unpickled. Raises as `compare_predictions`, and `DataError` for files that
    cannot be read, or have other labels than the first.
    """
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise UsageError("compare: give at least two files of predictions, each once")
    names = told_apart([path.stem for path in paths], [path.parent for path in paths])
    arrays = {name: _arrays_of(path) for name, path in zip(names, paths, strict=True)}
    labels_N = next(iter(arrays.values()))[0]
    for path, (others_N, _) in zip(paths, arrays.values(), strict=True):
        if not np.array_equal(others_N, labels_N):
            raise DataError(
                f"{one_line(path)}: has other {LABELS} than {one_line(paths[0])}. Compare predictions for the same "
                "images in the same order."
            )
    return compare_predictions({name: given for name, (_, given) in arrays.items()}, labels_N, margin, metric)


def _arrays_of(path: Path) -> tuple[Array, Array]:
    """Labels, and what was predicted."""
    try:
        content = read_bounded(path, MAX_BYTES)
    except (ValueError, FileNotFoundError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise DataError(f"{one_line(path)}: {ended(reason)} Give an .npz file with {KEYS}.") from None
    found = read_arrays(path, content, {LABELS, LOGITS, PREDICTIONS}, MAX_BYTES)
    given = [name for name in (LOGITS, PREDICTIONS) if name in found]
    if LABELS not in found or len(given) != 1:
        there = ", ".join(found) or "neither"
        raise DataError(f"{one_line(path)}: holds {there}, expected the arrays {KEYS}. Write it by np.savez.")
    return found[LABELS], found[given[0]]


def _array(given: object) -> Array:
    """As an array, also what a tensor holds on any device."""
    given = given.detach().cpu() if hasattr(given, "detach") else given
    try:
        return np.asarray(given)
    except (TypeError, ValueError):
        raise DataError(f"{short(given)}: expected an array of numbers") from None


def _labels(y_N: Array, what: str) -> Array:
    if y_N.ndim != 1 or y_N.dtype.kind not in "ui" or not y_N.size:
        raise DataError(f"{what}: {y_N.dtype} of shape {short(y_N.shape)}, expected a whole number for each image")
    if y_N.min() < 0 or y_N.max() >= MAX_CLASSES:
        wrong = int(np.flatnonzero((y_N < 0) | (y_N >= MAX_CLASSES))[0])
        raise DataError(f"{what}: {y_N[wrong]} of image {wrong}, expected 0 to {MAX_CLASSES - 1}. Number them from 0.")
    return y_N.astype(np.int64)


class _Runs:
    """The runs of a model: whether each (S) has each image (N) right, the metric's values, and whether it died."""

    def __init__(self, given: Array, labels_N: Array, name: str, metric: Metric) -> None:
        self.logits_SNK, self.predicted_SN = _checked(given, labels_N, name)
        self.labels_N = labels_N
        self.correct_SN = self.predicted_SN == labels_N
        self.values_SN = self.correct_SN if metric is ACCURACY else self._values(metric, name)

    def _values(self, metric: Metric, name: str) -> Array:
        if self.logits_SNK is not None:
            logits_SNK = [self._logits(run) for run in range(len(self.logits_SNK))]
        elif metric.unit is SHARE:
            logits_SNK = [*np.eye(self._classes, dtype=np.float32)[self.predicted_SN]]
        else:
            raise UsageError(f"{name}: predicted classes have no {metric.title}. Give logits or probabilities.")
        return np.stack([metric.values(logits_NK, self.labels_N) for logits_NK in logits_SNK])

    @property
    def _classes(self) -> int:
        outputs = 0 if self.logits_SNK is None else self.logits_SNK.shape[2]
        return max(outputs, int(max(self.predicted_SN.max(), self.labels_N.max())) + 1)

    @property
    def died(self) -> list[bool]:
        """By the signs that its predictions give (`evaluation.health`)."""
        from modelflow.evaluation.health import prediction_warnings  # and torch with it

        names = tuple(map(str, range(self._classes)))
        return [
            bool(prediction_warnings(predicted_N, self.labels_N, self._loss(run), names))
            for run, predicted_N in enumerate(self.predicted_SN)
        ]

    def _loss(self, run: int) -> float:
        """In nats; of predicted classes alone none is known, and their accuracy decides."""
        from modelflow.training.cross_entropy import cross_entropy

        return np.inf if self.logits_SNK is None else cross_entropy(self._logits(run), self.labels_N)

    def _logits(self, run: int) -> Array:
        """Finite, N x K; of probabilities their logarithms."""
        assert self.logits_SNK is not None
        logits_NK: Array = self.logits_SNK[run].astype(np.float64)
        if logits_NK.min() >= 0 and np.allclose(logits_NK.sum(1), 1, atol=OF_A_SUM):
            logits_NK = np.log(np.maximum(logits_NK, np.finfo(np.float32).tiny))
        return logits_NK.clip(np.finfo(np.float32).min)


def _checked(given: Array, labels_N: Array, name: str) -> tuple[Array | None, Array]:
    """Logits S x N x K where they are known, and predicted classes S x N. Raises `DataError` for anything else."""
    images, numbers = len(labels_N), given.dtype.kind == "f"
    ndim = 3 if numbers else 2
    runs = given[None] if given.ndim == ndim - 1 else given
    if given.dtype.kind not in "uif" or runs.ndim != ndim or runs.shape[1] != images or not 0 < len(runs) <= MAX_RUNS:
        raise DataError(
            f"{name}: {given.dtype} of shape {short(given.shape)}, expected logits S x {images} x K or {images} x K. "
            f"Or give predicted classes as whole numbers, S x {images} or {images}. There are {images:,} labels."
        )
    if not numbers:
        return None, _check_classes(runs, name)
    if not 1 < runs.shape[2] <= MAX_CLASSES:
        raise DataError(f"{name}: {runs.shape[2]:,} outputs, expected 2 to {MAX_CLASSES:,}, one per class")
    if (bad := np.isnan(runs) | np.isposinf(runs)).any():
        run, image, _ = np.argwhere(bad)[0]
        raise DataError(f"{name}: run {run}, image {image}: {runs[run, image][bad[run, image]][0]}, expected numbers")
    if labels_N.max() >= runs.shape[2]:
        image = int(labels_N.argmax())
        raise DataError(f"{name}: gives {runs.shape[2]} outputs, but label {labels_N[image]} of image {image} is none.")
    return runs, runs.argmax(2)


def _check_classes(predicted_SN: Array, name: str) -> Array:
    if predicted_SN.min() < 0 or predicted_SN.max() >= MAX_CLASSES:
        run, image = np.argwhere((predicted_SN < 0) | (predicted_SN >= MAX_CLASSES))[0]
        raise DataError(
            f"{name}: run {run}, image {image}: class {predicted_SN[run, image]}, expected 0 to {MAX_CLASSES - 1}"
        )
    return predicted_SN.astype(np.int64)


def _compared(models: Mapping[str, _Runs], margin: float, metric: Metric, groups: tuple[int, ...]) -> Comparison:
    """As runs are compared that have records."""
    died = {name: runs.died for name, runs in models.items()}
    entries = [_entry(name, runs, died[name], metric, groups) for name, runs in models.items()]
    values = {name: runs.values_SN for name, runs in models.items()}
    first_runs = {name: values_SN[0] for name, values_SN in values.items()}
    return judged(entries, values, died, first_runs, margin, metric, groups)


def _entry(name: str, runs: _Runs, died: Sequence[bool], metric: Metric, groups: tuple[int, ...]) -> Entry:
    accuracies, scores = (values_SN.mean(1).tolist() for values_SN in (runs.correct_SN, runs.values_SN))
    interval = score_interval(metric, scores, len(runs.labels_N), runs.values_SN[0], groups)
    accuracy, score = float(np.mean(accuracies)), float(np.mean(scores))
    images = len(runs.labels_N)
    return Entry(name, len(scores), accuracy, interval, Protocol(""), sum(died), score=score, images=images)
