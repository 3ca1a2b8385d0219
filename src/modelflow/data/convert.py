"""Images and labels of a batch, whatever the loader gives, and logits of whatever the model gives.

What is converted is told to `note`, in a line that is the same for each batch.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modelflow.errors import DataError
from modelflow.io.arguments import is_picture
from modelflow.networks.trace import shape_text

IMAGES = ("image", "images", "img", "pixel_values", "x", "input", "inputs", "data")
LABELS = ("label", "labels", "y", "target", "targets", "class", "fine_label")
LOGITS = ("logits", "out", "output", "outputs")
PAIRS = "Give batches of images and labels, as from DataLoader(TensorDataset(x, y), batch_size=16)."
TO_TENSORS = "Convert the images: torchvision.transforms.ToTensor()."
Note = Callable[[str], None]


def unheard(_text: str) -> None:
    """In place of a `note` that nobody reads."""


def pairs(loader: object, dtype: torch.dtype | None, note: Note = unheard) -> Iterator[tuple[Any, Any]]:
    """Images and labels of each batch as tensors, the images of `dtype` (None: as they are).

    Raises `DataError` for batches that are no such pairs.
    """
    kept = isinstance(loader, list | tuple)  # which gives the same batches again, whatever a model writes into them
    for batch in _batches(loader):
        x, y = pair(copy.deepcopy(batch) if kept else batch, note)
        yield images(x, dtype, note), labels(y)


def _batches(loader: Any) -> Iterator[Any]:
    try:
        yield from loader
    except (TypeError, RuntimeError) as error:
        if (advice := _advice(str(error))) is None:
            raise
        raise DataError(f"the loader cannot make a batch: {advice}") from error


def _advice(message: str) -> str | None:
    """What to do about what torch says when it cannot make a batch; None where that is not known."""
    if "default_collate" in message:
        found = message.rpartition("found ")[2].strip()
        return f"it holds {found}, expected tensors or numbers. {TO_TENSORS}"
    if "equal size" in message or "not resizable" in message:
        return "its images differ in size. Resize them: torchvision.transforms.Resize((28, 28))."
    return None


def pair(batch: object, note: Note = unheard) -> tuple[Any, Any]:
    """Images and labels of a batch: two things, the first two of more, or those of a mapping that are called so.

    Raises `DataError` for anything else.
    """
    if isinstance(batch, Mapping):
        return _entry(batch, IMAGES, "images", note), _entry(batch, LABELS, "labels", note)
    if not isinstance(batch, list | tuple) or len(batch) < 2:
        raise DataError(f"a batch is {_text(batch)}, expected images and labels. {PAIRS}")
    if len(batch) > 2:
        note(f"batches hold {len(batch)} items: the first is used as images, the second as labels")
    return batch[0], batch[1]


def _entry(batch: Mapping[object, object], names: tuple[str, ...], what: str, note: Note) -> Any:
    name = next((name for name in names if name in batch), None)
    if name is None:
        raise DataError(
            f"a batch has the keys {', '.join(map(str, batch)):.100}, expected {what} as {names[0]!r}. {PAIRS}"
        )
    note(f"batches are mappings: {name!r} holds the {what}")
    return batch[name]


def images(x: object, dtype: torch.dtype | None, note: Note = unheard) -> Any:
    """Images as a tensor of `dtype`, by their values as they stand: bytes stay from 0 to 255.

    Raises `DataError` for what is no tensor, no array and no list of numbers.
    """
    if not hasattr(x, "to"):
        x = _tensor(x, "images", TO_TENSORS)
    if dtype is None or not isinstance(x, Tensor) or x.dtype == dtype or x.is_complex():
        return x
    values = "" if x.is_floating_point() else ", without scaling (0 to 255 stays 0 to 255)"
    note(f"images are {_kind(x.dtype)}, weights {_kind(dtype)}: images are converted{values}")
    return x.to(dtype)


def labels(y: object) -> Any:
    """Labels as a tensor. Raises `DataError` for what holds no numbers."""
    return y if hasattr(y, "to") else _tensor(y, "labels", "Number the classes from 0.")


def _tensor(values: Any, what: str, fix: str) -> Tensor:
    try:
        if isinstance(values, list | tuple) and all(isinstance(value, Tensor) for value in values):
            return torch.stack(list(values))
        if is_picture(values) or (isinstance(values, list | tuple) and any(map(is_picture, values))):
            raise TypeError
        return torch.as_tensor(np.ascontiguousarray(values) if np.ndim(values) else values)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(f"the {what} of a batch are {_text(values)}, expected a tensor of numbers. {fix}") from None


def dtype_of(model: nn.Module) -> torch.dtype | None:
    """The kind of number that the model computes with; None where it takes whole numbers, as an embedding does."""
    if any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in model.modules()):
        return None
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def classes(y: object) -> Tensor | None:
    """One class an image (int64, N) of labels N, N x 1 or one-hot N x K of any kind; None where they say no such."""
    if not isinstance(y, Tensor) or y.ndim == 0 or y.is_complex():
        return None
    y = y[:, None] if y.ndim == 1 else y.flatten(1) if y.ndim == 2 or y[0].numel() == 1 else y
    if y.ndim > 2:
        return None
    if y.shape[1] != 1:
        one_hot = ((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()
        return y.to(torch.float32).argmax(1) if one_hot else None
    whole = not y.is_floating_point() or bool((y == y.round()).all())
    return y[:, 0].long() if whole else None


def range_advice(least: int, greatest: int, n_classes: int) -> str:
    """What to do about labels that are not all of 0 to `n_classes` - 1."""
    counted_from_1 = (least, greatest) == (1, n_classes)
    return "Subtract 1 from them." if counted_from_1 else "Fix the labels, or build the model with more classes."


def kind_of_labels(y: Tensor) -> str | None:
    """What labels are that say one class an image in another way than by whole numbers N; None for those."""
    if y.ndim != 1:
        return "one-hot" if y[0].numel() > 1 else f"N x {' x '.join(map(str, y.shape[1:]))}"
    return _kind(y.dtype) if y.is_floating_point() else None


def tensor_of(outputs: object) -> Any:
    """The outputs themselves, or of a tuple, a mapping or a record the tensor that is the logits."""
    if isinstance(outputs, Tensor):
        return outputs
    held = {name: getattr(outputs, name, None) for name in LOGITS[:1]}
    held |= dict(outputs) if isinstance(outputs, Mapping) else {}
    named = [held.get(name) for name in LOGITS]
    inside = [*named, *(outputs if isinstance(outputs, list | tuple) else held.values())]
    return next((part for part in inside if isinstance(part, Tensor)), outputs)


def logits_of(outputs: object) -> Any:
    """`tensor_of(outputs)`, of N x K x 1 x 1 as N x K."""
    logits = tensor_of(outputs)
    if isinstance(logits, Tensor) and logits.ndim > 2 and set(logits.shape[2:]) == {1}:
        return logits.flatten(1)
    return logits


def described(values: object) -> str:
    """Kind and shape in words, such as "float32 16x1x28x28"."""
    if not isinstance(values, Tensor):
        return f"a {type(values).__name__}"
    return f"{_kind(values.dtype)} {shape_text(tuple(values.shape)) or 'number'}"


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _text(values: object) -> str:
    if isinstance(values, list | tuple) and values:
        return f"a {type(values).__name__} of {len(values)}, the first a {type(values[0]).__name__}"
    return described(values) if values is not None else "None"
