"""A loss given outputs and labels in the form that it takes, its values read as means over the images."""

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelflow.data.convert import Note, classes, described, logits_of, range_advice, tensor_of, unheard
from modelflow.errors import DataError, ModelFlowError, UsageError, is_of_memory
from modelflow.text import ended
from modelflow.training.seeding import seeded_rng

Loss = Callable[[Any, Any], Tensor]
Form = Callable[[Any, Any], tuple[Any, Any]]
OF_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
WRONG = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError)  # what does not fit raises these
A_MEAN = "Reduce it over the batch: reduction='mean', or .mean()."


def loss_of(loss_fn: Any) -> Loss:
    """The loss itself; cross-entropy for None, and of a class, such as nn.CrossEntropyLoss, the loss that it makes.

    Raises `UsageError` for what is no loss.
    """
    if loss_fn is None:
        return nn.CrossEntropyLoss()
    try:
        loss = loss_fn() if isinstance(loss_fn, type) else loss_fn
    except TypeError as error:
        raise UsageError(
            f"loss_fn is the class {loss_fn.__name__}, expected a loss: {ended(error)} Call it first."
        ) from None
    if not callable(loss):
        raise UsageError(f"loss_fn = {loss!r:.80}: expected a loss such as nn.CrossEntropyLoss()")
    return loss  # type: ignore[no-any-return]


def cross_entropy(label_smoothing: float, counts_K: Tensor | None = None) -> nn.CrossEntropyLoss:
    """Cross-entropy, its targets smoothed (Szegedy and others, arXiv:1512.00567, section 7).

    `counts_K`, the images of each class, balance it: a class's weight is images / (classes with images x its count).
    """
    weight_K = None
    if counts_K is not None:
        some = counts_K > 0
        weight_K = torch.where(some, counts_K.sum() / (some.sum() * counts_K.clamp(min=1)), 0.0).float()
    return nn.CrossEntropyLoss(weight=weight_K, label_smoothing=label_smoothing)


def as_given(outputs: object, y: object) -> tuple[Any, Any]:
    """The first thing that is tried: both as they are."""
    return outputs, y


def labels_as_classes(outputs: object, y: object) -> tuple[Any, Any]:
    """The second thing that is tried: labels N x 1, one-hot, int32 or float32 as one class an image."""
    return outputs, y if (found := classes(y)) is None else found


def logits_alone(outputs: object, y: object) -> tuple[Any, Any]:
    """Of a tuple or a mapping the logits, of N x K x 1 x 1 as N x K."""
    return logits_of(outputs), y


def logits_and_classes(outputs: object, y: object) -> tuple[Any, Any]:
    """Both conversions together, the last thing that is tried."""
    return labels_as_classes(*logits_alone(outputs, y))


class FittedLoss:
    """`loss_fn` as the first batch shows that it is to be called; `note` is told what is converted for it.

    `summed` says whether it is the sum over the images of a batch instead of their mean. A loss that fits in no form,
    is not one number, or cannot be right raises `UsageError` at that first batch, and labels out of range `DataError`.
    """

    def __init__(self, loss_fn: Loss, note: Note = unheard) -> None:
        self.loss_fn = loss_fn
        self.summed = False
        self.note = note
        self._form: Form | None = None

    def __call__(self, outputs: object, y: object) -> Tensor:
        if self._form is not None:
            return self.loss_fn(*self._form(outputs, y))
        check_fits(self.loss_fn, tensor_of(outputs), y)
        form, loss = self._found(outputs, y)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise UsageError(f"loss_fn gives {described(loss)}, expected a tensor of one number. {A_MEAN}")
        self._tell(form, outputs, y)
        self._form, self.summed = form, is_sum(self.loss_fn, *form(outputs, y), loss.item())
        return loss

    def mean(self, loss: float, images: int) -> float:
        """The mean over the images of a batch whose loss is `loss`."""
        return loss / images if self.summed else loss

    def _found(self, outputs: object, y: object) -> tuple[Form, Any]:
        first = None
        for form in (as_given, labels_as_classes, logits_alone, logits_and_classes):
            try:
                return form, _called(self.loss_fn, *form(outputs, y))
            except WRONG as error:
                if not is_misfit(error):
                    raise
                first = first or error
        given = f"outputs ({described(outputs)}) and labels ({described(y)})"
        raise UsageError(f"loss_fn cannot take {given}: {ended(_line(first))} {self._fix(y)}") from first

    def _fix(self, y: Any) -> str:
        if isinstance(getattr(self.loss_fn, "weight", None), Tensor):
            return "Give its weight one float32 number per class, on the model's device, and check the labels."
        if isinstance(y, Tensor) and y.ndim > 1 and classes(y) is None:
            return "Give one class per image, or a loss that takes such labels."
        return "Use nn.CrossEntropyLoss with one class per image, or labels of the shape that the loss takes."

    def _tell(self, form: Form, outputs: object, y: object) -> None:
        taken, chosen = form(outputs, y)
        if chosen is not y:
            self.note(f"labels are {_kind(y)}: the loss uses them as one class per image (int64)")
        if taken is not outputs:
            self.note(f"the model gives {_kind(outputs)}: its logits are used ({_kind(taken)})")


