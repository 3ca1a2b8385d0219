"""The page as a whole: made from any folder, and, in a real browser without a network, every control used."""

import json
import re
import shutil
from dataclasses import replace
from html import unescape
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

from chromium import needs_chromium
from modelflow.analysis.archive import Content, group_of, read_content
from modelflow.analysis.verdicts import AFTER_A_LOOK
from modelflow.data.source import Source
from modelflow.evaluation.measure import measure
from modelflow.report import page as report_page
from modelflow.report.answer import LATENCY_BY_LAYERS
from modelflow.report.how import how_made
from modelflow.report.marks import SIGNS
from modelflow.report.mistakes import mistakes_of, votes_words
from modelflow.report.page import confusions, render, sure
from modelflow.report.words import significant
from modelflow.results.records import Epoch
from modelflow.studies.pages import write_pages
from report_studies import HOSTILE, SEEDS, change, made_by, made_up, rename_classes, run_folders_of

MIB = 1 << 20


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S).group(1))


# --- the page as text ------------------------------------------------------------------------------------------------


def test_the_page_is_written_into_the_folder_and_is_the_same_again(copied):
    write_pages(copied)
    assert (copied / "report.html").read_text("utf-8") == render(read_content(copied))
    assert not list(copied.glob(".report*"))


def test_the_page_answers_in_order(content):
    html = render(content)
    order = [re.search(f'<section id="{name}"', html).start() for name in SECTIONS]
    assert order == sorted(order)
    levels = [int(level) for level in re.findall(r"<h(\d)", html)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


SECTIONS = ("best", "cost", "learning", "models", "mistakes", "try", "how")


def test_the_policy_allows_this_very_script_and_no_network(content):
    html = render(content)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html).group(1)
    rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    assert re.fullmatch(f"default-src 'none'; script-src 'sha256-[A-Za-z0-9+/=]+'; {rest}", unescape(policy))
    assert "unsafe-eval" not in policy
    assert re.findall('(?:src|href)="(?!data:|#)', html[: html.index('<script type="application/json"')]) == []


def test_data_in_the_page_ends_no_element(copied):
    for folder in run_folders_of(copied, "wide"):
        rename_classes(folder, HOSTILE)
    html = render(read_content(copied))
    assert data_of(html)["mistakes"]["g0"]["classes"][4] == HOSTILE[4]
    assert HOSTILE[0] not in html
    assert HOSTILE[4] not in html
    assert "49" not in re.findall(r"<bdi[^>]*>([^<]*)</bdi>", html)


def test_without_the_data_set_the_report_is_made_and_says_so(copied):
    for folder in [*run_folders_of(copied, "wide"), *run_folders_of(copied, "narrow")]:
        change(folder, data={"checksums": {"digits": "0" * 64}})
    html = render(read_content(copied))
    assert "The images cannot be shown: digits on this machine differs by SHA-256" in html
    assert 'class="tile"' not in html


def test_groups_are_shown_apart_and_said(copied):
    for folder in run_folders_of(copied, "narrow"):
        made_by(folder, "held-out")
    html = render(read_content(copied))
    assert "2 different combinations of data and protocol" in html
    assert "Validation used held-out images" in html
    assert "A verdict for each pair" not in html


def test_seeds_that_could_tell_stand_below_an_open_headline(content):
    rng = np.random.default_rng(4)
    group = made_up(content, {name: rng.random((3, 355)) < 0.8 for name in "ab"})
    html = render(
        replace(content, groups=(replace(group, verdicts=(replace(group.verdicts[0], more=4),)),), left_out=())
    )
    after = html[html.index('<h1 id="top-title">Inconclusive: ') :]
    before = text_of(after[: after.index("<figure>")])
    assert before.index("About 7 seeds of each would tell ") < before.index("Start a new study with seven other seeds")
    assert "--seeds 45,46,47,48,49,50,51 --results new_study" in before  # of none that were seen


def text_of(html):
    return unescape(re.sub(r"<[^>]+>", "", html))


def test_two_seeds_of_several_models_are_noticed_at_the_headline(content):
    rng = np.random.default_rng(0)
    group = made_up(content, {name: rng.random((2, 355)) < 0.8 for name in "abc"})
    html = render(replace(content, groups=(group,), left_out=()))
    after = html[html.index("<h1") :]
    before = text_of(after[: after.index("<figure>")])
    assert "Two seeds of each model are too few for a family of 3 pairs" in before
    assert "Start a new study with five other seeds of each model" in before
    study = (content.folder / "study.json").resolve()
    assert f"modelflow run {study} --seeds 44,45,46,47,48 --results new_study" in before
    assert after.count('<td class="n">not tested</td>') == 3
    assert "three for up to two, four for up to seven, five for up to 40 models, ten beyond" in html
    assert "The interval in words holds for all pairs of the group at once" in html
    assert "The bars are for one pair alone: of 21, about one misses" in html
    assert "Difference in points, 95 % for this pair alone" in html
    enough = made_up(content, {name: rng.random((4, 355)) < 0.8 for name in "abc"})
    html = render(replace(content, groups=(enough,), left_out=()))
    assert "too few for a family" not in html
    assert '<td class="n">not tested</td>' not in html
    assert '<td class="n">1.00</td>' in html
    assert "p is adjusted for all pairs (Holm) and capped at 1." in html


