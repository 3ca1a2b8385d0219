"""A finished run that lies in the folder of a `ModelFlow`: whether it is of these weights, and may give way."""

from contextlib import suppress

from modelflow.errors import DataError, UsageError
from modelflow.io.files import sha256
from modelflow.results import layout
from modelflow.results.records import Run
from modelflow.studies.parts import Parts
from modelflow.studies.run_folder import RunFolder
from modelflow.training.checkpoint import weights_bytes


def stored_training(parts: Parts, folder: RunFolder) -> Run | None:
    """The run that lies there, where it is of the network and the weights at hand."""
    with suppress(DataError):
        run = layout.read_run(folder.path)
        if run.epochs == parts.arch.total_epochs > 0 and _has_weights_of(run, parts) and _is_of(run, parts):
            return run
    return None


def _has_weights_of(run: Run, parts: Parts) -> bool:
    """Records of before weights had a checksum are taken at their word."""
    return run.files.get(layout.WEIGHTS) in (None, sha256(weights_bytes(parts.model)))


def _is_of(run: Run, parts: Parts) -> bool:
    """Whether it is of this very network. Records of before modules had a checksum are believed."""
    spec, module = parts.network
    return run.spec == spec and (run.module_sha256 == module or run.module_sha256 is None)


def check_not_replaced(parts: Parts, folder: RunFolder) -> None:
    """Raises `UsageError` where a finished run of other weights would give way to what was not trained here."""
    untrained = parts.arch.total_epochs == 0 or folder.is_ours  # or by the checkpoint that lies there
    if parts.stored is not None or folder.has_written(layout.RUN) or not untrained:
        return
    with suppress(DataError):
        layout.read_run(folder.path)
        raise UsageError(
            f"{folder.path} holds a finished run of other weights or of another network, and nothing is to be "
            f"trained. Give its network and load_checkpoint_path={str(folder.path / layout.CHECKPOINT)!r}, "
            "or another model_name."
        )
