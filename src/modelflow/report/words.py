"""What the report says in words and numbers: names safe to show, figures with their digits, sentences. No torch."""

import re
from collections.abc import Sequence

from markupsafe import Markup

from modelflow.evaluation.scores.score import Metric

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"
ORDINALS = ("", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
WHOLE = 12  # characters of a word that needs no place to break
JOINT = re.compile(r"(?<=[_/.])(?=\w)|(?<=[a-z])(?=[A-Z])")  # within a name: after an underscore, before a capital
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def minus(text: str) -> str:
    """Words with true minus signs before their numbers."""
    return re.sub(r"(?<![^\s(])-(?=\d)", MINUS, text)


def breakable(text: str) -> Markup:
    """Text, made safe, whose long names may break where their parts meet, and nowhere else while there is room."""
    return Markup().join(Markup("<wbr>").join(name_parts(word)) for word in re.split(r"(\s+)", text))


def name_parts(word: str) -> list[str]:
    """A long name in its parts: residual_, squeeze_, small; a short one as it is."""
    return [word] if len(word) <= WHOLE else JOINT.split(word)


def two_lines(name: str) -> list[str]:
    """A long name as two lines of nearly the same length, if it has parts."""
    parts = name_parts(name)
    ways = [["".join(parts[:i]), "".join(parts[i:])] for i in range(1, len(parts))]
    return min(ways, key=lambda lines: max(map(len, lines)), default=[name])


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
