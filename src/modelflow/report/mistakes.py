"""Which images each model gets wrong, the most confident mistakes, and where two models disagree. No torch.

A model with several runs votes: it names the class that most of its runs name, at a tie the one to which they give the
greater probability in the mean; that mean probability is its confidence.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from modelflow.analysis.archive import Group, Model, correct, tested_on
from modelflow.evaluation.calibration import probabilities
from modelflow.io.array import Array
from modelflow.report.words import MINUS

MAX_TILES = 600
A_PAIR = 24
A_MODEL = 12
MAX_NUMBERS = 1000  # of the images that a model has wrong
Pair = tuple[int, int]  # two models by their places
TIE = 0.5  # of a vote: more than any difference of probabilities is worth


@dataclass(frozen=True, eq=False)
class Votes:
    """What one model says of each image (N), how sure it is, and how many of its `runs` are wrong."""

    model: Model
    predicted_N: Array
    confidence_N: Array
    wrong_N: Array

    @property
    def runs(self) -> int:
        """How many vote."""
        return len(self.model.predicting)


@dataclass(frozen=True, eq=False)
class Mistakes:
    """The mistakes of a group: counts of all images, and which images are shown.

    `only_MM` counts the images that the model of the row has right and that of the column wrong, `apart_MM` those that
    both have wrong, each taking it for another class. `surest_only` and `surest_apart` list them for each pair, those
    first on which both are surest, as far as they are `shown`. `wrong` lists all that each model has wrong, the surest
    first. All lists are of indices of images.
    """

    labels_N: Array
    votes: tuple[Votes, ...]
    only_MM: Array
    apart_MM: Array
    wrong: tuple[Array, ...]
    surest_only: dict[Pair, Array]
    surest_apart: dict[Pair, Array]
    shown: Array

    @property
    def right(self) -> Array:
        """Whether each model (M), by its vote, has each image (N) right."""
        return np.stack([votes.predicted_N == self.labels_N for votes in self.votes])

    @property
    def most_confident(self) -> list[Array]:
        """Of each model the mistakes that are shown by themselves."""
        return [images[:A_MODEL] for images in self.wrong]

    @property
    def pairs(self) -> list["Counts"]:
        """How every two models agree and disagree, in the order of the models."""
        return [self._counts(i, j) for i, j in combinations(range(len(self.votes)), 2)]

    def _counts(self, i: int, j: int) -> "Counts":
        only_first, only_second, apart = (int(n) for n in (self.only_MM[i, j], self.only_MM[j, i], self.apart_MM[i, j]))
        right = int(self.right[i].sum()) - only_first
        alike = len(self.labels_N) - right - only_first - only_second - apart
        return Counts(self.votes[i].model, self.votes[j].model, right, only_first, only_second, alike, apart)

    @property
    def wrong_by_all(self) -> int:
        """How many images no model has right."""
        return int((~self.right).all(0).sum())


@dataclass(frozen=True, eq=False)
class Counts:
    """On how many images two models agree, and how they disagree; the five add up to all images."""

    first: Model
    second: Model
    right: int
    only_first: int
    only_second: int
    wrong_alike: int
    wrong_apart: int


def votes_words(found: Mistakes) -> str:
    """By how much votes are more often right than single runs are in the mean, and who is ahead by votes alone."""
    by_vote_M, by_mean_M = found.right.mean(1), np.array([votes.model.accuracy for votes in found.votes])
    gains_M = (100 * (by_vote_M - by_mean_M)).round(1) + 0.0  # which has no minus before a zero
    low, high = (f"{gain:.1f}".replace("-", MINUS) for gain in (gains_M.min(), gains_M.max()))
    span = f"{low} to {high}" if low != high else low
    said = f"Accuracy by vote is {span} points above the mean accuracy of the runs."
    ahead, usual = (found.votes[int(of_M.argmax())].model.name for of_M in (by_vote_M, by_mean_M))
    if ahead != usual and by_vote_M.max() > by_vote_M[by_mean_M.argmax()]:
        return f"{said} By vote, {ahead} is ahead of {usual}. This is not tested."
    if (np.diff(by_vote_M[np.argsort(-by_mean_M, kind="stable")]) > 0).any():
        return f"{said} By vote, the order of the models is another. This is not tested."
    return said


def vote(model: Model) -> Votes:
    """The votes of a model's runs that have predictions, all of the same images."""
    sums_NK: Array = np.zeros(())
    votes_NK: Array = np.zeros(())
    for seed in model.predicting:
        assert seed.logits_NK is not None
        p_NK = probabilities(seed.logits_NK)
        sums_NK = sums_NK + p_NK
        votes_NK = votes_NK + (np.arange(p_NK.shape[1]) == seed.logits_NK.argmax(1)[:, None])
    mean_NK = sums_NK / len(model.predicting)
    predicted_N = (votes_NK + TIE * mean_NK).argmax(1)
    confidence_N = mean_NK[np.arange(len(predicted_N)), predicted_N]
    return Votes(model, predicted_N, confidence_N, (~correct(model)).sum(0))