def test_what_seeds_after_a_look_do_is_said_once_above_the_verdicts_not_in_each(content):
    rng = np.random.default_rng(0)
    for n_seeds in (2, 5):
        group = made_up(content, {name: rng.random((n_seeds, 355)) < 0.8 for name in "abc"})
        html = render(replace(content, groups=(group,), left_out=()))
        assert sum(AFTER_A_LOOK in verdict.words for verdict in group.verdicts) == 3
        assert html[: html.index('<details class="reading">')].count(AFTER_A_LOOK) == 1


def test_how_many_runs_may_die_stands_where_the_page_is_explained_and_not_beside_the_verdicts(content):
    html = render(content)
    answered, _, explained = html.partition('<details class="reading">')
    assert "No run died (0 of 4). 2 runs of each model cannot rule out rare failures." in answered
    assert "up to 78 %" not in answered
    assert "With 0 of 2 runs dead, that is up to 78 %." in explained


def test_what_is_validated_on_test_images_says_so(copied):
    html = render(read_content(copied))
    assert "<figcaption>Validation loss (these are the test images). Thin lines: runs" in html
    assert html.count("alidation loss (these are the test images)</th>") == 2
    title = data_of(html)["charts"]["g0-validation"]["layer"][0]["encoding"]["y"]["axis"]["title"]
    assert title == "validation loss (these are the test images)"
    assert data_of(html)["charts"]["g0-training"]["layer"][0]["encoding"]["y"]["axis"]["title"] == "training loss"
    assert html.count("The test images also served as validation images after every epoch.") == 1
    for folder in [*run_folders_of(copied, "wide"), *run_folders_of(copied, "narrow")]:
        made_by(folder, "held-out")
    assert "these are the test images" not in render(read_content(copied))


def by(content, protocol, number=0):
    """The study's group as if it had been made by this protocol."""
    named = {"protocol": protocol, "settings": {**content.runs[0].settings, "protocol": protocol}}
    seeds = [replace(s, run=s.run.model_copy(update=named)) for s in content.seeds]
    return group_of(number, seeds, {"narrow": 0, "wide": 1})


@pytest.mark.parametrize("protocol", ["card", "held-out", "own"])
def test_a_protocol_that_all_share_is_defined_once(content, protocol):
    html = render(replace(content, groups=(by(content, protocol),), left_out=()))
    body = html[html.index("<body") : html.index("<script")]
    assert body[: body.index('<section id="how"')].count("rotocol") <= 2  # its definition, which may repeat the word
    assert f"Protocol “<bdi>{protocol}</bdi>”:" in html
    assert "protocol" not in json.dumps(data_of(html)["charts"])


def test_of_several_protocols_every_table_and_chart_of_figures_names_its_own(content):
    groups = by(content, "card"), by(content, "own", 1)
    html = render(replace(content, groups=groups, left_out=()))
    captions = [text.lower() for text in re.findall(r"<table.*?<caption[^>]*>(.*?)</caption>", html, re.S)]
    shorts = "protocol card", "protocol not known"
    nameless = [text for text in captions if not any(short in text for short in shorts)]
    assert [text.split()[0] for text in nameless] == ["input", "input", "input", "input", "sha-256"]
    assert len(captions) == html[: html.index("<script")].count("<table") == 35
    for name, spec in data_of(html)["charts"].items():
        assert shorts[int(name[1])] in json.dumps(spec) or name.endswith(("-training", "-validation")), name
    labels = re.findall(r'data-label="([^"]+)"', html)
    assert len(labels) == 24
    assert all(any(short in label for short in shorts) for label in labels)
    for summary in re.findall(r'<details class="card" .*?<summary>(.*?)</summary>', html, re.S):
        assert any(short in summary for short in shorts)


def test_the_learning_curves_have_their_values_in_tables(content):
    group = content.groups[0]
    html = render(content)
    assert html.count("Thin lines: runs. Thick lines: means.</figcaption>") == 2
    for which, of in (("Training", "loss"), ("Validation", "val_loss")):
        body = re.search(f'aria-label="{which} loss by epoch.*?<tbody>(.*?)</tbody>', html, re.S).group(1)
        rows = [re.findall(r'class="n"[^>]*>([\d.]+)<', row) for row in body.split("</tr>") if "<td" in row]
        for i, (epoch, *means) in enumerate(rows):
            losses = [[getattr(seed.history[i], of) for seed in model.seeds] for model in group.models]
            assert int(epoch) == i + 1
            assert [float(mean) for mean in means] == pytest.approx(
                [np.mean(of_model) for of_model in losses], rel=1e-3
            )
        assert len(rows) == 2


def test_the_captions_of_curves_say_what_is_drawn(content):
    group = content.groups[0]
    one_epoch = [replace(m, seeds=tuple(replace(s, history=s.history[:1]) for s in m.seeds)) for m in group.models]
    one_run = [replace(m, seeds=m.seeds[:1]) for m in group.models]
    for models, said in (
        (one_epoch, "The mean of each model after one epoch"),
        (one_run, "One run per model"),
    ):
        html = render(replace(content, groups=(replace(group, models=tuple(models)),), left_out=()))
        assert html.count(f". {said}.</figcaption>") == 2
        assert "Thin lines: runs" not in html


