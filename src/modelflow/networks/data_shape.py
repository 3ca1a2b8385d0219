"""What a data set asks of a network: the size of its images, the number of its classes. No torch."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class DataShape:
    """Of the data set `name`: its images have `in_channels` and are `image_size`, height and width."""

    name: str
    in_channels: int
    image_size: tuple[int, int]
    num_classes: int

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of an image: channels x height x width."""
        return (self.in_channels, *self.image_size)


AskShape = Callable[[], DataShape]  # asked where something is left out, since it may read the data's files


def usual() -> DataShape:
    """Fashion-MNIST's: what is assumed where no data set says otherwise."""
    return DataShape("fashion-mnist", 1, (28, 28), 10)
