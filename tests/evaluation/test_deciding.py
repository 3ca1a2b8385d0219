"""Scores that a study can be decided by: their values against scikit-learn, their spread against resampling."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

from modelflow.errors import UsageError
from modelflow.evaluation.calibration import probabilities
from modelflow.evaluation.measure import ACCURACY, measure, metric_named, metrics
from modelflow.evaluation.scores.score import Metric

SHARES = (0.4, 0.25, 0.15, 0.1, 0.06, 0.04)
WORDS = ("accuracy", "balanced_accuracy", "macro_f1", "nll")


def drawn(seed, images, classes=6):
    """Logits and labels of a classifier that is better than guessing, on classes of unequal size."""
    rng = np.random.default_rng(seed)
    y_N = rng.choice(len(SHARES), images, p=SHARES)
    logits_NK = rng.normal(size=(images, classes)).astype(np.float32)
    logits_NK[np.arange(images), y_N] += 1.5
    return logits_NK, y_N


def oracle(word, logits_NK, y_N):
    predicted_N = logits_NK.argmax(1)
    return {
        "accuracy": lambda: accuracy_score(y_N, predicted_N),
        "balanced_accuracy": lambda: balanced_accuracy_score(y_N, predicted_N),
        "macro_f1": lambda: f1_score(y_N, predicted_N, average="macro", zero_division=0),
        "nll": lambda: log_loss(y_N, probabilities(logits_NK), labels=range(logits_NK.shape[1])),
    }[word]()


def test_the_metrics_are_those_promised_accuracy_first():
    assert set(metrics()) == set(WORDS)
    assert next(iter(metrics())) == "accuracy"
    assert metric_named("accuracy") is ACCURACY


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(("seed", "images", "classes"), [(0, 400, 6), (1, 12, 6), (2, 40, 8), (3, 1, 6)])
def test_the_score_and_the_mean_of_the_values_are_scikit_learns(word, seed, images, classes):
    """Also where classes have no image, or are predicted alone."""
    logits_NK, y_N = drawn(seed, images, classes)
    metric = metric_named(word)
    expected = oracle(word, logits_NK, y_N)
    assert metric.of(logits_NK, y_N) == pytest.approx(expected, rel=1e-6)
    values_N = metric.values(logits_NK, y_N)
    assert values_N.shape == (images,)
    assert values_N.mean() == pytest.approx(expected, rel=1e-6)
    assert measure(logits_NK, y_N).score(metric.name) == metric.of(logits_NK, y_N)


@pytest.mark.parametrize("word", WORDS)
def test_what_an_image_adds_is_its_influence_on_the_score(word):
    """The jackknife: a score without an image moves by what the image adds to the mean, to the first order."""
    logits_NK, y_N = drawn(4, 1500)
    metric = metric_named(word)
    score, values_N = metric.of(logits_NK, y_N), metric.values(logits_NK, y_N)
    others = ~np.eye(len(y_N), dtype=bool)[::29]
    moved = [1500 * (score - metric.of(logits_NK[keep_N], y_N[keep_N])) for keep_N in others]
    added = (values_N - score)[::29]
    assert np.corrcoef(moved, added)[0, 1] > 0.999
    assert np.abs(np.array(moved) - added).max() < 0.05 * np.abs(added).max()


@pytest.mark.parametrize("word", WORDS)
def test_the_spread_of_the_values_is_that_of_the_score_over_resampled_images(word):
    """The bootstrap, 1,500 times."""
    logits_NK, y_N = drawn(5, 1500)
    metric, rng = metric_named(word), np.random.default_rng(6)
    resampled = rng.integers(1500, size=(1500, 1500))
    scores = [metric.of(logits_NK[which_N], y_N[which_N]) for which_N in resampled]
    error = metric.values(logits_NK, y_N).std(ddof=1) / np.sqrt(1500)
    assert error == pytest.approx(np.std(scores), rel=0.08)


def test_a_stratified_samples_variance_is_unbiased_of_few_images():
    """Of a class of three images too: the variance of the mean recall, found by drawing."""
    rng, metric = np.random.default_rng(7), metric_named("balanced_accuracy")
    y_N = np.repeat([0, 1], [40, 3])
    shares = np.array([0.9, 0.6])
    found, scores = [], []
    for _ in range(4000):
        predicted_N = np.where(rng.random(43) < shares[y_N], y_N, 1 - y_N)
        logits_NK = np.eye(2)[predicted_N]
        found.append(metric.values(logits_NK, y_N).var(ddof=1) / 43)
        scores.append(metric.of(logits_NK, y_N))
    true = (shares * (1 - shares) / [40, 3]).sum() / 4
    assert np.var(scores) == pytest.approx(true, rel=0.08)
    assert np.mean(found) == pytest.approx(true, rel=0.05)


def test_images_count_alike_or_by_their_class():
    y_N = np.array([0, 0, 3, 3, 3])
    assert [metric_named(word).groups(y_N) for word in WORDS] == [(), (2, 3), (2, 3), ()]


def test_less_is_better_of_the_likelihood_alone():
    assert [metric_named(word).merit(0.5) for word in WORDS] == [0.5, 0.5, 0.5, -0.5]
    assert [metric_named(word).text(0.51234) for word in WORDS] == ["51.23 %", "51.23 %", "51.23 %", "0.5123"]
    assert [metric_named(word).best for word in WORDS] == [
        *("most accurate", "best by balanced accuracy", "best by macro F1", "best by NLL"),
    ]


@pytest.mark.parametrize("word", ["nl", "loss", "", None, ["nll"], "Accuracy"])
def test_another_word_is_refused_with_those_known(word):
    with pytest.raises(UsageError, match="expected one of accuracy, balanced_accuracy, nll, macro_f1"):
        metric_named(word)


def test_a_metric_without_a_values_method_is_no_score():
    class Half(Metric):
        name = "half"

    with pytest.raises(TypeError, match="abstract"):
        Half()
