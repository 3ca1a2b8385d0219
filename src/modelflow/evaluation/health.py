"""Has a run died? Signs in its predictions, its loss and its units, each in words with the likely cause.

A dead run calls nearly all images one class, has a loss no better than guessing, or a layer in which at least half of
the units never fire.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modelflow.evaluation.signs import DEAD_UNITS, GUESSING, ONE_CLASS
from modelflow.io.array import Array
from modelflow.training.modes import as_written, evaluating

NEARLY_ALL = 0.95
NO_BETTER = 0.98
DEAD_SHARE = 0.5
NEAR_CHANCE = 0.05
LEARNED, EXPLODED = 0.7, 1.5  # times the loss of guessing: of training when it has learnt, of any epoch when not
FALLING = 0.98
FEW_UPDATES = 500
MIN_MOVE = 0.05  # of a weight: Adam's move by about the learning rate an update, initial ones are of about 0.1
FIX = "The likely cause is a high learning rate: try one 3 to 10 times smaller."


def likely_cause(
    losses: Sequence[float], updates: int | None, lr: float, loss: float, guess: float, dead_layers: bool
) -> str:
    """Why a run may have died, by its training losses (one an epoch, in nats) and updates so far.

    `loss` is that of the evaluation, `guess` that of guessing; `dead_layers` says that units never fire. Honest where
    the evidence says nothing.
    """
    if losses and losses[-1] < LEARNED * guess:
        return f"The training loss is {losses[-1]:.3f}, so these images or labels differ from those trained on."
    if max([*losses, loss]) > EXPLODED * guess:
        return FIX
    falling = len(losses) > 1 and losses[-1] < FALLING * losses[0]
    few = updates is not None and (updates * lr < MIN_MOVE or (updates < FEW_UPDATES and not dead_layers))
    if few or (falling and not dead_layers):
        made = f"{updates:,} updates" if updates is not None else f"{len(losses)} epochs"
        return f"The likely cause is too little training, {made} at learning rate {lr:g}: train for more epochs."
    if dead_layers:
        return FIX
    return (
        "The cause is not clear. Try learning rates ten times smaller and ten times larger. "
        "Check that the labels belong to their images."
    )


def prediction_warnings(
    predicted_N: Array, y_N: Array, loss: float, class_names: tuple[str, ...], why: str = FIX
) -> list[str]:
    """Warnings from predicted classes, true classes and the mean cross-entropy in nats; `why` ends each."""
    warnings = []
    counts_K, support_K = (np.bincount(labels, minlength=len(class_names)) for labels in (predicted_N, y_N))
    top = int(counts_K.argmax())
    if counts_K[top] > NEARLY_ALL * len(predicted_N) > support_K[top]:
        share = counts_K[top] / len(predicted_N)
        warnings.append(f"{share:.0%} {ONE_CLASS} {class_names[top]!r}. {why}")
    guess = guessing_loss(y_N)
    chance = support_K.max() / len(y_N) + NEAR_CHANCE
    if loss >= NO_BETTER * guess > 0 and (predicted_N == y_N).mean() <= chance:
        warnings.append(f"the loss {loss:.3f} {GUESSING} ({guess:.3f}). {why}")
    return warnings


def guessing_loss(y_N: Array) -> float:
    """The cross-entropy in nats of giving each class the share of the images that it has."""
    support_K = np.bincount(y_N)
    shares = support_K[support_K > 0] / support_K.sum()
    return -float((shares * np.log(shares)).sum())


@torch.no_grad()
def dead_units(model: nn.Module, x: Tensor) -> dict[str, tuple[int, int]]:
    """Per hidden layer with weights (dead units, units): those whose output is never above 0 for the images `x`.

    A unit is a channel of a convolution or an output of a linear layer; the last layer gives logits and is left out.
    Meaningful where a ReLU follows each hidden layer, as in every network of the card's family.
    """
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    highest: dict[str, Tensor] = {}
    handles = [module.register_forward_hook(_record_highest(highest, name)) for name, module in layers[:-1]]
    try:
        with evaluating(model), as_written():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return {name: (int((values <= 0).sum()), len(values)) for name, values in highest.items()}


def _record_highest(highest: dict[str, Tensor], name: str) -> Any:
    def record(_module: nn.Module, _inputs: object, outputs: Tensor) -> None:
        highest[name] = outputs.transpose(0, 1).flatten(1).amax(1)

    return record


def unit_warnings(dead: dict[str, tuple[int, int]], why: str = FIX) -> list[str]:
    """Warnings for layers in which at least half of the units never fire; `why` ends each."""
    return [
        f"{name}: {n_dead} of {n_units} {DEAD_UNITS}. {why}"
        for name, (n_dead, n_units) in dead.items()
        if n_dead >= math.ceil(DEAD_SHARE * n_units)
    ]
