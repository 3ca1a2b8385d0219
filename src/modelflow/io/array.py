"""The type of any array of NumPy, whatever its shape and its numbers."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