def is_misfit(error: Exception) -> bool:
    """Whether an error comes of things that do not fit each other, and says so in no words of ours."""
    return isinstance(error, WRONG) and not isinstance(error, ModelFlowError) and not is_of_memory(error)


def _kind(values: object) -> str:
    """What values are, without how many images they are of."""
    if not isinstance(values, Tensor):
        return f"a {type(values).__name__}"
    return f"{described(values).partition(' ')[0]} {' x '.join(['N', *map(str, values.shape[1:])])}"


def _called(loss_fn: Loss, outputs: object, y: object) -> Any:
    """The loss; an error where torch would stretch labels over outputs of another shape, and only warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Using a target size")
        try:
            return loss_fn(outputs, y)
        except UserWarning as warning:
            raise ValueError(str(warning)) from None


def _line(error: BaseException | None) -> str:
    return " ".join(str(error).split())[:200]


def is_plain_cross_entropy(loss_fn: Loss) -> bool:
    """Without weights of classes and smoothed labels, so that guessing costs what `guessing_loss` says."""
    if not isinstance(loss_fn, nn.CrossEntropyLoss):
        return loss_fn is F.cross_entropy
    return loss_fn.weight is None and loss_fn.label_smoothing == 0


def check_fits(loss_fn: Loss, outputs: object, y: object) -> None:
    """Raises `UsageError` for outputs and labels from which this loss gives a number that means nothing."""
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        return
    of_classes = isinstance(loss_fn, OF_CLASSES) or loss_fn in (F.cross_entropy, F.nll_loss)
    if of_classes and outputs.shape[1] == 1:
        raise UsageError(
            "the model has one output, for which cross-entropy is always 0. Give it two, or use nn.BCEWithLogitsLoss."
        )
    if of_classes and isinstance(y, Tensor) and (found := classes(y)) is not None:
        check_range(found, outputs.shape[1], getattr(loss_fn, "ignore_index", None))
    if (isinstance(loss_fn, nn.NLLLoss) or loss_fn is F.nll_loss) and not _log_probabilities(outputs):
        raise UsageError(
            "the outputs are no log-probabilities, which NLLLoss needs. End the model with nn.LogSoftmax(1), or use "
            "nn.CrossEntropyLoss."
        )


def check_range(y_N: Tensor, n_classes: int, ignored: int | None = None, what: str = "labels") -> None:
    """Raises `DataError` for a class that the model has no output for, unless the loss ignores it."""
    counted_N = y_N if ignored is None else y_N[y_N != ignored]
    if not len(counted_N):
        return
    least, greatest = (int(value) for value in torch.aminmax(counted_N))
    if least >= 0 and greatest < n_classes:
        return
    fix = range_advice(least, greatest, n_classes)
    raise DataError(f"{what} go from {least} to {greatest}, the model's outputs are 0 to {n_classes - 1}. {fix}")


def _log_probabilities(outputs_NK: Tensor) -> bool:
    return bool((outputs_NK.detach().float().logsumexp(1).abs() < 0.05).all())


def is_sum(loss_fn: Loss, outputs: object, y: object, loss: float) -> bool:
    """Whether a loss is the sum over the images: what it says of itself, or else that of both halves adds up to it."""
    reduction = getattr(loss_fn, "reduction", None)
    if isinstance(reduction, str):
        return reduction == "sum"
    if not isinstance(outputs, Tensor) or not isinstance(y, Tensor) or not 1 < len(y) == len(outputs):
        return False
    cut = len(y) // 2
    try:
        trial = copy.deepcopy(loss_fn)
        with seeded_rng(0, "loss"), torch.no_grad():
            halves = [trial(outputs[part], y[part]).item() for part in (slice(cut), slice(cut, None))]
    except Exception:  # a loss of whole batches alone
        return False
    mean = (cut * halves[0] + (len(y) - cut) * halves[1]) / len(y)
    return math.isclose(loss, sum(halves), rel_tol=1e-3) and not math.isclose(loss, mean, rel_tol=1e-2)
