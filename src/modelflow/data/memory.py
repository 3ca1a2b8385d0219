"""What a loader goes through that lies in memory: its SHA-256, and test images that are training images.

held(DataLoader(TensorDataset(x, y), batch_size=16))     ->  Held(x, y, None, True)
checksums({"training": held(loader)})                    ->  {"training images": "0f1e…", "training labels": "2d3c…"}

Nothing is drawn from a generator and no transform runs: what is looked at lies there before any.
"""

import hashlib
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from modelflow.data.batches import Batches
from modelflow.data.convert import IMAGES, LABELS, classes
from modelflow.data.repeats import repeats, with_other_label
from modelflow.io.array import Array
from modelflow.networks.trace import shape_text

OF_ALL = (SequentialSampler, RandomSampler, WeightedRandomSampler)  # samplers that leave out no image
NAMES_OF_IMAGES = (*IMAGES, "imgs")  # MedMNIST's
CHUNK = 1 << 24  # bytes that are copied at a time, at most
MAX_COMPARED_BYTES = 1 << 30  # bytes of images whose pixels are compared
NUMBERS = "biuf"  # numpy's kinds of them


class Held(NamedTuple):
    """Images and labels in memory, and which of them a loader goes through: `index_N`, or all.

    `as_they_are` says that batches are made of these very values, without a transform.
    """

    images: Any
    labels: Any
    index_N: Array | None
    as_they_are: bool

    def of_loader(self, part: str) -> Any:
        """Those `images` or `labels` that the loader goes through."""
        values = getattr(self, part)
        return values if self.index_N is None else values[self.index_N]


def held(loader: object) -> Held | None:
    """What a loader holds in memory: tensors of a data set, through subsets, or arrays called `data` and `targets`.

    None where that is not known, as of a stream or of batches made by rules of their own.
    """
    if isinstance(loader, Batches):
        index_N = None if loader.index_N is None else loader.index_N.cpu().numpy()
        return _held(loader.dataset.tensors, index_N, type(loader).__iter__ is Batches.__iter__)
    if not isinstance(loader, DataLoader) or _sampler_of_batches(loader) is not loader.sampler:
        return None
    plain = type(loader).__iter__ is DataLoader.__iter__ and loader.collate_fn is default_collate
    try:
        if isinstance(loader.sampler, SubsetRandomSampler):
            return _of_data_set(Subset(loader.dataset, loader.sampler.indices), plain)
        return _of_data_set(loader.dataset, plain) if type(loader.sampler) in OF_ALL else None
    except (TypeError, ValueError, IndexError):  # indices that are no numbers, or of other images
        return None


def _sampler_of_batches(loader: Any) -> Any:
    return loader.sampler if loader.batch_sampler is None else getattr(loader.batch_sampler, "sampler", None)


def _of_data_set(dataset: object, plain: bool) -> Held | None:
    index_N: Array | None = None
    while isinstance(dataset, Subset):
        chosen_N = np.array([operator.index(i) for i in dataset.indices], np.int64)
        index_N = chosen_N if index_N is None else chosen_N[index_N]
        plain, dataset = plain and type(dataset) is Subset, dataset.dataset
    parts = dataset.tensors[:2] if isinstance(dataset, TensorDataset) else _attributes(dataset)
    plain = plain and type(dataset) is TensorDataset and len(dataset.tensors) == 2
    return _held(parts, index_N, plain)


def _held(parts: Sequence[Any], index_N: Array | None, plain: bool) -> Held | None:
    if len(parts) < 2 or not all(map(is_numbers, parts)):
        return None
    images, labels = parts
    fits = index_N is None or (len(index_N) and -len(images) <= index_N.min() <= index_N.max() < len(images))
    return Held(images, labels, index_N, plain) if len(images) and fits else None


def _attributes(dataset: Any) -> tuple[Any, ...]:
    """Images and labels that a data set keeps as its attributes, one of each for each of its items."""
    kept, count = {name.lower().strip("_"): value for name, value in vars(dataset).items()}, len(dataset)
    found = [next((kept[name] for name in names if name in kept), None) for names in (NAMES_OF_IMAGES, LABELS)]
    arrays = [_array(values) for values in found]
    shapes = [tuple(getattr(one, "shape", ())) for one in arrays]
    return tuple(arrays) if all(shape[:1] == (count,) for shape in shapes) and len(shapes[0]) > 2 else ()


def _array(values: object) -> Any:
    """A list of whole numbers, as of CIFAR's labels, as an array; anything else as it is."""
    whole = isinstance(values, list) and all(type(value) is int for value in values)
    return np.asarray(values, np.int64) if whole else values


def is_numbers(values: object) -> bool:
    """Whether it is a tensor or an array whose real numbers lie in memory."""
    if isinstance(values, Tensor):
        return values.layout is torch.strided and not (values.is_quantized or values.is_meta or values.is_complex())
    return isinstance(values, np.ndarray) and values.dtype.kind in NUMBERS


def checksums(data: Mapping[str, Held | None]) -> dict[str, str]:
    """SHA-256 of the images and the labels of each role that are in memory, as "training images".

    Each is of a line with kind and shape, such as "float32 60000x1x28x28", and of the bytes that follow. Fashion-MNIST
    in float32 takes some 0.2 s; however large they are, a few MiB at a time are copied.
    """
    known = {role: one for role, one in data.items() if one is not None}
    return {
        f"{role} {part}": sha256_of(getattr(one, part), one.index_N)
        for role, one in known.items()
        for part in ("images", "labels")
    }


def sha256_of(values: Any, index_N: Array | None = None) -> str:
    """Of a tensor or an array, or of those rows that `index_N` names: of a line with kind and shape, then the bytes."""
    n = len(values) if index_N is None else len(index_N)
    digest = hashlib.sha256(f"{_kind(values)} {shape_text((n, *values.shape[1:]))}\n".encode())
    step = max(1, CHUNK * len(values) // max(1, values.nbytes))
    for start in range(0, n, step):
        chosen = slice(start, start + step)
        digest.update(_bytes(values[chosen if index_N is None else index_N[chosen]]))
    return digest.hexdigest()


def _kind(values: Any) -> str:
    return str(values.dtype).removeprefix("torch.")


def _bytes(values: object) -> Any:
    """The bytes of a tensor or an array, without a copy where they lie in one piece in the processor's memory."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def seen_in_training(train: Held | None, test: Held | None) -> tuple[int | None, int | None]:
    """How many test images are training images too, and how many of these have only other labels there.

    None for what is not known, as where images are of another kind or shape, or too many to be compared.
    """
    if train is None or test is None or _form(train) != _form(test) or _size(train) + _size(test) > MAX_COMPARED_BYTES:
        return None, None
    pixels = [_bytes(x).reshape(len(x), -1) for x in (one.of_loader("images") for one in (train, test))]
    places = repeats(*pixels)
    known = [y.tolist() for one in (train, test) if (y := classes(_tensor(one.of_loader("labels")))) is not None]
    return len(places), with_other_label(places, *known) if len(known) == 2 else None


def _tensor(values: object) -> Tensor:
    return values if isinstance(values, Tensor) else torch.from_numpy(np.array(values))


def _form(one: Held) -> tuple[str, tuple[int, ...]]:
    return _kind(one.images), tuple(one.images.shape[1:])


def _size(one: Held) -> int:
    images = len(one.images) if one.index_N is None else len(one.index_N)
    return int(one.images.nbytes) * images // len(one.images)
