"""One look, before the first step, at what training will need; what does not fit is said with its fix."""

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from modelflow.data.batches import Batches
from modelflow.data.classes import without_images
from modelflow.data.convert import Note, classes, described, dtype_of, kind_of_labels, pair, pairs, unheard
from modelflow.data.memory import held
from modelflow.errors import DataError, UsageError, is_of_memory
from modelflow.io.arguments import as_whole, plain
from modelflow.io.array import Array
from modelflow.networks.build import layout_advice
from modelflow.networks.resolve import is_spec
from modelflow.text import ended, short
from modelflow.training.loss import WRONG, check_range, is_misfit
from modelflow.training.predict import predict
from modelflow.training.seeding import seeded_order, seeded_rng

MANY = 2  # passes at least: a look, and the evaluation
ONE_VALUE = "Expected more than 1 value per channel"
NOT_ALONE = "Give the DataLoader or its batch_sampler drop_last=True, or another batch size."
NO_LOGITS = (
    "Its loss, Brier score and calibration apply a second softmax and are wrong. "
    "Remove that layer and train with nn.CrossEntropyLoss."
)
A_LOADER = "Give a loader, such as DataLoader(dataset, batch_size=16, shuffle=True)."
OUTSIDE = "Build it outside of torch.inference_mode()."


def check_model(model: Any) -> None:
    """Raises `UsageError` unless `model` is a module with weights that can be trained."""
    check_is_module(model)
    parameters = list(model.parameters())
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
        raise UsageError("the model has lazy layers without weights. Call model(x) with one batch first.")
    if any(p.is_meta for p in parameters):
        raise UsageError("the model's weights are on the device meta, without values. Build it on the CPU.")
    if any(p.is_inference() for p in parameters):
        raise UsageError(f"the model was built within torch.inference_mode(), which cannot be trained. {OUTSIDE}")


def check_precision() -> None:
    """Raises `UsageError` within autocast, whose rounded copies of the weights the steps here would not renew."""
    for kind in ("cpu", "cuda"):
        if torch.is_autocast_enabled(kind):
            raise UsageError(
                f"torch.autocast({kind!r}) is on, and training within it would be wrong. Train outside of it."
            )


def check_is_module(model: object) -> None:
    """Raises `UsageError` for what stands in a module's place."""
    if isinstance(model, nn.Module):
        return
    what = f"the class {model.__name__}" if isinstance(model, type) else short(model)
    form = f"GenericCNN({short(model)})" if isinstance(model, str | Mapping) or is_spec(model) else "GerenicCNN(1, 10)"
    raise UsageError(f"model is {what}, expected a module, such as {form}")


def put_on(device: Any, *parts: Any) -> None:
    """Moves those parts that are modules. Raises `UsageError` for a device that is none, or is not there."""
    try:
        if torch.device(device).type == "meta":
            raise ValueError("the device holds no values")
        for part in parts:
            if isinstance(part, nn.Module):
                part.to(device)
    except (AssertionError, *WRONG) as error:
        if is_of_memory(error):
            raise
        line = " ".join(str(error).split())[:150]
        raise UsageError(f"device = {short(device)}: {ended(line)} Give 'cpu', or 'cuda' where there is one.") from None


def check_optimizer(model: nn.Module, optimizer: Any) -> None:
    """Raises `UsageError` unless some weights can be trained, and the optimizer makes a step by itself.

    Numbers of numpy among the optimizer's settings become Python's.
    """
    if not any(p.requires_grad for p in model.parameters()):
        raise UsageError("no parameter of the model can be trained. Set requires_grad_(True) on some.")
    if isinstance(optimizer, type) or not all(hasattr(optimizer, name) for name in ("param_groups", "step")):
        raise UsageError(
            f"optimizer is {short(optimizer)}, expected an optimizer. Create one: torch.optim.Adam(model.parameters())."
        )
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise UsageError(f"{type(optimizer).__name__} needs the loss several times per step. Use Adam, AdamW or SGD.")
    for group in optimizer.param_groups:
        group |= {name: _as_it_was(value) for name, value in group.items() if name != "params"}


def _as_it_was(value: object) -> Any:
    """Numbers of numpy as Python's; tensors and tuples stay what they are."""
    if isinstance(value, tuple):
        return tuple(map(_as_it_was, value))
    return value if isinstance(value, Tensor) else plain(value)


