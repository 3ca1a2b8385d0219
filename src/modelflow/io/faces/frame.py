"""Rows of plain data as a data frame of pandas, where that is installed. No torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelflow.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(rows: Sequence[dict[str, object]]) -> "DataFrame":
    """A row each, unrounded; a figure that is not known is missing. Raises `UsageError` without pandas."""
    try:
        from pandas import DataFrame
    except ImportError:
        raise UsageError("to_frame: pandas is not installed. Run pip install pandas, or use to_markdown().") from None
    return DataFrame(list(rows))