def test_what_was_not_tested_is_said_with_it(content):
    html = render(content)
    assert "the Pareto front" in html
    assert "Differences in seconds are not tested." in html
    assert re.search(r"<caption>Costs [^\n]* Seconds include waiting for a shared core\.</caption>", html)
    seeds = [replace(s, run=s.run.model_copy(update={"seconds": {"training": 1.0}})) for s in content.seeds]
    older = render(replace(content, groups=(group_of(0, seeds, {"narrow": 0, "wide": 1}),), left_out=()))
    assert re.search(r"<caption>Costs [^\n]* Seconds include compiling and waiting for a shared core\.<", older)
    for model in content.models:
        text = f"{significant(model.seconds)} ± {significant(model.seconds_spread, 2)}"
        assert f'<td class="n">{text}</td>' in html
    assert html.count("(the lowest of 2 runs, measured beside other trainings). Differences are not tested") == 2
    assert html.count('title="standard deviation over seeds"') == 2


def test_dead_runs_stand_out(copied):
    change(copied / "wide", warnings=["96 % of the images are called '<u>'"])
    html = render(read_content(copied))
    assert html.count("96 % of the images are called &#39;&lt;u&gt;&#39;") == 2
    assert re.search(r'<span class="chip dead"><svg[^>]*><use href="#sign-warning"/></svg> dead run</span>', html)


def test_one_run_each_says_that_it_cannot_tell(copied):
    for name in ("wide", "narrow"):
        shutil.rmtree(copied / name / "seeds")
    html = render(read_content(copied))
    assert "One run of each model cannot tell which of the two is the most accurate." in html
    body = text_of(html[: html.index("<figure>")])
    assert "Start a new study with five other seeds of each model:" in body
    assert "--seeds 43,44,45,46,47 --results new_study" in body
    assert "A verdict for each pair" not in html


def test_runs_without_any_predictions_are_shown_by_their_records(copied):
    for path in copied.rglob("predictions.npz"):
        path.unlink()
    html = render(read_content(copied))
    assert "The predictions of these runs cannot be read" in html
    assert "Confusion matrix" not in html


def test_of_many_classes_the_most_frequent_confusions_are_listed(content, monkeypatch):
    monkeypatch.setattr(report_page, "MAX_CLASSES", 5)
    html = render(content)
    assert "The most frequent confusions among 10 classes" in html
    assert "data-confusion>" not in html
    model = content.groups[0].models[0]
    rows = confusions(model)
    off = model.counts - np.diag(np.diag(model.counts))
    assert [n for *_, n, _ in rows] == sorted(off[off > 0].tolist(), reverse=True)[:30]


def test_a_mistake_says_what_was_predicted_and_what_is_true(content):
    html = render(content)
    group, found = content.groups[0], mistakes_of(content.groups[0])
    image = found.wrong[0][0]
    votes = found.votes[0]
    words = re.search(r'<span class="says">(.*?)</span>', html, re.S).group(1)
    said, true = (group.class_names[k] for k in (votes.predicted_N[image], found.labels_N[image]))
    text = re.sub(r"<[^>]+>", "", words).replace("&nbsp;", " ")
    assert text == f"predicted {said} ({sure(votes.confidence_N[image])} %), is {true}"


def voting(content, runs_by_model):
    """A group of models whose runs have these images right: S x N each."""
    return made_up(content, {name: np.array(right_SN, bool) for name, right_SN in runs_by_model.items()})


def test_votes_are_said_to_be_better_by_their_range_and_who_is_ahead_by_them(content):
    """Of ten images, `single` has 8 right in every run; each run of `crowd` misses three others, so that no two do."""
    single = [[1] * 8 + [0] * 2] * 3
    crowd = [[0] * 3 + [1] * 7, [1] * 3 + [0] * 3 + [1] * 4, [1] * 6 + [0] * 3 + [1]]
    found = mistakes_of(made_up(content, {"single": single, "crowd": crowd}))
    assert votes_words(found) == (
        "Accuracy by vote is 0.0 to 30.0 points above the mean accuracy of the runs. By vote, crowd is ahead of "
        "single. This is not tested."
    )
    lower = [[1] * 5 + [0] * 5] * 3
    same = mistakes_of(made_up(content, {"single": single, "lower": lower}))
    assert votes_words(same) == "Accuracy by vote is 0.0 points above the mean accuracy of the runs."
    best = [[1] * 10] * 3
    behind = mistakes_of(made_up(content, {"best": best, "single": single, "crowd": crowd}))
    assert votes_words(behind).endswith(" By vote, the order of the models is another. This is not tested.")
    assert votes_words(mistakes_of(content.groups[0])) in text_of(render(content))


def test_confidence_is_whole_only_when_it_is():
    assert [sure(x) for x in (0.994, 0.9999, 1.0, 0.5)] == [99, 99, 100, 50]


def test_the_page_of_seven_models_with_five_seeds_and_ten_thousand_images_is_small(content, tmp_path, monkeypatch):
    """All but the pictures of the runs, of which there may be so many; the test images are noise, which packs worst."""
    rng = np.random.default_rng(0)
    labels_N = rng.integers(0, 10, 10_000)
    history = tuple(Epoch(epoch=i, loss=1 / i, val_loss=1.1 / i) for i in range(1, 31))
    base = replace(content.seeds[0], folder=tmp_path, history=history, labels_N=labels_N)
    seeds = []
    for i, number in product(range(7), range(42, 47)):
        logits_NK = rng.normal(size=(10_000, 10)).astype(np.float32)
        logits_NK[np.arange(10_000), labels_N] += 1.5 + 0.3 * i
        run = base.run.model_copy(update={"model_name": f"model_{i}", "seed": number})
        seeds.append(replace(base, run=run, figures=measure(logits_NK, labels_N), logits_NK=logits_NK))
    group = group_of(0, seeds, {f"model_{i}": i for i in range(7)})
    pixels = rng.integers(0, 256, (10_000, 28, 28), np.uint8)
    source = Source("noise", pixels, labels_N, pixels, labels_N, tuple("0123456789"), {})
    monkeypatch.setattr(report_page.images, "evaluated_source", lambda *_: source)
    html = render(Content(tmp_path, (group,), ()))
    assert html.count("</table>") > 40
    assert "Numbers of the 1,000 most confident of" in html
    assert html.count("data:image/png") == 1
    sheet = len(re.search(r"url\((data:image/png[^)]+)", html).group(1))
    assert len(html.encode()) - sheet + report_page.MAX_EMBEDDED_BYTES < 3 * MIB


