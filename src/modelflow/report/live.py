"""The models that run in the page: their operations, weights in float16, some test images, and how far all agree with
what is stored. No torch.

found = live_of(group, mistakes, source, room=1_000_000)
found.models[0].agreement, found.left_out
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from itertools import combinations
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelflow.analysis.archive import Group, Model, Seed, tested_on
from modelflow.data.source import Framing, Source
from modelflow.data.sources import framing_of
from modelflow.errors import DataError, ModelFlowError
from modelflow.evaluation.calibration import probabilities
from modelflow.io.array import Array
from modelflow.networks.description import parse_spec
from modelflow.networks.layers.kind import shape_text
from modelflow.networks.program.compute import computed
from modelflow.networks.program.lowering import Program, lowered
from modelflow.networks.program.operations import Activate, Add, Bounds, Convolve, Dense, Operation, Pool
from modelflow.networks.trace import Trace, trace
from modelflow.report.mistakes import Mistakes, Pair
from modelflow.report.words import count
from modelflow.results.normalisation import Normalisation, normalisation_of
from modelflow.results.weights import ROOM, read_weights

MAX_IMAGES, MAX_IMAGE_BYTES = 40, 100_000
MIN_IMAGES = 4
OF_A_CLASS, MORE_OF_A_CLASS = 2, 4  # ordinary images: at first, and where there is room
MEASURED_MACS = 1_000_000_000  # of a run, when it is measured
MIN_ALIKE = 0.9  # of the classes, so that a model is shown

Halves = NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class LiveSeed:
    """A run: its weights and biases in the order of its operations, and how its images are normalised."""

    number: int
    weights: Halves
    normalisation: Normalisation


@dataclass(frozen=True)
class Agreement:
    """Of `predictions` (images x runs): how many have the class that is stored, and by how much a logit differs."""

    predictions: int
    alike: int
    difference: float


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A model with all its runs; `operations` are those of each, as plain data."""

    model: Model
    operations: list[dict[str, Any]]
    seeds: tuple[LiveSeed, ...]
    agreement: Agreement

    @property
    def size(self) -> int:
        """Bytes of its weights as text."""
        return sum(text_bytes(seed.weights.nbytes) for seed in self.seeds)


@dataclass(frozen=True, eq=False)
class Live:
    """What runs of a group: models, indices of test images that may be picked, models that are left out and why.

    `images_NCHW` are in bytes as in the files, of which `white` is white; `framing` says how things were put into them.
    `apart` gives for each pair of models, by their places, the place of the image on which their mean probabilities
    differ most.
    """

    models: tuple[LiveModel, ...]
    left_out: tuple[tuple[str, str], ...]
    chosen: Array
    images_NCHW: Array
    white: int
    framing: Framing | None
    apart: dict[Pair, int]

    @property
    def size(self) -> int:
        """Bytes of all weights and images as text."""
        return sum(model.size for model in self.models) + text_bytes(self.images_NCHW.size)

    @property
    def ground(self) -> tuple[float, ...]:
        """What erasing leaves, a share of white a channel: black behind things that were framed, else the mean."""
        channels = self.images_NCHW.shape[1]
        return (0.0,) * channels if self.framing else self.models[0].seeds[0].normalisation.mean

    @property
    def square(self) -> str:
        """What a square puts over a part of the image, behind "covers each part"."""
        return " with black" if self.framing else " with the mean colour of the training images"

    @property
    def brush(self) -> float:
        """A width in pixels to begin with."""
        return max(1.0, float(round(min(self.images_NCHW.shape[2:]) / 12)))

    @property
    def brought(self) -> str:
        """How a drawing or a picture is made like the images, in words."""
        if self.framing is None:
            return "Scaled to fit, the rest black, as pictures of a folder are."
        by = " by its centre of mass" if self.framing.by_mass else ""
        return f"Scaled to {self.framing.box} pixels and centred{by}, as the images of the data set were."


