"""Epochs trained before a call of `train`, and in what they were trained otherwise than those that follow."""

from collections.abc import Mapping
from pathlib import Path

from modelflow.studies.record import CONTINUED, seconds_before, training_before, unlike


class Continuation:
    """`settings` names, for the record, after how many epochs a training went on otherwise, and what was then."""

    def __init__(self) -> None:
        self.settings: dict[str, str] = {}
        self._before: tuple[int, Mapping[str, object]] | None = None  # epochs, and by what they were trained

    def load(self, checkpoint: Path, epochs: int) -> float | None:
        """Takes what run.json beside a checkpoint says of its epochs; the seconds they took, None where not known."""
        trained = training_before(checkpoint, epochs) or {}
        self.settings = {name: of for name, of in trained.items() if name.startswith(CONTINUED)}
        self._before = epochs, trained
        return seconds_before(checkpoint, epochs)

    def resume(self, settings: dict[str, str]) -> None:
        """Takes up a call of `train` that was broken off, with its `settings`."""
        self.settings, self._before = dict(settings), None

    def begin(self, epochs: int, facts: Mapping[str, object]) -> None:
        """A call of `train` after so many epochs, which trains by these facts."""
        trained, before = self._before or (0, {})
        if trained == epochs > 0 and (text := unlike(before, facts) if before else "not known"):
            self.settings[f"{CONTINUED}{epochs}"] = text
        self._before = None

    def end(self, epochs: int, facts: Mapping[str, object]) -> None:
        """The call has ended."""
        self._before = epochs, facts
