"""Training images changed anew at each step: mirrored, shifted, with a square blanked.

    augmentation = Augmentation(shift=2, flip=True, cutout=8)
    augmentation.applied(x_BCHW, seed=42, epoch=1, step=1)

- flip: an image is mirrored left to right with probability one half.
- shift: by -shift to shift pixels down and likewise to the right, each number as likely. What comes in repeats the
  image's edge: it is black where the background is black, white where that is white, however images are normalised.
- cutout: a square is set to 0, the mean pixel of normalised images (DeVries and Taylor, Improved Regularization of
  Convolutional Neural Networks with Cutout, 2017, https://arxiv.org/abs/1708.04552). Its centre is any pixel of the
  image, each as likely, so that a part of the square may lie outside.

What is drawn depends on seed, epoch, step and the image's place in its batch alone. So an epoch that is resumed draws
what it would have drawn, and none of the three changes what the others draw.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from modelflow.errors import DataError, UsageError
from modelflow.io.arguments import whole
from modelflow.networks.seeds import stream
from modelflow.text import short

MAX_SIDE = 1 << 15  # of an image; larger shifts and squares fit none


class Draws(NamedTuple):
    """Of each image: pixels down and right, whether it is mirrored, row and column of its square's centre."""

    down_B: Tensor
    right_B: Tensor
    mirrored_B: Tensor
    row_B: Tensor
    column_B: Tensor


@dataclass(frozen=True)
class Augmentation:
    """How the training images are changed at each step; by default they are not.

    `shift` is the greatest shift in pixels, `cutout` the side of the blanked square in pixels, 0 for none. Raises
    `UsageError` for what is no whole number of at least 0, or for `flip` neither true nor false.
    """

    shift: int = 0
    flip: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool | np.bool_):
            raise UsageError(f"flip = {short(self.flip)}: must be true or false")
        object.__setattr__(self, "flip", bool(self.flip))
        for name in ("shift", "cutout"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 0, MAX_SIDE))

    def __bool__(self) -> bool:
        return bool(self.asked)

    @property
    def asked(self) -> dict[str, int | bool]:
        """What is not the default, by its name."""
        return {name: value for name, value in asdict(self).items() if value}

    def check(self, shape: Sequence[int], whose: str) -> None:
        """Raises `DataError` unless images C x H x W of this `shape`, those of `whose`, can be changed so."""
        if not self:
            return
        if len(shape) != 3:
            sizes = " x ".join(map(str, shape)) or "single numbers"
            options = " and ".join(self.asked)
            raise DataError(
                f"{options}: the images of {whose} are {sizes}, expected channels x height x width. "
                f"Give images of that shape, or no {options}."
            )
        side = min(shape[1:])
        for name in ("shift", "cutout"):
            if (given := getattr(self, name)) >= side:
                raise DataError(
                    f"{name} = {given}: the images of {whose} are {shape[1]}x{shape[2]}. Give at most {side - 1}."
                )

    def applied(self, x_BCHW: Tensor, seed: int, epoch: int, step: int) -> Tensor:
        """The images as they are trained on at this step; those given stay as they are."""
        if not self:
            return x_BCHW
        images, _, height, width = x_BCHW.shape
        draws = self.draws(images, height, width, stream(seed, "augmentation", epoch, step))
        return self.changed(x_BCHW, Draws(*(drawn_B.to(x_BCHW.device) for drawn_B in draws)))

    def draws(self, images: int, height: int, width: int, seed: int) -> Draws:
        """What is drawn for so many images, from a stream of its own."""
        generator = torch.Generator(device="cpu").manual_seed(seed)
        u_B5 = torch.rand(images, 5, generator=generator, dtype=torch.float64, device="cpu")
        shifts = 2 * self.shift + 1
        choices_5 = torch.tensor([shifts, shifts, 2, height, width], device="cpu")
        down_B, right_B, mirrored_B, row_B, column_B = (u_B5 * choices_5).long().unbind(1)
        return Draws(down_B - self.shift, right_B - self.shift, mirrored_B == 1, row_B, column_B)

    def changed(self, x_BCHW: Tensor, draws: Draws) -> Tensor:
        """Copies of the images, changed as was drawn."""
        height, width = x_BCHW.shape[2:]
        if self.shift or self.flip:
            x_BCHW = _picked(x_BCHW, *self._sources(draws, height, width))
        if self.cutout:
            y_H, x_W = (torch.arange(side, device=x_BCHW.device) for side in (height, width))
            square_BHW = self._within(y_H, draws.row_B)[:, :, None] & self._within(x_W, draws.column_B)[:, None, :]
            x_BCHW = x_BCHW.masked_fill(square_BHW[:, None], 0)
        return x_BCHW

    def table(self, draws: Draws, height: int, width: int) -> Tensor:
        """What was drawn as 32-bit numbers, B x (H + W + 4), for the compiled step.

        Of each image the row that each row is taken from, and each column, then the square's first row, the row behind
        it, its first column and the one behind it.
        """
        ends = [
            (centre_B - self.cutout // 2 + beyond).clamp(0, side)[:, None]
            for centre_B, side in ((draws.row_B, height), (draws.column_B, width))
            for beyond in (0, self.cutout)
        ]
        return torch.cat([*self._sources(draws, height, width), *ends], 1).int()

    def _sources(self, draws: Draws, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The rows B x H and the columns B x W that the pixels of each image come from."""
        y_H, x_W = (torch.arange(side, device=draws.down_B.device) for side in (height, width))
        from_BH = (y_H - draws.down_B[:, None]).clamp(0, height - 1)
        from_BW = (x_W - draws.right_B[:, None]).clamp(0, width - 1)
        if self.flip:
            from_BW = torch.where(draws.mirrored_B[:, None], width - 1 - from_BW, from_BW)
        return from_BH, from_BW

    def _within(self, places_S: Tensor, centre_B: Tensor) -> Tensor:
        """Which places along a side lie within the square, as B x S."""
        from_start_BS = places_S - (centre_B[:, None] - self.cutout // 2)
        return (from_start_BS >= 0) & (from_start_BS < self.cutout)


AS_THEY_ARE = Augmentation()


def _picked(x_BCHW: Tensor, from_BH: Tensor, from_BW: Tensor) -> Tensor:
    """The pixels of each image at its rows and columns."""
    channels, _, width = x_BCHW.shape[1:]
    from_BP = (from_BH[:, :, None] * width + from_BW[:, None, :]).flatten(1)
    return x_BCHW.flatten(2).gather(2, from_BP[:, None].expand(-1, channels, -1)).view_as(x_BCHW)
