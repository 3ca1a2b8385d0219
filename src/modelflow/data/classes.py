"""The names of the classes that a loader's data set knows, through subsets and joined sets; classes without images."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from modelflow.errors import UsageError
from modelflow.io.arguments import class_names
from modelflow.text import shown

MAX_LISTED = 10
MAX_RATIO = 1.5  # of images of the largest class to those of the smallest; beyond it is said


def without_images(y_N: Tensor) -> str:
    """What to know of classes below the largest label of training that no label is of; empty where there are none."""
    empty = torch.nonzero(torch.bincount(y_N) == 0).flatten().tolist()
    if not empty:
        return ""
    more = f" and {len(empty) - MAX_LISTED} more" if len(empty) > MAX_LISTED else ""
    listed = ", ".join(map(str, empty[:MAX_LISTED])) + more
    which = f"class {listed} has" if len(empty) == 1 else f"classes {listed} have"
    begin = len(empty) if empty[-1] < len(empty) else 0
    fix = f"Labels begin at {begin}: subtract {begin} from each." if begin else "Number the classes without gaps."
    return f"{which} no training image, but an output of the network. {fix}"


def imbalance(y_N: Tensor, class_names: Sequence[str]) -> str:
    """How unequal the classes of training are where one has over 1.5 times the images of another, and what to do."""
    counts_K = torch.bincount(y_N, minlength=len(class_names))
    seen = torch.nonzero(counts_K).flatten()
    least, most = int(seen[counts_K[seen].argmin()]), int(counts_K.argmax())
    fewest, greatest = int(counts_K[least]), int(counts_K[most])
    if greatest <= MAX_RATIO * fewest:
        return ""
    return (
        f"the classes are unequal: {shown(class_names[most])} has {greatest:,} training images, "
        f"{shown(class_names[least])} has {fewest:,} ({greatest / fewest:.1f} to 1). Accuracy favours the large "
        "classes. To count all classes alike: --class-weights balanced in training, --metric balanced_accuracy in the "
        "comparison."
    )


def classes_of(*loaders: object) -> tuple[str, ...]:
    """The names in the order of their labels, of the first loader whose data set has some; () where none has."""
    for loader in loaders:
        own = _named(getattr(getattr(loader, "source", None), "class_names", None))
        if names := _names(getattr(loader, "dataset", None)) or own:
            return names
    return ()


def _names(dataset: object) -> tuple[str, ...]:
    if isinstance(dataset, Subset):
        return _names(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        found = {_names(part) for part in dataset.datasets}
        return found.pop() if len(found) == 1 else ()
    kept = (getattr(dataset, "class_to_idx", None), getattr(dataset, "classes", None), *_described(dataset))
    return next((names for one in kept if (names := _named(one))), ())


def _described(dataset: object) -> tuple[Any, Any]:
    """As MedMNIST's `info` and Hugging Face's `features` have them."""
    info, features = getattr(dataset, "info", None), getattr(dataset, "features", None)
    held = features.get("label") if isinstance(features, Mapping) else None
    return info.get("label") if isinstance(info, Mapping) else None, getattr(held, "names", None)


def _named(names: object) -> tuple[str, ...]:
    """The names, or () for what is no list of them."""
    try:
        return () if names is None else class_names(names)
    except UsageError:
        return ()
