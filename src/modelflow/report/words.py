"""What the report says in words and numbers: names safe to show, figures with their digits, sentences. No torch."""

import re
from collections.abc import Sequence

from modelflow.evaluation.scores.score import Metric

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"
ORDINALS = ("", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def minus(text: str) -> str:
    """Words with true minus signs before their numbers."""
    return re.sub(r"(?<![^\s(])-(?=\d)", MINUS, text)


def percent(share: float | None, digits: int = 2) -> str:
    """87.72 for 0.8772; an en dash for None."""
    return NONE if share is None else f"{100 * share:.{digits}f}".replace("-", MINUS)


def decimal(value: float | None, digits: int = 3) -> str:
    """A number with that many digits behind the point; an en dash for None."""
    return NONE if value is None else f"{value:,.{digits}f}".replace("-", MINUS)


def level(score: float | None, metric: Metric) -> str:
    """A score with the digits of its metric, without its sign: 87.72 for an accuracy of 0.8772; an en dash for None."""
    return decimal(None if score is None else metric.unit.scale * score, metric.unit.level_digits)


def count(value: int | None) -> str:
    """A whole number with commas; an en dash for None."""
    return NONE if value is None else f"{value:,}"


def significant(value: float | None, digits: int = 3) -> str:
    """A number with that many digits that count, never as a power of ten; an en dash for None."""
    if value is None:
        return NONE
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def p_text(p_value: float) -> str:
    """A p-value with the digits that matter."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}" if p_value < 0.1 else f"{p_value:.2f}"


def in_words(number: int) -> str:
    """Small numbers as words, others with commas."""
    return NUMBERS[number] if 0 <= number < len(NUMBERS) else f"{number:,}"


def ordinal(place: int, superlative: str) -> str:
    """ "fewest", "second fewest", …, from the eleventh place on "fewest but 10"."""
    if place > len(ORDINALS):
        return f"{superlative} but {place - 1:,}"
    return f"{ORDINALS[place - 1]} {superlative}".strip()


def listed(names: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"