def test_pictures_are_left_out_where_the_page_would_grow_too_large(content, monkeypatch):
    html = render(content)
    pictures = 2 * 2
    assert html.count('alt="Activation maps: images, and what the layers of') == 2
    drawn = 'src="data:image/png|figure class="filters"'
    assert len(re.findall(drawn, html)) == pictures
    parts = 'src="(data:image/png[^"]+)|(<svg viewBox="[^"]+" width[^>]+crispEdges.*?</svg>)'
    own = sum(len("".join(found)) for found in re.findall(parts, html[: html.index("g0-model-1")]))
    (one,) = report_page._all_shown(content, None)
    monkeypatch.setattr(report_page, "MAX_EMBEDDED_BYTES", one.size + how_made(content).alone.size + own + 1000)
    html = render(content)
    assert len(re.findall(drawn, html)) == pictures / 2
    assert html.count("to keep this page small") == 1


# --- the page in a browser -------------------------------------------------------------------------------------------


@needs_chromium
def test_every_chart_is_drawn_and_named(report, opened):
    page = opened(report)
    charts = page.locator("[data-chart]")
    assert charts.count() == 12
    for i in range(charts.count()):
        svg = charts.nth(i).locator("svg")
        assert svg.get_attribute("role") == "img"
        assert svg.get_attribute("aria-label").endswith(".")
    assert page.locator('[data-chart="g0-accuracy"] svg').evaluate("svg => svg.textContent").count("wide") >= 1


@needs_chromium
def test_costs_below_a_thousand_are_marked_as_plain_numbers(report, opened):
    """Axes of parts of a second and of a millisecond, and one of thousands of operations."""
    page = opened(report)
    marks = {}
    for key in ("macs", "seconds", "latency"):
        page.locator(f'[name="g0-cost"][value="{key}"]').check()
        axis = page.locator(f'[data-chart="g0-cost-{key}"] .role-axis', has_text="(logarithmic)")
        marks[key] = axis.locator(".role-axis-label text").all_text_contents()
    assert {"2k", "3k"} <= set(marks["macs"])
    for key in ("seconds", "latency"):
        numbers = [float(mark) for mark in marks[key] if mark]
        assert numbers == sorted(numbers)
        assert 0 < numbers[0] < 1


@needs_chromium
def test_the_costs_are_switched_by_radio_buttons_and_keys(report, opened):
    page = opened(report)
    assert visible_costs(page) == ["g0-parameters"]
    page.get_by_label("MACs").check()
    assert visible_costs(page) == ["g0-macs"]
    page.keyboard.press("ArrowRight")
    assert visible_costs(page) == ["g0-seconds"]
    assert "Seconds of training" in page.locator('[data-chart="g0-cost-seconds"] svg').inner_html()


def visible_costs(page):
    return page.eval_on_selector_all("[data-cost]", "all => all.filter(p => !p.hidden).map(p => p.dataset.cost)")


@needs_chromium
def test_the_table_of_costs_is_whole_on_a_desk_and_long_names_stand_whole_in_the_chart(content, opened, tmp_path):
    rng = np.random.default_rng(0)
    names = ("squeeze_and_excite_small", "depthwise_separable_wide", "plain")
    group = made_up(content, {name: rng.random((4, 355)) < 0.8 for name in names})
    path = tmp_path / "report.html"
    path.write_text(render(replace(content, groups=(group,), left_out=())), "utf-8")
    page = opened(path, viewport={"width": 1280, "height": 844})
    page.locator("#cost details.data").evaluate("part => part.open = true")
    whole = "part => part.scrollWidth <= part.clientWidth"
    assert page.get_by_role("region", name="What each model costs").evaluate(whole)
    texts = page.locator('[data-chart="g0-cost-parameters"] .mark-text text').all()
    shown = {"".join(text.locator("tspan").all_text_contents()) or text.text_content() for text in texts}
    assert set(names) <= shown


def test_latency_is_told_with_why_a_small_network_may_take_long(content):
    assert LATENCY_BY_LAYERS in text_of(render(content)).partition("Flash and RAM are those")[0]


def test_no_sentence_sends_a_reader_to_a_file_that_a_page_alone_lacks(content):
    assert "docs/" not in render(content).partition("<script")[0]


