"""The weights of a finished run, model.safetensors, as NumPy's arrays. No torch.

state = read_weights(Path("results/generic_2"), run, most_bytes=4 * traced.parameters + ROOM)
"""

from pathlib import Path
from typing import Any

import numpy as np

from modelflow.errors import DataError
from modelflow.results.layout import WEIGHTS, read_stored
from modelflow.results.records import Run
from modelflow.text import ended, one_line

ROOM = 1 << 20  # bytes of a file beside its parameters: names, shapes, what batch norm has seen


def read_weights(folder: Path, run: Run, most_bytes: int) -> dict[str, np.ndarray[Any, Any]]:
    """Tensors by name, of a run whose record has been read. Names and shapes are as the file says.

    Raises `DataError` where the file is missing, larger than `most_bytes`, altered since, or no safetensors.
    """
    from safetensors.numpy import load

    path = folder / WEIGHTS
    try:
        content = read_stored(path, most_bytes, run)
    except FileNotFoundError:
        raise DataError(f"{one_line(path)}: no such file. Restore it from a copy, or train again.") from None
    except ValueError as error:
        raise DataError(f"{one_line(path)}: {ended(error)} Restore it from a copy, or train again.") from None
    try:
        return load(content)
    except Exception as error:  # of its own kind, or of NumPy for a type that it does not know
        reason = one_line(str(error))[:100]
        raise DataError(f"{one_line(path)}: not readable as safetensors ({reason}). Use an undamaged copy.") from None
