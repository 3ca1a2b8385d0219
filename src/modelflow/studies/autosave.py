"""States of a training, saved every few seconds, and so seldom that it takes a hundredth of the time."""

import time
from collections.abc import Callable
from pathlib import Path

from modelflow.training.states import save_state

SECONDS_BETWEEN_STATES = 5
SHARE_OF_SAVING = 0.01  # of the time, at most


class Autosave:
    """When a state is due, and how long saving the last one took."""

    def __init__(self) -> None:
        self.saved_at, self._took = time.monotonic(), 0.0

    def is_due(self) -> bool:
        """Whether enough time has gone by since the last state."""
        return time.monotonic() - self.saved_at >= max(SECONDS_BETWEEN_STATES, self._took / SHARE_OF_SAVING)

    def save(self, folder: Path, state: Callable[[], dict[str, object]]) -> None:
        """What `state` collects, as the newest in `folder`; collecting it counts as saving."""
        start = time.monotonic()
        save_state(folder, state())
        self.saved_at = time.monotonic()
        self._took = self.saved_at - start
