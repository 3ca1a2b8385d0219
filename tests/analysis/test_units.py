"""Differences in words: never narrower than they are, in points and in nats."""

import pytest

from modelflow.analysis.intervals import Interval
from modelflow.analysis.units import amount_words, difference_words, margin_number, range_words
from modelflow.evaluation.scores.score import NATS, SHARE


@pytest.mark.parametrize(
    ("low", "high", "unit", "said"),
    [
        (0.0141, 0.0299, SHARE, "1.4 to 3.0"),
        (-0.0141, 0.0101, SHARE, "-1.5 to 1.1"),
        (0.0004, 0.001, SHARE, "0.04 to 0.1"),
        (0.01234, 0.03111, NATS, "0.012 to 0.032"),
        (-0.00004, 0.0002, NATS, "-0.001 to 0.001"),
        (0.0, 1.5, NATS, "0.000 to 1.500"),
    ],
)
def test_ranges_are_rounded_outwards(low, high, unit, said):
    assert range_words(Interval(low, high), unit) == said


def test_margins_are_rounded_up_and_differences_told_from_nothing():
    assert (amount_words(4 / 355), margin_number(0.005)) == ("1.13 points", "0.5")
    assert (amount_words(0.01, NATS), amount_words(0.00123, NATS)) == ("0.01 nats", "0.0013 nats")
    assert (difference_words(0.0123), difference_words(0.0002), difference_words(0)) == (
        *("1.2 points", "0.02 points", "0.0 points"),
    )
    assert (difference_words(0.0123, NATS), difference_words(0.0002, NATS)) == ("0.012 nats", "0.0002 nats")
