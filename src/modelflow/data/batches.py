"""Batches of images held in memory: what a torch DataLoader does for a TensorDataset, by index and without workers."""

import copy
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from modelflow.errors import DataError, UsageError
from modelflow.io.arguments import as_whole

Batch = tuple[Tensor, Tensor]


class Batches:
    """An iterable over (x, y), accepted wherever a loader is; shuffled again, from `generator`, at every pass.

    Of all images, or of those that `index_N` names, which costs no copy of them. Where it `joins_a_last_one`, a last
    batch of a single image is joined to the one before, as batch norm needs.
    """

    joins_a_last_one = False

    def __init__(
        self,
        x_NCHW: Tensor,
        y_N: Tensor,
        batch_size: int = 16,
        shuffle: bool = False,
        generator: torch.Generator | None = None,
        index_N: Tensor | None = None,
    ) -> None:
        self.batch_size = _checked(x_NCHW, y_N, batch_size)
        self.dataset = TensorDataset(torch.as_tensor(x_NCHW), torch.as_tensor(y_N))
        self.shuffle = shuffle
        self.generator = torch.Generator() if generator is None else generator
        self.index_N = index_N
        self.source: Any = None  # the data set that they are of, where they are of one

    @cached_property
    def finite(self) -> bool:
        """Whether every value of every image is a finite number."""
        least, greatest = torch.aminmax(self.dataset.tensors[0])  # either is NaN where any value is
        return bool(least.isfinite() and greatest.isfinite())

    @cached_property
    def classes(self) -> range | None:
        """From the smallest label to the largest; None where labels are not one whole number an image."""
        y_N = self.dataset.tensors[1]
        if y_N.ndim != 1 or y_N.is_floating_point():
            return None
        least, greatest = torch.aminmax(y_N)
        return range(int(least), int(greatest) + 1)

    @property
    def images(self) -> int:
        """How many images a pass goes through."""
        return len(self.dataset) if self.index_N is None else len(self.index_N)

    def with_generator(self, generator: torch.Generator) -> "Batches":
        """The same batches in an order drawn from another generator; the images are shared."""
        other = copy.copy(self)
        other.generator = generator
        return other

    def __len__(self) -> int:
        return math.ceil(self.images / self.batch_size) - self._joins

    def __iter__(self) -> Iterator[Batch]:
        whole = self.index_N is None and not self.shuffle
        return self._slices() if whole else self._selections(self.order())

    def _bounds(self) -> list[slice]:
        """Which images of a pass each batch has."""
        starts = list(range(0, self.images, self.batch_size))
        if self._joins:
            starts.pop()
        return [slice(start, end) for start, end in zip(starts, [*starts[1:], self.images], strict=True)]

    @property
    def _joins(self) -> bool:
        return self.joins_a_last_one and self.leaves_one

    @property
    def leaves_one(self) -> bool:
        """Whether the last batch of several would be one image."""
        return leaves_one(self.images, self.batch_size)

    def order(self) -> Tensor:
        """The images' order for one pass: as they are, or the next one that `generator` draws."""
        n_images = self.images
        where = self.generator.device  # whatever torch's default device is
        if not self.shuffle:
            order_N = torch.arange(n_images, device=where)
        else:
            order_N = torch.randperm(n_images, generator=self.generator, device=where)
        return order_N if self.index_N is None else self.index_N.index_select(0, order_N)

    def _slices(self) -> Iterator[Batch]:
        x_NCHW, y_N = self.dataset.tensors
        for chosen in self._bounds():
            yield x_NCHW[chosen].clone(), y_N[chosen].clone()  # a model may write into what it is given

    def _selections(self, order_N: Tensor) -> Iterator[Batch]:
        x_NCHW, y_N = self.dataset.tensors
        for chosen in self._bounds():
            chosen_B = order_N[chosen]
            yield x_NCHW.index_select(0, chosen_B), y_N.index_select(0, chosen_B)


def leaves_one(images: int, batch_size: int) -> bool:
    """Whether the last of several batches of so many images would be one image."""
    return images > batch_size > 1 and images % batch_size == 1


def _checked(x_NCHW: Tensor, y_N: Tensor, batch_size: object) -> int:
    """The batch size. Raises `UsageError` for one that is no whole number, and `DataError` for what are no pairs."""
    size = as_whole(batch_size)
    if size is None or size < 1:
        raise UsageError(f"batch_size is {batch_size!r}, expected a whole number of at least 1, such as 16")
    if len(x_NCHW) != len(y_N):
        raise DataError(f"{len(x_NCHW)} images and {len(y_N)} labels, expected one label per image")
    if len(x_NCHW) == 0:
        raise DataError("no images to make batches of, expected at least one")
    return size
