"""The title of the page and the best model at a glance, beside the runs."""

import re
from dataclasses import replace

import numpy as np
import pytest

from modelflow.analysis.archive import Content
from modelflow.report.finding import data_title, glance, title
from modelflow.report.page import render
from report_studies import HOSTILE, made_up


def group(content, shares, seeds=4, images=355):
    """Models right in so much of the images, each seed in others."""
    rng = np.random.default_rng(1)
    return made_up(content, {name: rng.random((seeds, images)) < share for name, share in shares.items()})


def title_of(content, *groups):
    return title(Content(content.folder, groups, ()))


def test_the_title_is_the_finding(content):
    clear = {"a": 0.3, "b": 0.5, "c": 0.95}
    assert title_of(content, group(content, clear)) == "digits: c is best of three"
    open_ = group(content, {"a": 0.8, "b": 0.8, "c": 0.3})
    assert title_of(content, open_) == f"digits: inconclusive, {' or '.join(first_two(open_))} may be best of three"
    same = {name: np.tile(np.arange(355) % 5 > 0, (4, 1)) for name in "ab"}
    assert title_of(content, made_up(content, same)).endswith(" is highest of two, b is equivalent")
    many = group(content, dict.fromkeys("abcde", 0.8))
    assert title_of(content, many) == "digits: inconclusive, any of five may be best of five"


def test_of_too_few_seeds_the_title_names_the_leader_alone(content):
    few = group(content, {"a": 0.7, "b": 0.8, "c": 0.3}, seeds=2)
    assert title_of(content, few) == "digits: b leads three, with too few seeds to tell"
    assert glance(few).heading == "Highest mean accuracy"


def first_two(found):
    return [model.name for model in found.models[:2]]


def test_without_verdicts_the_title_says_what_there_is(content):
    assert title_of(content, group(content, {"a": 0.5, "b": 0.6}, seeds=1)) == "digits: two models, one run of each"
    one = group(content, {"a": 0.5})
    assert title_of(content, one) == f"digits: a, {100 * one.models[0].accuracy:.1f} %"
    several = [one, replace(one, number=1)]
    assert title_of(content, *several) == "Two comparisons: digits"


@pytest.mark.parametrize(
    ("name", "written"),
    [("fashion-mnist", "Fashion-MNIST"), ("images:/home/ada/photos/", "photos"), ("digits", "digits")],
)
def test_data_sets_are_called_as_their_authors_do_or_as_their_folder(name, written):
    assert data_title(name) == written


def test_the_page_is_called_by_its_finding_and_begins_with_the_answer(content):
    found = group(content, {"a": 0.3, "b": 0.5, "c": 0.95})
    html = render(Content(content.folder, (found,), ()))
    assert "<title>digits: c is best of three · ModelFlow</title>" in html
    body = html[html.index("<h1") :]
    assert body.startswith('<h1 id="top-title">c is the most accurate of the three models: better than each of')
    paragraphs = re.findall(r"<p[ >]", body[: body.index('data-chart="g0-accuracy"')])
    assert len(paragraphs) == 2  # which data, how many models and runs; what is said without JavaScript
    glanced = body[body.index('<div class="glance"') : body.index('class="conditions"')]
    assert body.index('data-chart="g0-accuracy"') < body.index('<div class="glance"')
    assert "Best model" in glanced
    for words in ("parameters", "KB of weights", "ms per image"):
        assert words in glanced


def test_at_a_glance_stands_what_the_runs_say(content):
    (found,) = content.groups
    seen = glance(found)
    model = found.models[0]
    assert seen.model is model
    assert seen.score == f"{100 * model.accuracy:.1f} %"
    costs = dict(seen.costs)
    assert costs["parameters"] == f"{model.first.parameters:,}"
    assert float(costs["KB of weights"]) == pytest.approx(model.first.bytes_on_disk / 1000, rel=5e-3)
    assert float(costs["ms per image"]) == pytest.approx(model.latency("1")[0], rel=0.05)
    assert glance(group(content, {"a": 0.8, "b": 0.8})).heading == "Highest mean accuracy"
    assert glance(group(content, {"a": 0.8}, seeds=1)).heading == "The model"


def test_a_hostile_data_set_is_text_in_the_title(content):
    (found,) = content.groups
    named = replace(found, data=found.data.model_copy(update={"name": f"images:{HOSTILE[0]}"}))
    html = render(Content(content.folder, (named,), ()))
    assert "<title>&lt;img src=x onerror=alert(1)&gt;: " in html