@needs_chromium
def test_one_choice_of_models_drives_every_chart_and_list(report, opened):
    page = opened(report)
    lines = "svg => [...svg.querySelectorAll('.mark-line path')].map(p => p.getAttribute('stroke')).filter(Boolean)"
    names = "svg => [...svg.querySelectorAll('text')].map(t => t.textContent).filter(t => /narrow|wide/.test(t))"
    curves, accuracy, cost = (page.locator(f'[data-chart="g0-{name}"] svg') for name in ("validation", *CHARTS_OF_ALL))

    def shows(*models):
        assert_soon(page, lambda: {"narrow": "var(--m0)", "wide": "var(--m1)"}[models[0]] in curves.evaluate(lines))
        assert_soon(page, lambda: len(set(curves.evaluate(lines))) == len(models))
        for chart in (accuracy, cost):
            assert_soon(page, lambda chart=chart: sorted(chart.evaluate(names)) == sorted(models))
        cards = page.locator("#models > .card")
        assert [cards.nth(i).is_visible() for i in range(2)] == [name in models for name in ("wide", "narrow")]

    height = accuracy.bounding_box()["height"]
    shows("narrow", "wide")
    box = page.locator("#learning [data-filter]").get_by_label("wide")
    box.focus()
    page.keyboard.press("Space")
    shows("narrow")
    assert accuracy.bounding_box()["height"] < height
    assert page.locator("[data-filtered]").text_content() == "1 of 2"
    assert not page.locator("table.verdicts tbody tr").first.is_visible()
    assert not page.locator("table.verdicts thead").first.is_visible()
    assert page.locator("table.verdicts[data-emptied] caption").is_visible()
    page.locator(".filter summary").click()
    assert not page.locator(".filter").get_by_label("wide").is_checked()
    page.locator(".filter").get_by_role("button", name="All", exact=True).click()
    shows("narrow", "wide")
    assert box.is_checked()
    empty = page.locator("#best [data-none-shown], #cost [data-none-shown]").first
    assert not empty.is_visible()
    page.locator(".filter").get_by_role("button", name="None").click()
    assert_soon(page, lambda: curves.evaluate(lines) == [])
    assert empty.text_content().startswith("No model is shown.")
    assert empty.is_visible()
    page.keyboard.press("Escape")
    assert page.locator(".filter").evaluate("part => part.open") is False


@needs_chromium
def test_verdicts_hidden_with_the_best_model_say_which_choice_brings_them_back(content, opened, tmp_path):
    rng = np.random.default_rng(3)
    shares = {"a": 0.5, "b": 0.6, "c": 0.7, "best": 0.9}
    group = made_up(content, {name: rng.random((4, 355)) < share for name, share in shares.items()})
    path = tmp_path / "report.html"
    path.write_text(render(replace(content, groups=(group,), left_out=())), "utf-8")
    page = opened(path)
    table = page.locator("table.verdicts").first
    said = "table => getComputedStyle(table.caption, '::after').content"
    page.locator("#learning [data-filter]").get_by_label("best").uncheck()
    assert "Choose \u2068best\u2069 under Models at the top." in table.evaluate(said)
    page.locator("#learning [data-filter] [data-none]").click()
    assert "Choose \u2068best\u2069 and \u2068c\u2069 under" in table.evaluate(said)
    page.locator("#learning [data-filter] [data-all]").click()
    assert table.evaluate(said) == "none"
    assert table.locator("tbody tr").first.is_visible()


CHARTS_OF_ALL = ("accuracy", "cost-parameters")


def assert_soon(page, holds):
    for _ in range(50):
        if holds():
            return
        page.wait_for_timeout(50)
    assert holds()


@needs_chromium
def test_epochs_are_whole_numbers(report, opened):
    texts = "svg => [...svg.querySelectorAll('.mark-text text')].map(text => text.textContent)"
    for name in ("training", "validation"):
        marks = opened(report).locator(f'[data-chart="g0-{name}"] svg').evaluate(texts)
        assert marks[:2] == ["1", "2"]


@needs_chromium
def test_curves_tell_their_values_where_the_pointer_is(report, opened):
    page = opened(report)
    chart = page.locator('[data-chart="g0-training"]')
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2)
    page.wait_for_selector("#tip:not([hidden])")
    assert re.search(r"model\w+seed4[23]epoch[12]training loss\d\.\d{4}validation", page.locator("#tip").text_content())
    page.mouse.move(2, 2)
    page.wait_for_selector("#tip", state="hidden")


