"""Which images each model gets wrong, the most confident mistakes, and where two models disagree. No torch.

A model with several runs votes: it names the class that most of its runs name, at a tie the one to which they give the
greater probability in the mean; that mean probability is its confidence.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from modelflow.evaluation.calibration import probabilities
from modelflow.report.content import Array, Group, Model, correct, tested_on

MOST_TILES = 600
A_PAIR = 24
A_MODEL = 12
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

    `only_MM` counts the images that the model of the row has right and that of the column wrong; `most_confident` and
    `shown` are indices of images.
    """

    labels_N: Array
    votes: tuple[Votes, ...]
    only_MM: Array
    most_confident: tuple[Array, ...]
    shown: Array

    @property
    def right(self) -> Array:
        """Whether each model (M), by its vote, has each image (N) right."""
        return np.stack([votes.predicted_N == self.labels_N for votes in self.votes])

    @property
    def wrong_by_all(self) -> int:
        """How many images no model has right."""
        return int((~self.right).all(0).sum())


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
    right_MN = np.stack([one.predicted_N == group.labels_N for one in votes]).astype(np.int64)
    only_MM = right_MN @ (1 - right_MN).T
    own = tuple(_surest(one, np.flatnonzero(row == 0), A_MODEL) for one, row in zip(votes, right_MN, strict=True))
    shown = _first_distinct([*own, *_between(votes, right_MN.astype(bool))], MOST_TILES)
    return Mistakes(group.labels_N, votes, only_MM, own, shown)


def _surest(votes: Votes, images: Array, most: int) -> Array:
    return images[np.argsort(-votes.confidence_N[images], kind="stable")[:most]]


def _between(votes: tuple[Votes, ...], right_MN: Array) -> Iterator[Array]:
    """For each ordered pair the images that the first has right and the second wrong, both as sure as can be."""
    for i, a in enumerate(votes):
        for j, b in enumerate(votes):
            if i != j:
                images = np.flatnonzero(right_MN[i] & ~right_MN[j])
                surest = np.argsort(-(a.confidence_N * b.confidence_N)[images], kind="stable")
                yield images[surest[:A_PAIR]]


def _first_distinct(lists: Iterable[Array], most: int) -> Array:
    """The first of each list, then the second of each, and so on, each image once, `most` in all; in their order."""
    lists = list(lists)
    chosen: dict[int, None] = {}
    for rank in range(max(map(len, lists), default=0)):
        for images in lists:
            if rank < len(images) and len(chosen) < most:
                chosen.setdefault(int(images[rank]))
    return np.array(sorted(chosen), dtype=np.int64)