def mistakes_of(group: Group) -> Mistakes | None:
    """The mistakes of the models that were evaluated on the group's usual images; None where there is none such."""
    votes = tuple(vote(model) for model in group.models if tested_on(model, group.labels_N))
    if not votes or group.labels_N is None:
        return None
    predicted_MN = np.stack([one.predicted_N for one in votes])
    right_MN, wrong_MN = predicted_MN == group.labels_N, predicted_MN != group.labels_N
    models = range(len(votes))
    only_MM, surest_only = _of_pairs(votes, (((i, j), right_MN[i] & wrong_MN[j]) for i, j in permutations(models, 2)))
    both_differ = (
        ((i, j), wrong_MN[i] & wrong_MN[j] & (predicted_MN[i] != predicted_MN[j])) for i, j in combinations(models, 2)
    )
    apart_MM, surest_apart = _of_pairs(votes, both_differ)
    wrong = tuple(_surest(one.confidence_N, row) for one, row in zip(votes, wrong_MN, strict=True))
    own = [images[:A_MODEL] for images in wrong]
    shown = _first_distinct([*own, *surest_only.values(), *surest_apart.values()], MAX_TILES)
    counts = only_MM, apart_MM + apart_MM.T
    return Mistakes(group.labels_N, votes, *counts, wrong, _cut(surest_only, shown), _cut(surest_apart, shown), shown)


def _of_pairs(votes: tuple[Votes, ...], chosen: Iterable[tuple[Pair, Array]]) -> tuple[Array, dict[Pair, Array]]:
    """How many images are chosen for each pair, and the indices of those on which both are surest."""
    counts_MM = np.zeros((len(votes), len(votes)), np.int64)
    lists = {}
    for (i, j), chosen_N in chosen:
        counts_MM[i, j] = chosen_N.sum()
        lists[i, j] = _surest(votes[i].confidence_N * votes[j].confidence_N, chosen_N)[:A_PAIR]
    return counts_MM, lists


def _cut(lists: dict[Pair, Array], shown: Array) -> dict[Pair, Array]:
    """Each list up to the first image that is not shown."""
    return {
        pair: images[: int(np.logical_and.accumulate(np.isin(images, shown)).sum())] for pair, images in lists.items()
    }


def _surest(sureness_N: Array, chosen_N: Array) -> Array:
    """The indices of the chosen images, the surest first."""
    images = np.flatnonzero(chosen_N)
    return images[np.argsort(-sureness_N[images], kind="stable")]


def _first_distinct(lists: Iterable[Array], most: int) -> Array:
    """The first of each list, then the second of each, and so on, each image once, `most` in all; in their order."""
    lists = list(lists)
    chosen: dict[int, None] = {}
    for rank in range(max(map(len, lists), default=0)):
        for images in lists:
            if rank < len(images) and len(chosen) < most:
                chosen.setdefault(int(images[rank]))
    return np.array(sorted(chosen), dtype=np.int64)
