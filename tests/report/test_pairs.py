"""The square of pairs beside the verdicts that it shows."""

import re
from dataclasses import replace

import numpy as np
import pytest

from modelflow.report.page import render
from modelflow.report.pairs import MAX_MODELS, pairs_of
from report_studies import made_up

SHARES = {"a": 0.3, "b": 0.8, "c": 0.8, "d": 0.97}


@pytest.fixture(scope="module")
def group(content):
    rng = np.random.default_rng(3)
    return made_up(content, {name: rng.random((4, 355)) < share for name, share in SHARES.items()})


def test_each_row_sees_its_verdicts_from_its_side(group):
    cells = {(row.model.name, column.name): cell for row in pairs_of(group) for column, cell in row.cells}
    assert len(cells) == 16
    assert [cells[name, name] for name in SHARES] == [None] * 4
    kinds = set()
    for verdict in group.verdicts:
        own, other = cells[verdict.first, verdict.second], cells[verdict.second, verdict.first]
        kinds.add((own.kind, other.kind))
        low, high = (float(end) for end in own.interval.split(" to "))
        assert low <= 100 * verdict.interval.low
        assert high >= 100 * verdict.interval.high
        assert (low, high) == pytest.approx((100 * verdict.interval.low, 100 * verdict.interval.high), abs=0.11)
        assert tuple(-float(end) for end in other.interval.split(" to ")) == (high, low)
        assert float(own.difference) == pytest.approx(100 * verdict.difference.estimate, abs=0.06)
        assert float(other.difference) == -float(own.difference)
    assert kinds == {("better", "worse"), ("cannot tell", "cannot tell")}


def test_two_models_or_very_many_have_no_square(content):
    rng = np.random.default_rng(3)
    for number in (2, MAX_MODELS + 1):
        few = made_up(content, {f"m{i}": rng.random((2, 60)) < 0.7 for i in range(number)})
        assert pairs_of(few) == []


def test_the_page_tells_each_verdict_by_sign_colour_and_word(content, group):
    html = render(replace(content, groups=(group,), left_out=()))
    square = html[html.index('<table class="square">') :]
    square = square[: square.index("</table>")]
    shown = re.findall(r'<td class="([\w-]+)" [^>]*><b><span class="hidden">(\w+)</span>(.*?)</b>', square, re.S)
    assert len(shown) == 12
    signs = {"better": "#sign-better", "worse": "#sign-worse", "cannot-tell": ">?<", "equivalent": ">=<"}
    for kind, word, sign in shown:
        assert word == {"cannot-tell": "inconclusive"}.get(kind, kind)
        assert signs[kind] in sign
