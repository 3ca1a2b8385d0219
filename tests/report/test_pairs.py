"""The square of pairs beside the verdicts that it shows."""

import re
from dataclasses import replace

import numpy as np
import pytest

from chromium import needs_chromium
from modelflow.analysis.verdicts import UNCERTAIN
from modelflow.report.answer import UNCERTAIN_AMOUNT
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


def test_what_describes_the_table_of_pairs_stands_between_the_square_and_the_table(content, group):
    html = render(replace(content, groups=(group,), left_out=()))
    marks = ('<table class="square">', ">Pair by pair<", "Each line of the table", '<table class="verdicts">')
    places = [html.index(mark) for mark in marks]
    assert places == sorted(places)


def test_a_bar_clear_of_0_that_is_inconclusive_says_why(content):
    """Beside that pair alone, and not where seeds are too few or a pair is the only one."""
    rng = np.random.default_rng(1)
    said = "Clear of 0 alone, not after allowing for 6 pairs."
    for _ in range(100):
        correct = {
            name: rng.random((4, 355)) < share for name, share in zip("abcd", (0.72, 0.76, 0.8, 0.8), strict=True)
        }
        group = made_up(content, correct)
        clear = [v for v in group.verdicts if v.kind == "cannot tell" and v.pair_interval.low > 0]
        if clear and len(clear) < len(group.verdicts):
            break
    html = render(replace(content, groups=(group,), left_out=()))
    rows = re.findall(r'<td class="said">.*?<circle', html, re.S)
    assert len(rows) == 6
    beside = [row for row in rows if said in row]
    assert len(beside) == len(clear)
    assert all(any(v.first in row and v.second in row for v in clear) for row in beside)
    pair = made_up(content, {"a": rng.random((2, 355)) < 0.3, "b": rng.random((2, 355)) < 0.9})
    assert "Clear of 0 alone" not in render(replace(content, groups=(pair,), left_out=()))


def test_an_amount_that_is_uncertain_is_explained_beside_the_table(content):
    """Where Holm's method tells two apart whose interval of all pairs holds 0."""
    rng = np.random.default_rng(1)
    for _ in range(300):
        correct = {name: rng.random((4, 355)) < share for name, share in (("a", 0.3), ("b", 0.7), ("c", 0.78))}
        group = made_up(content, correct)
        html = render(replace(content, groups=(group,), left_out=())) if _is_uncertain(group) else ""
        if html:
            break
    before = html[html.index("Each line of the table") : html.index('<table class="verdicts">')]
    assert UNCERTAIN_AMOUNT in before
    pair = made_up(content, {name: correct[name] for name in "ab"})
    others = render(replace(content, groups=(pair,), left_out=()))
    assert others.count(UNCERTAIN_AMOUNT) == 1  # under "How to read this" alone


def _is_uncertain(group):
    return any(UNCERTAIN in verdict.words for verdict in group.verdicts)


@needs_chromium
def test_on_a_phone_the_whole_square_is_seen_with_sign_and_difference(content, opened, tmp_path):
    rng = np.random.default_rng(3)
    names = ("cnn2_3", "cnn2_7", "generic_1", "generic_2", "resnet_like", "squeeze_and_excite", "plain")
    shares = np.linspace(0.2, 0.98, len(names))
    group = made_up(content, {name: rng.random((4, 355)) < share for name, share in zip(names, shares, strict=True)})
    path = tmp_path / "report.html"
    path.write_text(render(replace(content, groups=(group,), left_out=())), "utf-8")
    page = opened(path, viewport={"width": 390, "height": 844})
    square = page.locator("table.square")
    for cell in square.locator("th, td").all():
        box = cell.bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
    assert square.locator("td b").count() == 42
    assert all("\N{MINUS SIGN}" in text or "+" in text for text in square.locator("td b").all_inner_texts())
    assert not square.locator("td > span").first.is_visible()
    page.set_viewport_size({"width": 1280, "height": 844})
    assert square.locator("td > span").first.is_visible()
