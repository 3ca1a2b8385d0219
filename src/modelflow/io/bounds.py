"""How large what we write may become, so that we read it again: each bound stands here once, for both. No torch.

Who reads refuses what is larger before it is believed; what would become larger is refused before it is trained.
"""

from modelflow.errors import DataError

MAX_RUNS = 1_000_000  # of a study: models x seeds
MAX_EPOCHS = 250_000  # of a model, in all its trainings
MAX_CLASSES = 2000  # tables of confusions grow with the square

MAX_RECORD_BYTES = 1 << 20  # run.json, plan.json
MAX_STUDY_BYTES = 8 << 20  # a study in JSON; study.json of 10,000 models with the layers that a study may have: 7 MB
MAX_TABLE_BYTES = 16 << 20  # history.csv of the most epochs, 66 bytes each; confusion_matrix.csv of the most classes
MAX_PREDICTION_BYTES = 1 << 27  # predictions.npz, packed and unpacked
MAX_MERGED_BYTES = 4 << 30  # of all runs that are merged at once
MAX_MERGED_FILES = 100_000
MAX_OPCODES = 2 * MAX_EPOCHS + 100_000  # of a checkpoint's pickle: two losses an epoch, and its tensors

ROOM = 1000  # bytes around the figures of predictions.npz


def check_predictions(name: str, images: int, classes: int) -> None:
    """Raises `DataError` where the predictions of a model for as many test images would not be read again."""
    if classes > MAX_CLASSES:
        raise DataError(f"{name}: {classes:,} classes, expected at most {MAX_CLASSES:,}")
    needed = 4 * images * (classes + 1) + ROOM
    if needed > MAX_PREDICTION_BYTES:
        raise DataError(
            f"{name}: predictions of {classes:,} classes for {images:,} test images take {needed:,} bytes, expected at "
            f"most {MAX_PREDICTION_BYTES:,}. Use fewer test images or classes."
        )


def check_epochs(epochs: int, what: str) -> None:
    """Raises `DataError` for more epochs of a model than would be read again."""
    if epochs > MAX_EPOCHS:
        raise DataError(f"{what}: {epochs:,} epochs in all, expected at most {MAX_EPOCHS:,}")