def check_loader(loader: object, what: str, passes: int) -> None:
    """Raises `UsageError` for what makes no batches, or not as often as it is gone through."""
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset):
        raise UsageError(f"the {what} is a data set, expected batches of it. {A_LOADER}")
    if isinstance(loader, str) or not (hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")):
        raise UsageError(f"the {what} is {short(loader)}, expected an iterable of batches. {A_LOADER}")
    if passes > 1 and _is_spent_after_a_pass(loader):
        raise UsageError(f"the {what} is a {type(loader).__name__}, empty after one pass of {passes}. {A_LOADER}")


def _is_spent_after_a_pass(loader: object) -> bool:
    """Whether it is an iterator of Python, such as a generator; one of a class of its own may begin anew."""
    if isinstance(loader, DataLoader) and isinstance(loader.dataset, IterableDataset):
        return _is_iterator(loader.dataset) or _is_iterator(iter(loader.dataset), iter(loader.dataset))
    return isinstance(loader, _BaseDataLoaderIter) or _is_iterator(loader)


def _is_iterator(found: Any, again: Any = None) -> bool:
    same = again is None or found is again
    return same and hasattr(found, "__next__") and not inspect.isfunction(type(found).__iter__)


def first_pair(loader: object, model: nn.Module, what: str, note: Note) -> tuple[Any, Any]:
    """Images and labels of a loader's first batch; random numbers and the loader's order are as before.

    Raises `DataError` for a loader without batches and for batches that are no images and labels.
    """
    with seeded_rng(0, "preflight"), seeded_order(loader, 0, "preflight") as ordered:
        try:
            found = next(pairs(ordered, dtype_of(model), note), None)
        except DataError as error:
            raise DataError(f"the {what}: {error}") from error.__cause__
    if found is None:
        raise DataError(f"the {what} gave no batches, expected at least one")
    return found


def trial_of(model: nn.Module) -> nn.Module:
    """A copy, not compiled, that can be called without a trace; the model itself where none can be made."""
    try:
        return copy.deepcopy(getattr(model, "_orig_mod", model))
    except Exception:  # whatever the parts of a module raise that cannot be copied
        return model


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a batch of one image cannot be trained on."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def check_last_batch(model: nn.Module, loader: object, device: object) -> None:
    """Raises `UsageError` where a batch, as the last one, is one image, of which batch norm cannot take a mean.

    One image is tried in training mode, by a copy of the model.
    """
    if not has_batch_norm(model):
        return
    alone = _with_one_alone(loader)
    if alone is None or (trial := trial_of(model)) is model:
        return
    x, _ = first_pair(alone, model, "training loader", unheard)
    with seeded_rng(0, "preflight"), torch.no_grad():
        try:
            trial.train()(x[:1].to(device))
        except ValueError as error:
            if ONE_VALUE in str(error):
                raise UsageError(
                    f"a batch, such as the last of an epoch, has one image, too few for batch norm. {NOT_ALONE}"
                ) from None
            raise_explained(error, "training loader", x)


def _with_one_alone(loader: object) -> Any:
    """A loader of the images, where a batch of an epoch is known to be one image before any is made; else None."""
    sampler = getattr(loader, "batch_sampler", None)
    if isinstance(loader, list | tuple):
        alone = any(len(pair(batch)[0]) == 1 for batch in loader)
    elif sampler is not None and type(sampler) is not BatchSampler:
        return _drawn_alone(loader, sampler)
    else:
        alone = _leaves_one(loader if sampler is None else sampler)
    return loader if alone else None


def _leaves_one(maker: object) -> bool:
    """Whether batches of one size, of images whose number is known, are of one image or leave one for the last."""
    size = as_whole(getattr(maker, "batch_size", None))
    if isinstance(maker, Batches):
        return size == 1 or (maker.leaves_one and not maker.joins_a_last_one)
    images = length(getattr(maker, "sampler", None))
    if not size or not images:
        return False
    return size == 1 or (images % size == 1 and not getattr(maker, "drop_last", False))


def _drawn_alone(loader: Any, sampler: Any) -> Any:
    """Of the one-image batch that a copy of a sampler of the user's draws, a loader; None where it draws none."""
    dataset, batches = loader.dataset, length(sampler) or 0
    try:
        trial = copy.deepcopy(sampler, {id(dataset): dataset})
        with seeded_rng(0, "preflight"):
            alone = next((indices for indices in islice(trial, batches) if len(indices) == 1), None)
    except Exception:  # whatever samplers raise that cannot be copied, or are at their end
        return None
    return None if alone is None else DataLoader(dataset, batch_sampler=[alone], collate_fn=loader.collate_fn)


def length(items: Any) -> int | None:
    """How many there are, or None where that is not known, as of a loader over a stream."""
    try:
        return len(items)
    except TypeError:
        return None


@contextmanager
def explained(where: str, x: object) -> Iterator[None]:
    """What torch raises within, where a batch does not fit the model or the loss, as a `DataError` with its fix."""
    try:
        yield
    except Exception as error:
        raise_explained(error, where, x)


def raise_explained(error: Exception, where: str, x: object) -> NoReturn:
    """Raises a `DataError` for what images `x` do not fit, and `error` itself for anything else."""
    if not is_misfit(error):
        raise error
    message = " ".join(str(error).split())[:300]
    raise DataError(f"{where}: images {described(x)}: {ended(message)} {_advice(message, x)}") from error


def _advice(message: str, x: object) -> str:
    if ONE_VALUE in message:
        return NOT_ALONE
    if "out of bounds" in message:
        return "Fix the labels, or build the model with more outputs."
    advice = layout_advice(tuple(getattr(x, "shape", ()))[1:])
    return advice or "Change the model or the data so that they fit."


def look_at_evaluation(model: nn.Module, loader: Any, what: str, device: Any, note: Note) -> Any:
    """The logits of a loader's first batch, by a copy of the model.

    Raises `DataError` for images, labels or outputs that cannot be evaluated, `UsageError` for what is no loader.
    """
    check_loader(loader, what, MANY)
    x, y = first_pair(loader, model, what, note)
    if isinstance(x, Tensor) and not x.isfinite().all():
        raise DataError(f"the {what}: its images have values that are not finite")
    with seeded_rng(0, "preflight"), explained(f"the {what}", x):
        logits_NK, _ = predict(trial_of(model), [(x, y)], device)
    if (is_one_class := kind_of_labels(y)) is not None:
        note(f"labels are {is_one_class}: each image is evaluated by its class")
    return logits_NK


def check_labels(loader: object, what: str, n_classes: int, ignored: int | None = None) -> None:
    """Raises `DataError` when any label of a data set in memory is none of the model's outputs."""
    y = _labels_in_memory(loader)
    found = None if y is None else classes(y)
    if found is not None:
        check_range(found, n_classes, ignored, f"the {what}: its labels")


def check_images(loader: object, what: str) -> None:
    """Raises `DataError` when any value of a data set in memory is not a finite number, naming the first image."""
    if isinstance(loader, Batches) and loader.finite:  # which is kept
        return
    found = held(loader)
    if found is None or not found.as_they_are or _is_finite(found.images):
        return
    for image, values in enumerate(found.of_loader("images")):
        if not _is_finite(values):
            raise DataError(f"the {what}: image {image:,} has values that are not finite. Fix or remove it.")


def _is_finite(values: object) -> bool:
    if not isinstance(values, Tensor) or not values.is_floating_point() or not values.numel():
        return True
    least, greatest = torch.aminmax(values.detach())
    return bool(least.isfinite() and greatest.isfinite())  # either is NaN where any value is


def note_modes(model: nn.Module, note: Note) -> None:
    """Notes parts in eval mode within a model in training mode: they are trained like all others."""
    if model.training and (still := [name for name, module in model.named_modules() if not module.training]):
        note(
            f"{short(still[0])} was in eval mode, but is trained like all others, with dropout and batch statistics. "
            "To keep it fixed, freeze its parameters and give it no batch norm."
        )


def note_empty_classes(loader: object, ignored: int | None, note: Note) -> None:
    """Notes the classes that no training image is of, where all labels lie in memory and are of the model's outputs."""
    y = _labels_in_memory(loader)
    found = None if y is None else classes(y)
    if found is not None and (text := without_images(found if ignored is None else found[found != ignored])):
        note(text)


def _labels_in_memory(loader: object) -> Any:
    """All labels that a loader goes through, where they lie in a tensor; else None."""
    found = held(loader)
    return found.of_loader("labels") if found is not None and found.as_they_are else None


def what_outputs_are(model: nn.Module, logits_NK: Array) -> str:
    """A warning where outputs are no logits but probabilities, of which loss and calibration come out wrong; or none.

    Log-probabilities are logits too.
    """
    least, greatest, sums_N = logits_NK.min(), logits_NK.max(), logits_NK.sum(1)
    *_, last = model.modules()
    shares = least >= 0 and greatest <= 1
    if shares and np.allclose(sums_N, 1, atol=1e-2):
        return f"warning: the model's outputs are probabilities, as from a softmax at its end. {NO_LOGITS}"
    if shares and isinstance(last, nn.Sigmoid):
        return f"warning: the model ends with a sigmoid. {NO_LOGITS}"
    return ""
