"""What a `Trainer` tells of while it trains."""

from collections.abc import Callable
from dataclasses import dataclass


class Callback:
    """To be derived from; what is not overridden does nothing."""

    def on_step(self, epoch: int, step: int, loss: float) -> None:
        """After each step of autograd; by the compiled step about every second, of the last step made.

        `epoch` and `step` count from 1, `loss` is the mean over the step's batch.
        """

    def on_pause(self) -> None:
        """After `on_step`, between two updates: `Trainer.state` can be taken now."""

    def on_epoch(self) -> None:
        """After each epoch, and its validation or the start of one."""


@dataclass(eq=False)
class Functions(Callback):
    """A callback made of functions, each of which may be left out."""

    step: Callable[[int, int, float], None] | None = None
    pause: Callable[[], None] | None = None
    epoch: Callable[[], None] | None = None

    def on_step(self, epoch: int, step: int, loss: float) -> None:
        if self.step is not None:
            self.step(epoch, step, loss)

    def on_pause(self) -> None:
        if self.pause is not None:
            self.pause()

    def on_epoch(self) -> None:
        if self.epoch is not None:
            self.epoch()
