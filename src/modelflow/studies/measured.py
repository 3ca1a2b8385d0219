"""What an evaluation finds: predictions and their figures, signs that a run has died, how long a pass takes."""

from typing import NamedTuple

from modelflow.errors import UsageError
from modelflow.evaluation.health import dead_units, guessing_loss, likely_cause, prediction_warnings, unit_warnings
from modelflow.evaluation.latency import latency_ms
from modelflow.evaluation.measure import measure
from modelflow.evaluation.record import Metrics
from modelflow.export.c.device import needed
from modelflow.io.array import Array
from modelflow.networks.build import GenericCNN
from modelflow.results.artifacts.artifact import Evaluated
from modelflow.results.records import OnDevice
from modelflow.studies.attempts import attempt
from modelflow.studies.parts import Parts
from modelflow.studies.preview import first_images, note_no_logits, same_each_time, validation_loader
from modelflow.training.loss import is_plain_cross_entropy
from modelflow.training.preflight import length

NOT_TRAINED = "the model was not trained: train it, or give load_checkpoint_path"
HEALTH_IMAGES = 1000
LATENCY_BATCHES = (1, 64)

DeadUnits = dict[str, tuple[int, int]]  # a layer: how many of its units never fire, of how many


class Measured(NamedTuple):
    """An evaluation, and what else of it is recorded; `validation` is None where that is what was evaluated."""

    evaluated: Evaluated
    validation: Metrics | None
    dead: DeadUnits


def measured(parts: Parts) -> Measured:
    """On the test images, or on the validation loader where there are none of their own."""
    arch, val_loader = parts.arch, validation_loader(parts)
    with same_each_time(parts):
        validation = None if parts.test_loader is None else measure(*arch.predictions(val_loader))
        logits_NK, y_N = arch.predictions(val_loader if parts.test_loader is None else parts.test_loader)
    parts.history.test_reads += parts.test_loader is not None
    note_no_logits(parts, logits_NK)
    names, metrics, dead = parts.names_for(logits_NK.shape[1]), measure(logits_NK, y_N), _dead_units(parts)
    why = _likely_cause(parts, metrics.loss, y_N, dead)
    found = prediction_warnings(logits_NK.argmax(1), y_N, metrics.loss, names, why) + unit_warnings(dead, why)
    evaluated = Evaluated(
        model_name=parts.model_name,
        seed=parts.seed,
        kind=parts.split_kind,
        class_names=names,
        logits_NK=logits_NK,
        y_N=y_N,
        metrics=metrics,
        losses=arch.losses,
        val_losses=arch.val_losses,
        warnings=[NOT_TRAINED] if found and not arch.total_epochs else found,
    )
    return Measured(evaluated, validation, dead)


def _dead_units(parts: Parts) -> DeadUnits:
    if not isinstance(parts.model, GenericCNN) or parts.model.outside_family:
        return {}  # a ReLU must follow each hidden layer, as in every network of the card's family
    return dead_units(parts.model, first_images(parts, HEALTH_IMAGES)[0].to(parts.arch.device))


def _likely_cause(parts: Parts, loss: float, y_N: Array, dead: DeadUnits) -> str:
    losses = parts.arch.losses if is_plain_cross_entropy(parts.arch.loss_fn) else []
    steps = length(parts.arch.train_loader)
    updates = None if steps is None else steps * parts.arch.total_epochs
    return likely_cause(losses, updates, parts.lr, loss, guessing_loss(y_N), bool(unit_warnings(dead)))


def latencies(parts: Parts) -> dict[str, float]:
    """In milliseconds by batch size; of none where hooks are attached, which would take note of each pass."""
    if any(module._forward_hooks or module._forward_pre_hooks for module in parts.model.modules()):
        return {}
    images, taken = first_images(parts, max(LATENCY_BATCHES))[0].to(parts.arch.device), {}
    with attempt("latency_ms", parts.arch.note):
        for n in (n for n in LATENCY_BATCHES if n <= len(images)):
            taken[str(n)] = round(latency_ms(parts.model, images[:n]), 4)
    return taken


def bytes_on_device(parts: Parts) -> dict[OnDevice, int]:
    """Flash and RAM as C code, in float32 and in int8; of none where the network cannot be written in C."""
    if not isinstance(parts.model, GenericCNN):
        return {}
    try:
        plain, small = (needed(parts.model.spec, int8) for int8 in (False, True))
    except UsageError:
        return {}
    return {"flash": plain.flash, "ram": plain.ram, "int8_flash": small.flash, "int8_ram": small.ram}
