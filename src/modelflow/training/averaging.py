"""The exponential moving average (EMA) of a model's weights, which is evaluated in place of those trained on.

After each update, from the weights before the first one on,

    average = d * average + (1 - d) * weights        d = min(decay, (1 + t) / (10 + t)), t updates made

Averaging the weights of late updates lowers their noise (Polyak and Juditsky, SIAM Journal on Control and Optimization
30(4), 1992). The smaller `d` of the first updates, which forgets the initial weights, is that of TensorFlow
(https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import get_ema_multi_avg_fn

from modelflow.data.convert import Note
from modelflow.errors import DataError, UsageError
from modelflow.io.array import Array
from modelflow.io.validation import explain
from modelflow.text import ended, short
from modelflow.training.checkpoint import MAX_STEPS, check_fits, named_as_in

EMA = "ema"  # in a checkpoint
STARTED_ANEW = "ema: the model's weights are not those that training left. Their average starts anew from them."


class _Saved(BaseModel):
    """What a checkpoint has beside the averaged weights."""

    model_config = ConfigDict(strict=True)

    decay: Annotated[float, Field(gt=0, lt=1)]
    updates: Annotated[int, Field(ge=0, le=MAX_STEPS)]
    training_state_dict: Any


class SavedAverage(NamedTuple):
    """The decay and the updates of an average in a checkpoint, and by name the weights that training goes on from."""

    decay: float
    updates: int
    trained: dict[str, Tensor]


class Averaging:
    """The average of one model's weights: its parameters and the running statistics of its norm layers.

    Outside of `training` the model has its averaged weights, within it those that are trained on. `decay` is None where
    nothing is averaged; all methods then leave the model alone. `updates` counts those averaged.
    """

    def __init__(self) -> None:
        self.updates = 0
        self._decay: float | None = None
        self._average: dict[str, Tensor] = {}
        self._trained: dict[str, Tensor] = {}  # what training goes on from
        self._live: dict[str, Tensor] | None = None  # the model's own tensors, within `training`

    @property
    def decay(self) -> float | None:
        """The share of the average that an update keeps, above 0 and below 1; None where nothing is averaged.

        Setting it raises `UsageError` for anything else, and for None after updates that were averaged.
        """
        return self._decay

    @decay.setter
    def decay(self, decay: object) -> None:
        if decay is None and self.updates:
            raise UsageError("ema = None: the weights are averaged already. Train a new model without ema.")
        self._decay = None if decay is None else _checked(decay)

    @contextmanager
    def training(self, model: nn.Module, note: Note) -> Iterator[None]:
        """The model has the weights that are trained on within the block, its averaged ones afterwards.

        `note` is told when the model's weights were changed meanwhile, so that their average starts anew.
        """
        if self._decay is None:
            yield
            return
        self._follow(model, note)
        live = _averaged(model)
        _fill(live, self._trained)
        self._live = live
        try:
            yield
        finally:
            self._trained, self._live = _copies(live), None
            _fill(live, self._average)

    def update(self) -> None:
        """Takes the weights into the average, after an update of them within `training`."""
        if self._decay is None or self._live is None:
            return
        self.updates += 1
        average, weights = list(self._average.values()), list(self._live.values())
        get_ema_multi_avg_fn(self._decay_at(self.updates))(average, weights, self.updates)  # type: ignore[no-untyped-call]

    def shares(self, count: int) -> list[float]:
        """What the average will take of the weights after each of so many updates to come."""
        return [] if self._decay is None else [1 - self._decay_at(self.updates + 1 + i) for i in range(count)]

    def _decay_at(self, update: int) -> float:
        assert self._decay is not None
        return min(self._decay, (1 + update) / (10 + update))

    def flat(self) -> Array:
        """The average as one vector: the parameters, then the running statistics; empty where nothing is averaged."""
        kept = [value.numpy().ravel() for value in self._average.values()] if self._live is not None else []
        return np.concatenate([np.empty(0, np.float32), *kept])

    def take(self, flat: Array, count: int) -> None:
        """The average after so many further updates, as `flat` gives it."""
        if self._decay is None or self._live is None:
            return
        self.updates += count
        begin = 0
        for value in self._average.values():
            value.copy_(torch.from_numpy(flat[begin : begin + value.numel()]).view(value.shape))
            begin += value.numel()

    def states(self, model: nn.Module, note: Note) -> dict[str, Any]:
        """For a checkpoint `model_state_dict`, averaged; then under `ema` what training goes on from as well."""
        averaged = model.state_dict()
        if self._decay is None:
            return {"model_state_dict": averaged}
        trained = model.state_dict()
        if self._live is None:
            self._follow(model, note)
            trained.update(self._trained)
        else:
            averaged.update(self._average)
        kept = {"decay": self._decay, "updates": self.updates, "training_state_dict": trained}
        return {"model_state_dict": averaged, EMA: kept}

    def resume(self, model: nn.Module, saved: SavedAverage | None, note: Note) -> None:
        """Goes on from a checkpoint, whose averaged weights the model has.

        The decay is this one's, or else the checkpoint's. A checkpoint without an average starts one. `note` is told
        where the two differ.
        """
        own = self._decay
        self.updates, self._average, self._trained = 0, {}, {}
        if saved is not None:
            self._decay = saved.decay if own is None else own
            self.updates, self._average, self._trained = saved.updates, _copies(_averaged(model)), saved.trained
        if text := _unlike(own, None if saved is None else saved.decay):
            note(text)

    @torch.inference_mode(False)
    def _follow(self, model: nn.Module, note: Note) -> None:
        """Takes the model as it stands: the average moves to its device, or starts anew from other weights."""
        now = _averaged(model)
        if self.updates and self._is_of(now):
            self._average = {name: self._average[name].to(value) for name, value in now.items()}
            return
        if self.updates:
            note(STARTED_ANEW)
        self.updates, self._average, self._trained = 0, _copies(now), _copies(now)

    def _is_of(self, now: Mapping[str, Tensor]) -> bool:
        """Whether these are a model's tensors as training left them; statistics may have seen other images since."""
        return self._average.keys() == now.keys() and all(
            kept.shape == now[name].shape and (not isinstance(now[name], nn.Parameter) or _equal(kept, now[name]))
            for name, kept in self._average.items()
        )


