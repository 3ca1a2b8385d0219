"""Populations of models, seeds and images whose truth is known, to draw studies from.

A population says how accurate each model is over all its seeds and all images; a study drawn from it is what an
experimenter would see: whether each of a few seeds has each of a sample of images right, S x N for each model.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from condensed import Condensed
from scipy import special

Array = np.ndarray[Any, Any]
Runs = Callable[[Sequence[int]], list[Array]]
EASY, HUMPS = 0.8, 0.9  # of a bimodal difficulty: the share of easy images, and of the variance between the two humps
CHANCE = 10  # a run that has died has one image in so many right, of ten classes


class Population(Protocol):
    """`accuracies` of the models over all seeds that train and all images, the truth; `spreads` over seeds; of 1."""

    @property
    def accuracies(self) -> tuple[float, ...]: ...

    @property
    def spreads(self) -> tuple[float, ...]: ...

    def sample(self, rng: np.random.Generator, images: int) -> Runs:
        """New images; what comes back draws so many new seeds of each model, tested on them."""
        ...


@dataclass(frozen=True)
class Probit:
    """A run has an image right when its level, the difficulty, the model's own view and chance add to more than 0.

    Difficulty (which all models share), own view (which the seeds of a model share) and chance vary together by 1, as
    `shared`, `own` and the rest: 0.87, 0.04 and 0.09 are the tetrachoric correlations found in the card's seven models
    with five seeds each. Difficulty is normal, or `bimodal`: two humps far apart. `spreads` are the standard deviations
    of accuracy over seeds, which is normal, or has `heavy` tails (Student's t of three degrees of freedom). Of the seeds
    of a model the share `dying` dies, and has chance's share of the images right.
    """

    accuracies: tuple[float, ...]
    spreads: tuple[float, ...]
    shared: float = 0.87
    own: float = 0.04
    bimodal: bool = False
    heavy: bool = False
    dying: tuple[float, ...] = ()

    def sample(self, rng: np.random.Generator, images: int) -> Runs:
        difficulty_N = self._difficulty(rng, images)
        views_MN = [difficulty_N + math.sqrt(self.own) * _normal(rng, images) for _ in self.accuracies]
        dying = self.dying or (0.0,) * len(self.accuracies)
        models = list(zip(views_MN, self.accuracies, self.spreads, dying, strict=True))
        return lambda seeds: [self._right(rng, *model, n) for model, n in zip(models, seeds, strict=True)]

    def _difficulty(self, rng: np.random.Generator, images: int) -> Array:
        if not self.bimodal:
            return math.sqrt(self.shared) * _normal(rng, images)
        easy, hard = _humps(self.shared)
        hump_N = np.where(rng.random(images, np.float32) < EASY, np.float32(easy), np.float32(hard))
        return hump_N + math.sqrt(self.shared * (1 - HUMPS)) * _normal(rng, images)

    def _right(
        self, rng: np.random.Generator, view_N: Array, accuracy: float, spread: float, dying: float, seeds: int
    ) -> Array:
        noise_S = rng.standard_t(3, seeds) / math.sqrt(3) if self.heavy else rng.standard_normal(seeds)
        level_S = _levels(np.clip(accuracy + spread * noise_S, 0.001, 0.999), self.shared if self.bimodal else 0.0)
        chance_SN = _normal(rng, seeds, len(view_N))
        chance_SN *= math.sqrt(max(0.0, 1 - self.shared - self.own))
        right_SN: Array = chance_SN > -view_N - level_S[:, None].astype(np.float32)
        right_SN[rng.random(seeds) < dying] = np.arange(len(view_N)) % CHANCE == 0
        return right_SN


def _humps(shared: float) -> tuple[float, float]:
    """Where easy and hard images lie, with mean 0 and HUMPS of the variance of difficulty between them."""
    width = math.sqrt(shared * HUMPS)
    return width * math.sqrt((1 - EASY) / EASY), -width * math.sqrt(EASY / (1 - EASY))


def _levels(accuracies_S: Array, bimodal: float) -> Array:
    """The level that has so large a share of all images right; `bimodal` is what difficulty shares, 0 if normal."""
    return np.interp(accuracies_S, *_curve(bimodal)) if bimodal else special.ndtri(accuracies_S)


@cache
def _curve(shared: float) -> tuple[Array, Array]:
    """Accuracies and their levels, of a bimodal difficulty."""
    levels, rest = np.linspace(-6, 6, 50_001), math.sqrt(1 - shared * HUMPS)
    easy, hard = (special.ndtr((levels + hump) / rest) for hump in _humps(shared))
    return EASY * easy + (1 - EASY) * hard, levels


@dataclass(frozen=True)
class Stored:
    """Real predictions, sampled: `ranks_MRN` says of each stored run which images it finds easiest, as shares of 1.

    A new seed of a model is one of its stored runs with the accuracy drawn anew: its easiest images are right. So the
    images' difficulty, what the models share of it and what varies from seed to seed are real, and the accuracy is
    known.
    """

    ranks_MRN: Array
    accuracies: tuple[float, ...]
    spreads: tuple[float, ...]

    def sample(self, rng: np.random.Generator, images: int) -> Runs:
        models = rng.permutation(len(self.ranks_MRN))[: len(self.accuracies)]
        which_N = rng.integers(self.ranks_MRN.shape[2], size=images)
        ranks = [self.ranks_MRN[model][:, which_N] for model in models]
        drawn = list(zip(ranks, self.accuracies, self.spreads, strict=True))
        return lambda seeds: [self._right(rng, *model, n) for model, n in zip(drawn, seeds, strict=True)]

    def _right(self, rng: np.random.Generator, ranks_RN: Array, accuracy: float, spread: float, seeds: int) -> Array:
        accuracy_S1 = (accuracy + spread * rng.standard_normal((seeds, 1))).astype(np.float32)
        right_SN: Array = ranks_RN[rng.integers(len(ranks_RN), size=seeds)] < accuracy_S1
        return right_SN


def _normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, np.float32)


def died(right_SN: Array) -> list[bool]:
    """Which runs the health rule would call dead: those that call all images one class, far below any that trains."""
    return list(right_SN.mean(1) < 2 / CHANCE)


def stored_ranks(kept: Condensed) -> tuple[Array, str]:
    """The ranks of kept runs, models x runs x images, and what they are in words.

    Easiest are the images that a run has right, and among them those that most runs have right.
    """
    by_model = kept.correct_by_model()
    runs = min(map(len, by_model.values()))
    easy_N = np.mean([correct_SN.mean(0) for correct_SN in by_model.values()], axis=0)
    ranks_MRN = np.stack([np.stack([_ranks(right_N, easy_N) for right_N in of[:runs]]) for of in by_model.values()])
    protocols = ", ".join(sorted({run.protocol for run in kept.runs}))
    return ranks_MRN, f"{len(by_model)} models, {runs} seeds each, protocol {protocols}"


def _ranks(right_N: Array, easy_N: Array) -> Array:
    """Each image's place when all are sorted from the easiest to the hardest, as a share of 1."""
    ranks_N = np.empty(len(right_N), np.float32)
    ranks_N[np.argsort(-(right_N + 0.5 * easy_N), kind="stable")] = (np.arange(len(right_N)) + 0.5) / len(right_N)
    return ranks_N


_SIZES = np.geomspace(1, 0.1, CHANCE) / np.geomspace(1, 0.1, CHANCE).sum()
_LEVELS = special.ndtri(np.linspace(0.95, 0.65, CHANCE)).astype(np.float32)


@dataclass(frozen=True)
class Unequal:
    """Logits of models on ten classes of unequal size, the smallest a tenth of the largest and the hardest.

    An image is right by as much as the level of its class and the model, the difficulty that all models share, the
    model's own view and chance add up to, as in `Probit`. This times `sharpness` is the logit of the true class, beside
    0 of one that is confused with it. `above` adds to a model's levels, `spreads` are those of its seeds, both in
    standard deviations of difficulty, view and chance together.
    """

    above: tuple[float, ...]
    spreads: tuple[float, ...]
    sharpness: tuple[float, ...]
    shared: float = 0.87
    own: float = 0.04

    def sample(self, rng: np.random.Generator, images: int) -> tuple[Array, Callable[[int], Array]]:
        """New images: their labels, and what draws the logits (images x classes) of one new seed of a model."""
        y_N = rng.choice(CHANCE, images, p=_SIZES)
        confused_N = (y_N + rng.choice([1, 2, CHANCE - 1], images)) % CHANCE
        difficulty_N = math.sqrt(self.shared) * _normal(rng, images)
        views_MN = [difficulty_N + math.sqrt(self.own) * _normal(rng, images) for _ in self.above]

        def draw(model: int) -> Array:
            chance_N = math.sqrt(1 - self.shared - self.own) * _normal(rng, images)
            level_N = _LEVELS[y_N] + self.above[model] + self.spreads[model] * rng.standard_normal()
            found_NK = np.full((images, CHANCE), -8.0, np.float32)
            found_NK[np.arange(images), confused_N] = 0.0
            found_NK[np.arange(images), y_N] = self.sharpness[model] * (level_N + views_MN[model] + chance_N)
            return found_NK

        return y_N, draw