@needs_chromium
def test_confusions_are_told_by_pointer_and_by_keys(report, opened, content):
    page = opened(report)
    model = content.groups[0].models[0]
    table = page.locator("[data-confusion]").first
    readout = page.locator("[data-readout]").first
    cells = table.locator("tbody tr").nth(0).locator("td")
    cells.nth(3).hover()
    total = len(SEEDS) * int((content.groups[0].labels_N == 0).sum())
    n = int(model.counts[0, 3])
    assert readout.text_content() == f"0 taken for 3: {n} of {total} ({100 * n / total:.1f} %)"
    cells.nth(0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    n, total = int(model.counts[1, 1]), int(model.counts[1].sum())
    assert readout.text_content() == f"1 recognised: {n} of {total} ({100 * n / total:.1f} %)"
    assert table.locator("td[tabindex='0']").count() == 1


@needs_chromium
def test_sections_of_models_open_by_key_and_all_at_once(report, opened):
    page = opened(report)
    cards = page.locator("#models > .card")
    assert opened_ones(cards) == [True, False]
    cards.nth(1).locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert opened_ones(cards) == [True, True]
    page.get_by_role("button", name="Close all").click()
    assert opened_ones(cards) == [False, False]
    page.get_by_role("button", name="Open all").click()
    assert opened_ones(cards) == [True, True]
    assert cards.nth(1).locator("[data-chart] svg").bounding_box()["width"] > 200


def opened_ones(cards):
    return [cards.nth(i).evaluate("card => card.open") for i in range(cards.count())]


@needs_chromium
def test_disagreements_follow_both_choices(report, opened, content):
    page = opened(report)
    only = data_of(report.read_text("utf-8"))["mistakes"]["g0"]["only"]
    pair = mistakes_of(content.groups[0]).pairs[0]
    part = page.locator("[data-disagree]")
    assert numbers(part)[1:] == [only[0][1], only[1][0], pair.wrong_alike, pair.wrong_apart]
    assert numbers(part)[4] > 0
    assert sum(numbers(part)) == 355
    part.locator("[data-side=b]").select_option("0")
    assert "Choose two different models." in part.text_content()
    part.locator("[data-side=a]").select_option("1")
    assert numbers(part)[1:3] == [only[1][0], only[0][1]]
    lists = part.locator("ul.tiles")
    totals = [only[1][0], only[0][1], pair.wrong_apart]
    held = [min(24, total) for total in totals]
    assert max(held) > 6
    assert [lists.nth(i).locator("li:visible").count() for i in range(3)] == [min(6, number) for number in held]
    more = part.get_by_role("button", name="Show all")
    assert more.all_text_contents() == [f"Show all {number}" for number in held if number > 6]
    more.first.click()
    assert page.evaluate("document.activeElement.matches('.tiles li:nth-child(7)')")
    first = next(i for i, number in enumerate(held) if number > 6)
    assert lists.nth(first).locator("li:visible").count() == held[first]
    assert [lists.nth(i).locator("li").count() for i in range(3)] == held
    assert lists.nth(2).locator(".says.wrong").count() == 2 * min(24, pair.wrong_apart)
    for item in lists.nth(2).locator("li").all():
        named = item.locator("bdi").all_text_contents()
        assert len(set(named)) == len(named) == 5  # two models, what each says, what it is
        assert named[:3:2] == [model.name for model in reversed(content.groups[0].models)]
    tile = lists.nth(1).locator(".tile").first
    assert tile.evaluate("tile => getComputedStyle(tile).backgroundImage").startswith('url("data:image/png')


def test_the_agreements_of_every_pair_stand_in_a_table(content):
    found = mistakes_of(content.groups[0])
    (pair,) = found.pairs
    html = render(content)
    row = re.search(r"How every two models agree.*?<tbody><tr[^>]*>(.*?)</tr>", html, re.S).group(1)
    cells = [int(text) for text in re.findall(r'class="n">(\d+)<', row)]
    assert cells == [pair.right, pair.only_first, pair.only_second, pair.wrong_alike, pair.wrong_apart]
    assert sum(cells) == len(found.labels_N)


def test_the_numbers_of_wrong_images_stand_in_the_page_and_are_cut_when_many(content, monkeypatch):
    wrong = mistakes_of(content.groups[0]).wrong
    listed = re.findall(r'<p class="numbers">([\d, ]+)</p>', render(content))
    assert [[int(number) for number in text.split(", ")] for text in listed] == [images.tolist() for images in wrong]
    assert f"Numbers of all {len(wrong[0])} images it has wrong" in render(content)
    monkeypatch.setattr(report_page, "MAX_NUMBERS", 3)
    html = render(content)
    assert f"Numbers of the 3 most confident of {len(wrong[0])} images it has wrong" in html
    assert f'<p class="numbers">{", ".join(map(str, wrong[0][:3]))}</p>' in html
    assert "without the others" in html


@needs_chromium
def test_a_list_of_two_models_that_is_cut_says_how_many_it_holds(content, opened, tmp_path, monkeypatch):
    monkeypatch.setattr("modelflow.report.mistakes.MAX_TILES", 30)
    found = mistakes_of(content.groups[0])
    path = tmp_path / "report.html"
    path.write_text(render(content), "utf-8")
    part = opened(path).locator("[data-outcome]")
    held = [len(images) for images in (found.surest_only[0, 1], found.surest_only[1, 0], found.surest_apart[0, 1])]
    lists = part.locator("ul.tiles")
    assert [lists.nth(i).locator("li").count() for i in range(3)] == held
    assert f"; the {held[0]} on which both are surest" in part.text_content()
    assert 1 < held[0] < min(24, found.only_MM[0, 1])


def numbers(part):
    return [int(text.replace(",", "")) for text in part.locator(".counts b").all_text_contents()]


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(hostile_report, opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(hostile_report, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    found = axe.run(page).response
    assert len(found["passes"]) > 20
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"]) for one in serious] == []


@needs_chromium
def test_light_and_dark_follow_the_system_then_the_button(report, opened):
    page = opened(report, color_scheme="dark")
    dark = background(page)
    button = page.locator("#theme")
    assert button.text_content().strip() == "Light mode"
    button.click()
    assert button.text_content().strip() == "Dark mode"
    assert background(page) != dark
    page.emulate_media(color_scheme="light")
    button.click()
    assert background(page) == dark
    page.emulate_media(media="print")
    assert background(page) == "rgb(255, 255, 255)"


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


@needs_chromium
def test_nothing_is_wider_than_a_phone(hostile_report, opened):
    page = opened(hostile_report, viewport={"width": 390, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    outside = """all => all.filter(e => !e.closest('.scroll, .contents, pre, svg, .hidden') &&
        e.getBoundingClientRect().right > 391).map(e => e.outerHTML.slice(0, 200))"""
    assert page.eval_on_selector_all("main *", outside) == []


PARTS = {
    "DepthwiseSeparableNetworkWide": "Depthwise Separable Network Wide",
    "residual_squeeze_small": "residual_ squeeze_ small",
}
LINES = """all => all.map(part => {
    const lines = [], along = getComputedStyle(part).writingMode === "horizontal-tb" ? "y" : "x";
    for (const walk = document.createTreeWalker(part, NodeFilter.SHOW_TEXT); walk.nextNode();) {
        for (let i = 0; i < walk.currentNode.length; i++) {
            const range = document.createRange();
            range.setStart(walk.currentNode, i);
            range.setEnd(walk.currentNode, i + 1);
            const [box] = range.getClientRects();
            if (!box) return null;
            if (!lines.length || lines.at(-1).at !== box[along]) lines.push({at: box[along], text: ""});
            lines.at(-1).text += walk.currentNode.data[i];
        }
    }
    return lines.map(line => line.text.trim()).join("|");
}).filter(Boolean)"""


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_long_names_of_models_break_where_their_parts_meet(content, opened, tmp_path, width):
    rng = np.random.default_rng(0)
    group = made_up(content, {name: rng.random((4, 355)) < 0.8 for name in (*PARTS, "plain")})
    path = tmp_path / "report.html"
    path.write_text(render(replace(content, groups=(group,), left_out=())), "utf-8")
    page = opened(path, viewport={"width": width, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    seen = page.eval_on_selector_all(".model bdi, .counts bdi, .disagree p bdi", LINES)
    ends = {"".join(parts[:i]) for parts in map(str.split, PARTS.values()) for i in range(1, 5)}
    begun = [line for name in seen for line in accumulated(name.split("|"))]
    assert len(seen) > 20
    assert set(begun) <= ends | {"plain"}
    labels = page.locator('[data-chart="g0-accuracy"] .role-axis-label text').all()
    texts = ["".join(label.locator("tspan").all_text_contents()) or label.text_content() for label in labels]
    assert {*PARTS, "plain"} <= set(texts)


def accumulated(lines):
    """The first line, the first two, and so on."""
    return ["".join(lines[: i + 1]) for i in range(len(lines))]


@needs_chromium
def test_class_names_are_whole_on_a_phone(opened, tmp_path, copied):
    names = ["T-shirt/top", "Ankle boot", "Chrysanthemum", "speed_limit_30", "Pullover", *"abcde"]
    for folder in [*run_folders_of(copied, "wide"), *run_folders_of(copied, "narrow")]:
        rename_classes(folder, names)
    path = tmp_path / "report.html"
    path.write_text(render(read_content(copied)), "utf-8")
    page = opened(path, viewport={"width": 390, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    cut = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)"
    for where in (".confusion th bdi", ".bars th bdi", ".answer-bar bdi", ".outputs bdi"):
        assert page.locator(where).count() >= 5
        assert page.eval_on_selector_all(where, f"{cut}.map(e => e.textContent)") == []
    for where in (".confusion tbody th bdi", ".bars th bdi", ".tiles .says bdi", "[data-summary] bdi"):
        lines = {part for text in page.eval_on_selector_all(where, LINES) for part in text.split("|")}
        assert lines <= {*names, "Ankle", "boot", "speed_limit_", "speed_", "limit_30", "30"}, where


@needs_chromium
def test_on_a_phone_all_of_the_navigation_is_seen_and_a_drawing_says_that_it_scrolls(report, opened):
    page = opened(report, viewport={"width": 390, "height": 844})
    for link in page.locator(".contents a, .contents summary, .contents button:visible").all():
        box = link.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    hint = page.get_by_text("Scroll the drawing sideways to see all of it.").first
    assert hint.is_visible()
    page.set_viewport_size({"width": 1280, "height": 844})
    assert not hint.is_visible()


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_the_bars_of_verdicts_stand_over_their_scale(content, opened, tmp_path, width):
    rng = np.random.default_rng(5)
    group = made_up(content, {name: rng.random((4, 355)) < share for name, share in SHARES.items()})
    rows, axis = report_page.verdict_rows(group)
    path = tmp_path / "report.html"
    path.write_text(render(replace(content, groups=(group,), left_out=())), "utf-8")
    table = opened(path, viewport={"width": width, "height": 844}).locator("table.verdicts").first
    assert table.locator("caption").bounding_box()["height"] < 60
    bar, scale = table.locator("td.span svg").first, table.locator(".ticks:visible").first
    boxes = bar.bounding_box(), scale.bounding_box()
    assert boxes[0]["x"] == pytest.approx(boxes[1]["x"], abs=1)
    assert boxes[0]["width"] == pytest.approx(boxes[1]["width"], abs=1)
    assert table.locator(".ticks:visible").count() == (1 if width == 1280 else len(rows))
    dot = bar.locator("circle").bounding_box()
    assert dot["x"] + dot["width"] / 2 - boxes[0]["x"] == pytest.approx(rows[0].middle / 100 * boxes[0]["width"], abs=1)
    middles = scale.evaluate(
        """svg => [...document.querySelectorAll('#g0-ticks text')].map(t => t.getAttribute('x'))"""
    )
    assert middles == [f"{at}%" for at, _ in axis.marks]


SHARES = {"a": 0.6, "b": 0.7, "c": 0.9}
OF_FONTS = "▲▼▶▸▾◀●■◆◐✓✗✔✘⚠★"


def test_no_mark_depends_on_a_font(copied):
    change(copied / "wide", warnings=["dead"])
    html = render(read_content(copied))
    scripts = [(report_page.TEMPLATES / f"{name}.js").read_text("utf-8") for name in report_page.SCRIPTS]
    own = html[: html.index("<script")] + "".join(scripts)
    assert not set(own) & set(OF_FONTS)
    assert "u2713" not in own
    assert html.count('href="#sign-warning"') == 2
    assert set(re.findall(r"#sign-([\w-]+)", own)) - {"${name}"} <= set(SIGNS)
    assert all(f'<symbol id="sign-{name}"' in html for name in SIGNS)


def test_legends_and_charts_have_the_same_marks(content):
    html = render(content)
    for model in content.models:
        legend = re.search(rf'<path d="([^"]+)" fill="currentColor"/></svg><bdi>{model.name}<', html).group(1)
        for name in ("g0-accuracy", "g0-cost-parameters", "g0-training"):
            spec = data_of(html)["charts"][name]
            shape = next(one["encoding"]["shape"]["scale"] for one in spec["layer"] if "shape" in one["encoding"])
            assert shape["range"][shape["domain"].index(model.name)] == legend


@needs_chromium
def test_hostile_names_are_shown_as_text(hostile_report, opened):
    page = opened(hostile_report)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("script").count() == 2
    text = page.locator("main").text_content()
    assert all(name in text for name in (HOSTILE[0], HOSTILE[4], HOSTILE[5], HOSTILE[9], "(no name)", "evil שלום"))
    assert page.locator(".notice.bad").first.text_content().count(HOSTILE[0]) == 1
    page.locator("[data-confusion] tbody td").first.focus()
    assert page.locator("[data-readout]").first.text_content().startswith(f"{HOSTILE[0]} recognised: ")


@needs_chromium
def test_hostile_names_of_models_are_text_and_fit_a_phone(content, opened, tmp_path):
    rng = np.random.default_rng(0)
    names = [*HOSTILE, "x" * 100]
    group = made_up(content, {name: rng.random((2, 355)) < 0.5 + 0.04 * i for i, name in enumerate(names)})
    path = tmp_path / "report.html"
    path.write_text(render(Content(content.folder, (group,), (("<b>", "<i>why</i>"),))), "utf-8")
    page = opened(path, viewport={"width": 390, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("img[src=x], main b:has-text('<'), main i").count() == 0
    labels = page.locator("#learning [data-filter] label").all_text_contents()
    assert {HOSTILE[0], HOSTILE[4], "x" * 100} <= {label.strip() for label in labels}
    page.locator("[data-side=a]").select_option(label=HOSTILE[0])
    assert HOSTILE[0] in page.locator("[data-outcome]").text_content()
    page.locator("#learning [data-filter] input").first.uncheck()


@needs_chromium
def test_the_skip_link_is_the_first_stop_and_leads_to_the_report(report, opened):
    page = opened(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@needs_chromium
def test_only_what_is_open_is_printed(report, opened):
    page = opened(report)
    cards = page.locator("#models > .card")
    assert "Only what is open is printed" in page.locator("#models > .screen").all_text_contents()[1]
    few = pages_of(page.pdf(format="A4"))
    assert opened_ones(cards) == [True, False]
    page.emulate_media(media="print")
    assert page.locator("summary", has_text="How to read this").is_hidden()
    assert cards.nth(1).locator("summary").first.is_visible()
    assert page.locator("#models > .screen").nth(1).is_hidden()
    page.emulate_media(media="screen")
    page.get_by_role("button", name="Open all").click()
    assert pages_of(page.pdf(format="A4")) > few


def pages_of(pdf):
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


# --- colours ---------------------------------------------------------------------------------------------------------

SEEN_BY = {  # Machado, Oliveira and Fernandes (2009): all three cones, and each one missing
    "all": np.eye(3),
    "protanopes": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopes": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopes": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_LMS = np.array(
    [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.68069954, 0.10739696], [0.08830246, 0.28171884, 0.6299787]]
)
TO_OKLAB = np.array(
    [[0.21045426, 0.79361778, -0.00407205], [1.9779985, -2.4285922, 0.4505937], [0.02590404, 0.78277177, -0.80867577]]
)


def linear(colour):
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def colours(side):
    css = (Path(report_page.TEMPLATES) / "report.css").read_text("utf-8")
    return {name: pair.split(", ")[side] for name, pair in re.findall(r"--([\w-]+): light-dark\(([^)]+)\)", css)}


@pytest.mark.parametrize("side", [0, 1], ids=["light", "dark"])
def test_the_colours_of_models_stand_out_and_differ_for_everyone(side):
    named = colours(side)
    models = [linear(named[f"m{i}"]) for i in range(8)]
    for behind in ("page", "surface"):
        for colour in models:
            dim, bright = sorted(float(c @ [0.2126, 0.7152, 0.0722]) for c in (colour, linear(named[behind])))
            assert (bright + 0.05) / (dim + 0.05) >= 3
    for seen in SEEN_BY.values():
        places = [TO_OKLAB @ np.cbrt(TO_LMS @ np.clip(np.asarray(seen) @ colour, 0, 1)) for colour in models]
        apart = [np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i]]
        assert min(apart) > 0.07


def test_a_model_has_one_hue_in_light_and_dark():
    """In OKLCH, within 16 degrees; the last one is grey in both."""
    light, dark = colours(0), colours(1)
    for i in range(7):
        pair = [TO_OKLAB @ np.cbrt(TO_LMS @ linear(side[f"m{i}"])) for side in (light, dark)]
        first, second = (np.degrees(np.arctan2(b, a)) for _, a, b in pair)
        assert abs((first - second + 180) % 360 - 180) < 16, i
    for side in (light, dark):
        assert np.hypot(*(TO_OKLAB @ np.cbrt(TO_LMS @ linear(side["m7"])))[1:]) < 0.02
