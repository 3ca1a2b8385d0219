"""A finished run that lies in a run's folder: whether it is of the weights at hand, and may give way."""

from contextlib import suppress

from modelflow.errors import DataError, UsageError
from modelflow.io.files import sha256
from modelflow.results import layout
from modelflow.results.records import Run
from modelflow.studies.parts import Parts
from modelflow.training.checkpoint import weights_bytes


def take_stored(parts: Parts) -> None:
    """Remembers the training of the run that lies there, where it is of the network and the weights at hand.

    Raises `UsageError` where it is of others, and would give way to what was not trained here.
    """
    if (run := _stored_training(parts)) is not None:
        parts.folder.is_ours = True
        parts.history.remember(run)
    check_not_replaced(parts)


def _stored_training(parts: Parts) -> Run | None:
    with suppress(DataError):
        run = layout.read_run(parts.folder.path)
        if run.epochs == parts.arch.total_epochs > 0 and _has_weights_of(run, parts) and _is_of(run, parts):
            return run
    return None


def _has_weights_of(run: Run, parts: Parts) -> bool:
    """Records of before weights had a checksum are taken at their word."""
    return run.files.get(layout.WEIGHTS) in (None, sha256(weights_bytes(parts.model)))


def _is_of(run: Run, parts: Parts) -> bool:
    """Whether it is of this very network. Records of before modules had a checksum are believed."""
    return run.spec == parts.spec and run.module_sha256 in (None, parts.module_sha256)


def check_not_replaced(parts: Parts) -> None:
    """Raises `UsageError` where a finished run of other weights would give way to what was not trained here."""
    untrained = parts.arch.total_epochs == 0 or parts.folder.is_ours  # or by the checkpoint that lies there
    if parts.history.stored is not None or parts.folder.has_written(layout.RUN) or not untrained:
        return
    place = parts.folder.path
    with suppress(DataError):
        layout.read_run(place)
        raise UsageError(
            f"{place} holds a finished run of other weights or of another network, and nothing is to be "
            f"trained. Give its network and load_checkpoint_path={str(place / layout.CHECKPOINT)!r}, "
            "or another model_name."
        )
