"""Before a run trains: its first images, its class names, one batch of each loader that is evaluated."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from modelflow.data.convert import dtype_of, logits_of, pairs, unheard
from modelflow.errors import DataError, UsageError
from modelflow.evaluation.inspection.filters import conv_layers
from modelflow.evaluation.inspection.hooks import captured
from modelflow.io.arguments import layer_names
from modelflow.io.array import Array
from modelflow.io.bounds import check_predictions
from modelflow.io.lines import line
from modelflow.networks.build import GenericCNN
from modelflow.studies.parts import Parts
from modelflow.studies.record import images_of
from modelflow.training.compiled import unsupported_inference_reason
from modelflow.training.predict import one_class_each
from modelflow.training.preflight import (
    check_images,
    check_labels,
    check_model,
    explained,
    look_at_evaluation,
    note_empty_classes,
    note_modes,
    what_outputs_are,
)
from modelflow.training.seeding import seeded_order, seeded_rng

OWN_SCHEDULER = (
    "warning: a scheduler of torch holds the optimizer, but ModelFlow never calls it. "
    "Give schedule='one-cycle' instead."
)


def validation_loader(parts: Parts) -> Any:
    """Raises `UsageError` where there is none."""
    if parts.val_loader is None:
        raise UsageError("there is no validation loader to evaluate on. Give ModelFlow a val_loader.")
    return parts.val_loader


@contextmanager
def same_each_time(parts: Parts) -> Iterator[None]:
    """Within, the validation loader gives the same images whenever it is gone through, by the seed."""
    with seeded_rng(parts.seed, "evaluation"), seeded_order(parts.val_loader, parts.seed, "evaluation"):
        yield


def first_images(parts: Parts, n_images: int) -> tuple[Tensor, Tensor]:
    """The first images N x C x H x W of the validation loader and their labels N, on the CPU.

    Raises `DataError` where it has none.
    """
    batches, count = [], 0
    with same_each_time(parts):
        for x, y in pairs(validation_loader(parts), dtype_of(parts.model)):
            batches.append((x.cpu(), one_class_each(y).cpu()))
            count += len(x)
            if count >= n_images:
                break
    if not batches:
        raise DataError("the validation loader has no images")
    images, labels = (torch.cat(tensors)[:n_images] for tensors in zip(*batches, strict=True))
    return images, labels


def logits_for(parts: Parts, images: Tensor) -> Array:
    """The model's logits N x K for some images."""
    logits_NK: Array = logits_of(torch.from_numpy(parts.arch.predict(images))).numpy()
    return logits_NK


def check_class_names(parts: Parts) -> None:
    """Raises `UsageError` unless as many class names were given as the model has outputs, if any were."""
    if not parts.names_are_given:
        return
    if isinstance(parts.model, GenericCNN):
        parts.names_for(parts.model.spec.logits)
    elif parts.val_loader is not None:
        of_loader = parts.model, parts.val_loader, "validation loader", parts.arch.device
        parts.names_for(look_at_evaluation(*of_loader, unheard).shape[1])


def layers_to_show(parts: Parts, layers: Sequence[str] | None) -> list[str]:
    """Those of `layers`, or of the convolutional ones, that run once in a pass; looks at all that is evaluated.

    Raises `UsageError` or `DataError` for what would go wrong after the training.
    """
    names = conv_layers(parts.model) if layers is None else layer_names(layers)
    check_model(parts.model)
    _look_at_loaders(parts)
    x = first_images(parts, 1)[0]
    with captured(parts.model, names) as outputs, explained("the validation loader", x):
        logits_NK = logits_for(parts, x)
    n_classes = logits_NK.shape[-1]
    parts.names_for(n_classes)
    check_predictions(parts.model_name, images_of(parts.test_loader or parts.val_loader) or 0, n_classes)
    once = [name for name in names if name in outputs and len(outputs[name]) == 1]
    if layers is not None and len(once) < len(names):
        missed = next(name for name in names if name not in once)
        raise UsageError(f"layer {missed!r}: does not run exactly once in a forward pass. Name another layer.")
    return once


def _look_at_loaders(parts: Parts) -> None:
    """One batch of each loader that is evaluated, and all labels where they lie in memory."""
    arch = parts.arch
    loaders = {"validation loader": validation_loader(parts), "test loader": parts.test_loader}
    n_classes = parts.model.spec.logits if isinstance(parts.model, GenericCNN) else None
    for what, loader in loaders.items():
        if loader is not None and unsupported_inference_reason(parts.model, loader):
            logits_NK = look_at_evaluation(parts.model, loader, what, arch.device, arch.note)
            note_no_logits(parts, logits_NK)
            n_classes = logits_NK.shape[1]
            check_labels(loader, what, n_classes)
            check_images(loader, what)
    check_images(arch.train_loader, "training loader")
    if n_classes is not None:
        ignored = getattr(arch.loss_fn, "ignore_index", None)
        check_labels(arch.train_loader, "training loader", n_classes, ignored)
        note_empty_classes(arch.train_loader, ignored, arch.note)


def warn(parts: Parts) -> None:
    """Of what is likely to be a mistake; where somebody reads it, of test images that are training images."""
    note_modes(parts.model, parts.arch.note)
    if any("initial_lr" in group for group in parts.optimizer.param_groups):
        parts.arch.note(OWN_SCHEDULER)
    if parts.verbose:
        from modelflow.report.answer import repeated_images

        for notice in repeated_images([parts.data]):
            line(f"{parts.model_name}: warning: {notice}")


def note_no_logits(parts: Parts, logits_NK: Array) -> None:
    """Notes where outputs are probabilities, or other than logits."""
    if warning := what_outputs_are(parts.model, logits_NK):
        parts.arch.note(warning)