def saved_average(model: nn.Module, checkpoint: Mapping[str, object], where: str | Path) -> SavedAverage | None:
    """The average in a checkpoint; None where it has none. Raises `DataError` for one that does not fit `model`."""
    if checkpoint.get(EMA) is None:
        return None
    try:
        found = _Saved.model_validate(checkpoint[EMA])
    except ValidationError as error:
        what = ended(explain(error, list(_Saved.model_fields)))
        raise DataError(f"{where}: {EMA}: {what} Use an undamaged copy.") from None
    state = named_as_in(model, found.training_state_dict)
    check_fits(model, state, where)
    return SavedAverage(found.decay, found.updates, {name: state[name] for name in _averaged(model)})


def _checked(decay: Any) -> float:
    number = decay.item() if getattr(decay, "ndim", None) == 0 else decay
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 1:
        raise UsageError(f"ema = {short(decay)}: must be a number greater than 0 and less than 1, such as 0.999")
    return float(number)


def _unlike(own: float | None, saved: float | None) -> str:
    """In what a checkpoint differs from what is asked for, in words; empty where in nothing."""
    if own == saved:
        return ""
    if own is None:
        return f"ema {saved:g}, as in the checkpoint"
    if saved is None:
        return f"ema {own:g}: the checkpoint has no average. It starts from the checkpoint's weights."
    return f"ema {own:g}: the checkpoint's average was made with {saved:g}. It continues with {own:g}."


def _averaged(model: nn.Module) -> dict[str, Tensor]:
    """What is averaged, by the names of the model's state: the model's own tensors, shared ones by each name."""
    norms = (pair for pair in model.named_modules(remove_duplicate=False) if isinstance(pair[1], _NormBase))
    statistics = (norm.named_buffers(name, recurse=False) for name, norm in norms)
    named = chain(model.named_parameters(remove_duplicate=False), *statistics)
    return {name: value for name, value in named if value.is_floating_point() or value.is_complex()}


def _copies(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in values.items()}


@torch.no_grad()
def _fill(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(values[name])


def _equal(kept: Tensor, now: Tensor) -> bool:
    return torch.allclose(kept.to(now), now, rtol=0, atol=0, equal_nan=True)
