"""What is known of a run so far, for its record: how long it took, since when, and on what it was continued."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from modelflow.results.records import Run
from modelflow.studies.continuation import Continuation


@dataclass
class RunHistory:
    """`seconds` by what they went into, training or evaluation; `stored` the finished run whose weights it has, if any.

    `test_reads` counts how often the test images were evaluated, `continuation` knows how the epochs before were
    trained.
    """

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: dict[str, float] = field(default_factory=dict)
    stored: Run | None = None
    test_reads: int = 0
    continuation: Continuation = field(default_factory=Continuation)

    def remember(self, run: Run) -> None:
        """Keeps what a stored `run` of these very weights says of their training, for the record of an evaluation."""
        self.stored, self.seconds, self.test_reads = run, dict(run.seconds), run.test_reads or 0
        self.started = datetime.fromisoformat(run.started)