def text_bytes(count: int) -> int:
    """Of so many bytes as base64."""
    return 4 * -(-count // 3)


def live_of(group: Group, found: Mistakes, source: Source, room: int) -> Live:
    """What of a group can run in the page, models in their order as long as `room` bytes last.

    `source` is the data set on whose test images the runs were evaluated.
    """
    images_NCHW = source.test_images[:, None] if source.test_images.ndim == 3 else source.test_images
    apart_N = {pair: _apart(*(group.models[i] for i in pair)) for pair in _pairs(group)}
    chosen = _chosen(found, apart_N.values(), images_NCHW[0].size)
    room -= text_bytes(images_NCHW[chosen].size)
    models, left_out = list[LiveModel](), list[tuple[str, str]]()
    for model in group.models:
        try:
            live = _live_model(model, group, images_NCHW, chosen, source.white, room)
        except ModelFlowError as error:
            left_out.append((model.name, str(error)))
            continue
        room -= live.size
        models.append(live)
    places = {live.model.name: i for i, live in enumerate(models)}
    apart = {
        (places[group.models[i].name], places[group.models[j].name]): int(apart_N[i, j][chosen].argmax())
        for i, j in apart_N
        if group.models[i].name in places and group.models[j].name in places
    }
    framing = framing_of(source.name)
    return Live(tuple(models), tuple(left_out), chosen, images_NCHW[chosen], source.white, framing, apart)


def _live_model(model: Model, group: Group, images_NCHW: Array, chosen: Array, white: int, room: int) -> LiveModel:
    """Raises `ModelFlowError`, which says why, for one that cannot run in the page."""
    if not tested_on(model, group.labels_N) or len(model.predicting) < len(model.seeds):
        raise DataError("Its predictions cannot be read, so it cannot be compared with them.")
    traced = _traced(model, images_NCHW.shape[1:])
    if text_bytes(2 * traced.parameters) * len(model.seeds) > room:
        raise DataError(f"{count(traced.parameters)} parameters in each run: too large for this page.")
    measured = chosen[: max(MIN_IMAGES, MEASURED_MACS // max(1, traced.macs))]
    seeds, agreements, operations = list[LiveSeed](), list[Agreement](), list[dict[str, Any]]()
    for seed in model.seeds:
        program = in_float16(lowered(traced, read_weights(seed.folder, seed.run, 4 * traced.parameters + ROOM)))
        channels = traced.input_shape[0]
        normalisation = normalisation_of(seed.run, channels).over(channels)
        agreements.append(_agreement(program, normalisation.of(images_NCHW[measured], white), seed, measured))
        operations = described(program)
        seeds.append(LiveSeed(seed.run.seed, weights_of(program), normalisation))
    return LiveModel(model, operations, tuple(seeds), _all_together(agreements))


def _traced(model: Model, image: tuple[int, ...]) -> Trace:
    if model.first.spec is None:
        raise DataError("Its network is a module of Python's, of which only the weights are stored.")
    traced = trace(parse_spec(model.first.spec))
    if traced.input_shape != image:
        expected, given = shape_text(traced.input_shape), shape_text(image)
        raise DataError(f"It takes images {expected}, those of the data set are {given}.")
    return traced


def in_float16(program: Program) -> Program:
    """With weights and biases rounded to float16. Raises `DataError` for those that it cannot hold."""
    return replace(program, operations=tuple(map(_rounded, program.operations)))


def _rounded(operation: Operation) -> Operation:
    if not isinstance(operation, Convolve | Dense):
        return operation
    with np.errstate(over="ignore"):
        weight, bias = (values.astype(np.float16).astype(np.float32) for values in (operation.weight, operation.bias))
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise DataError(f"{operation.name} has weights too large for float16.")
    return replace(operation, weight=weight, bias=bias)


def weights_of(program: Program) -> Halves:
    """The weights and the biases of each operation, one after the other."""
    found = [v.ravel() for op in program.operations if isinstance(op, Convolve | Dense) for v in (op.weight, op.bias)]
    return np.concatenate([np.zeros(0), *found]).astype(np.float16)


def _agreement(program: Program, x_NCHW: Array, seed: Seed, images: Array) -> Agreement:
    """With the logits that are stored of these images."""
    assert seed.logits_NK is not None
    stored_NK, found_NK = seed.logits_NK[images], computed(program, x_NCHW)
    if stored_NK.shape != found_NK.shape:
        raise DataError(f"Seed {seed.run.seed}: {found_NK.shape[1]} logits, its predictions have {stored_NK.shape[1]}.")
    alike = int((stored_NK.argmax(1) == found_NK.argmax(1)).sum())
    return Agreement(len(images), alike, float(np.abs(stored_NK - found_NK).max()))


def _all_together(agreements: Iterable[Agreement]) -> Agreement:
    """Raises `DataError` where too few classes are those that are stored."""
    agreements = list(agreements)
    whole = Agreement(
        sum(one.predictions for one in agreements),
        sum(one.alike for one in agreements),
        max(one.difference for one in agreements),
    )
    if whole.alike < MIN_ALIKE * whole.predictions:
        raise DataError(
            f"Here it gives {count(whole.alike)} of {count(whole.predictions)} classes as stored. "
            "Were its images transformed?"
        )
    return whole


# --- operations as plain data ----------------------------------------------------------------------------------------


def described(program: Program) -> list[dict[str, Any]]:
    """Each operation: kind, name, what it reads (0 is the image), the shape of what it gives, its options.

    `taken` says how many weights and biases are its own.
    """
    places = {program.input.owner: 0} | {op.output.owner: i for i, op in enumerate(program.operations, 1)}
    return [
        {
            "kind": type(op).__name__.lower(),
            "name": op.name,
            "inputs": [places[value.owner] for value in op.inputs],
            "shape": op.output.shape,
            "taken": [op.weight.size, op.bias.size] if isinstance(op, Convolve | Dense) else [0, 0],
            **_options(op),
        }
        for op in program.operations
    ]


@singledispatch
def _options(_: Operation) -> dict[str, Any]:
    return {}


@_options.register
def _(operation: Convolve) -> dict[str, Any]:
    return {"window": operation.window.numbers, **_ends(operation.bounds)}


@_options.register
def _(operation: Dense | Add) -> dict[str, Any]:
    return _ends(operation.bounds)


@_options.register
def _(operation: Pool) -> dict[str, Any]:
    return {"window": operation.window.numbers, "how": operation.how}


@_options.register
def _(operation: Activate) -> dict[str, Any]:
    return {"how": operation.activation}


def _ends(bounds: Bounds) -> dict[str, float | None]:
    return {name: end if isfinite(end) else None for name, end in (("low", bounds.low), ("high", bounds.high))}


# --- images to pick --------------------------------------------------------------------------------------------------


def _pairs(group: Group) -> Iterator[Pair]:
    known = [i for i, model in enumerate(group.models) if tested_on(model, group.labels_N)]
    return combinations(known, 2)


def _apart(first: Model, second: Model) -> Array:
    """By image: how far the mean probabilities of two models are apart, from 0 to 1 (total variation)."""
    mean_NK, other_NK = _mean_probabilities(first), _mean_probabilities(second)
    if mean_NK.shape != other_NK.shape:
        return np.zeros(len(mean_NK))
    distance_N: Array = np.abs(mean_NK - other_NK).sum(1) / 2
    return distance_N


def _mean_probabilities(model: Model) -> Array:
    mean_NK: Array = np.mean([probabilities(logits_NK) for logits_NK, _ in model.predictions()], 0)
    return mean_NK


def _chosen(found: Mistakes, apart_N: Iterable[Array], size: int) -> Array:
    """Indices of test images: some of each class, those on which two models differ most, confident mistakes.

    `size` is that of one in bytes. Raises `DataError` where not even a few have room.
    """
    most = min(MAX_IMAGES, MAX_IMAGE_BYTES // size)
    if most < MIN_IMAGES:
        raise DataError(f"Its images take {count(size)} bytes each, too many for this page.")
    of_class = [np.flatnonzero(found.labels_N == k) for k in range(int(found.labels_N.max()) + 1)]
    ordinary, more = _in_turn(of_class, range(OF_A_CLASS)), _in_turn(of_class, range(OF_A_CLASS, MORE_OF_A_CLASS))
    apart = [int(distance_N.argmax()) for distance_N in apart_N]
    wrong = _in_turn(found.most_confident, range(most))
    distinct = dict.fromkeys([*ordinary[: most // 2], *apart, *wrong, *more])
    return np.array(list(distinct)[:most], np.int64)


def _in_turn(lists: Sequence[Array], ranks: range) -> list[int]:
    """Of each list what has the first rank, then of each what has the next."""
    return [int(images[rank]) for rank in ranks for images in lists if rank < len(images)]
