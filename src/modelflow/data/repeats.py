"""Images of one part of a data set that are images of another: found exactly, by their pixels, counted and named."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np

from modelflow.io.array import Array

MAX_NAMED = 5


def repeats(train_NP: Array, test_NP: Array) -> dict[int, list[int]]:
    """By the index of each test image whose pixels (P, of one type) are those of training images, the indices of these.

    Sums of the bits choose the candidates, which are then compared whole: 70,000 images take a tenth of a second.
    """
    train_N, test_N = (_bits(rows_NP).sum(1, dtype=np.uint32) for rows_NP in (train_NP, test_NP))
    likely = {int(i): test_NP[i].tobytes() for i in np.flatnonzero(np.isin(test_N, train_N))}
    wanted = set(likely.values())
    places: dict[bytes, list[int]] = defaultdict(list)
    for j in np.flatnonzero(np.isin(train_N, test_N)):
        if (pixels := train_NP[j].tobytes()) in wanted:
            places[pixels].append(int(j))
    return {i: places[pixels] for i, pixels in likely.items() if pixels in places}


def _bits(rows_NP: Array) -> Array:
    """The rows as numbers of four bytes, or of one where their length is no multiple of four."""
    return rows_NP.view(np.uint32 if rows_NP.shape[1] * rows_NP.itemsize % 4 == 0 else np.uint8)


def with_other_label(
    places: Mapping[int, Sequence[int]], train_y_N: Sequence[object], test_y_N: Sequence[object]
) -> int:
    """How many of the test images in `places`, as `repeats` gives them, have only other labels in training."""
    return sum(test_y_N[i] not in {train_y_N[j] for j in found} for i, found in places.items())


def named(part: str, of: str, places: Mapping[int, Sequence[int]]) -> str:
    """Which images of a part are images `of` another, as `repeats` gives them, in a sentence; empty where none is."""
    if not places:
        return ""
    pairs = [f"{part} image {i} is {of} image {found[0]}" for i, found in islice(places.items(), MAX_NAMED)]
    more = [f"and {len(places) - MAX_NAMED:,} more"] if len(places) > MAX_NAMED else []
    return f"the same pixels, counted from 0: {', '.join([*pairs, *more])}."
