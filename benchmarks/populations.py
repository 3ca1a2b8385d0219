"""Populations of models, seeds and images whose truth is known, to draw studies from.

A population says how accurate each model is over all its seeds and all images; a study drawn from it is what an
experimenter would see: whether each of a few seeds has each of a sample of images right, S x N for each model.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy import stats

from modelflow.results import read_predictions, read_run, run_folders

Array = np.ndarray[Any, Any]
Runs = Callable[[int], list[Array]]


class Population(Protocol):
    """`accuracies` of the models over all seeds and images, the truth, and their `spreads` over seeds; shares of 1."""

    @property
    def accuracies(self) -> tuple[float, ...]: ...

    @property
    def spreads(self) -> tuple[float, ...]: ...

    def sample(self, rng: np.random.Generator, images: int) -> Runs:
        """New images; what comes back draws that many new seeds of each model, tested on them."""
        ...


@dataclass(frozen=True)
class Probit:
    """A run has an image right when ability, seed, difficulty, the model's own view of the image and chance add to > 0.

    Difficulty (which all models share), own view (which the seeds of a model share) and chance are normal and vary
    together by 1, as `shared`, `own` and the rest: 0.87, 0.04 and 0.09 are the tetrachoric correlations found in the
    card's seven models with five seeds each. `spreads` are the standard deviations of accuracy over seeds.
    """

    accuracies: tuple[float, ...]
    spreads: tuple[float, ...]
    shared: float = 0.87
    own: float = 0.04

    def sample(self, rng: np.random.Generator, images: int) -> Runs:
        difficulty_N = math.sqrt(self.shared) * _normal(rng, images)
        views_MN = [difficulty_N + math.sqrt(self.own) * _normal(rng, images) for _ in self.accuracies]
        return lambda seeds: [
            self._right(rng, view_N, seeds, accuracy, spread)
            for view_N, accuracy, spread in zip(views_MN, self.accuracies, self.spreads, strict=True)
        ]

    def _right(self, rng: np.random.Generator, view_N: Array, seeds: int, accuracy: float, spread: float) -> Array:
        at = float(stats.norm.ppf(accuracy))
        by_seed = spread / float(stats.norm.pdf(at))
        # over all seeds and images the sum is normal with variance 1 + by_seed**2, which makes the accuracy exact
        level_S1 = at * math.hypot(1, by_seed) + by_seed * _normal(rng, seeds, 1)
        chance_SN = math.sqrt(max(0.0, 1 - self.shared - self.own)) * _normal(rng, seeds, len(view_N))
        right_SN: Array = chance_SN + view_N > -level_S1
        return right_SN


@dataclass(frozen=True)
class Stored:
    """Real predictions, sampled: `ranks_MRN` says of each stored run which images it finds easiest, as shares of 1.

    A new seed of a model is one of its stored runs with the accuracy drawn anew: its easiest images, by how far the true
    class's logit lies above the others, are right. So the images' difficulty, what the models share of it and what
    varies from seed to seed are real, and the accuracy is known.
    """

    ranks_MRN: Array
    accuracies: tuple[float, ...]
    spreads: tuple[float, ...]

    def sample(self, rng: np.random.Generator, images: int) -> Runs:
        models = rng.permutation(len(self.ranks_MRN))[: len(self.accuracies)]
        which_N = rng.integers(self.ranks_MRN.shape[2], size=images)
        ranks_MRN = [self.ranks_MRN[model][:, which_N] for model in models]
        return lambda seeds: [
            self._right(rng, ranks_RN, seeds, accuracy, spread)
            for ranks_RN, accuracy, spread in zip(ranks_MRN, self.accuracies, self.spreads, strict=True)
        ]

    def _right(self, rng: np.random.Generator, ranks_RN: Array, seeds: int, accuracy: float, spread: float) -> Array:
        accuracy_S1 = accuracy + spread * _normal(rng, seeds, 1)
        right_SN: Array = ranks_RN[rng.integers(len(ranks_RN), size=seeds)] < accuracy_S1
        return right_SN


def _normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, np.float32)


def stored_ranks(results: Path) -> tuple[Array, str]:
    """The ranks of a results folder, models x runs x images, and what it holds in words."""
    by_model: dict[str, list[Array]] = {}
    protocols = set()
    for folder in run_folders(results):
        run = read_run(folder)
        by_model.setdefault(run.model_name, []).append(_ranks(*read_predictions(folder)))
        protocols.add(run.protocol)
    runs = min(map(len, by_model.values()))
    source = f"{len(by_model)} models, {runs} seeds each, protocol {', '.join(sorted(protocols))}"
    return np.stack([np.stack(of_model[:runs]) for of_model in by_model.values()]), source


def _ranks(logits_NK: Array, y_N: Array) -> Array:
    """Each image's place when all are sorted from the easiest to the hardest, as a share of 1."""
    others_NK, rows = logits_NK.copy(), np.arange(len(y_N))
    others_NK[rows, y_N] = -np.inf
    margin_N = logits_NK[rows, y_N] - others_NK.max(1)
    ranks_N = np.empty(len(y_N), np.float32)
    ranks_N[np.argsort(-margin_N, kind="stable")] = (np.arange(len(y_N)) + 0.5) / len(y_N)
    return ranks_N
