"""The page while a study trains, in a browser: it brings itself up to date and keeps what the reader chose."""

from dataclasses import replace

import pytest

from chromium import needs_chromium
from modelflow.report import page as report_page
from modelflow.report.page import render

MISSING = "1 of the 4 runs that study.json asks for are not finished: wide (seed 43). Give the same command again."


@pytest.fixture
def _quick(monkeypatch):
    """The page looks for news after half a second, and needs no rest of the hand."""
    script = report_page._script()
    for usual, quick in (("const FIRST = 10;", "const FIRST = 0.5;"), ("REST = 3;", "REST = 0.2;")):
        script = script.replace(usual, quick)
    monkeypatch.setattr(report_page, "_script", lambda: script)


@pytest.fixture
def so_far(content):
    """The study with one run to come."""
    (group,) = content.groups
    models = tuple(replace(m, seeds=m.seeds[:1]) if m.name == "wide" else m for m in group.models)
    return replace(content, groups=(replace(group, models=models),), missing=MISSING)


def write(path, content, training):
    path.write_text(render(content, training=training), "utf-8")


def mark(page):
    page.evaluate("document.documentElement.dataset.marked = ''")


def wait_for_reload(page):
    """Until the page is another one than that which was marked, and complete."""
    page.wait_for_selector("html:not([data-marked])[data-ready=true]", timeout=20_000)


def stays(page):
    mark(page)
    page.wait_for_timeout(2500)
    return page.locator("html[data-marked]").count() == 1


@needs_chromium
@pytest.mark.usefixtures("_quick")
def test_it_becomes_the_finished_page_in_the_same_place(content, so_far, opened, tmp_path):
    path = tmp_path / "report.html"
    write(path, so_far, training=True)
    page = opened(path)
    page.get_by_role("button", name="Pause updating").click()
    assert page.get_by_text("1 of the 4 runs that study.json asks for").is_visible()
    assert page.get_by_text("This page brings itself up to date while they train.").is_visible()
    page.get_by_label("MACs").check()
    page.locator("#theme").click()
    shown = page.locator("#learning [data-filter]")
    shown.get_by_label("narrow").uncheck()
    shown.get_by_label("narrow").check()
    shown.get_by_label("wide").uncheck()
    card = page.locator("#models > .card", has_text="narrow")
    if not card.evaluate("part => part.open"):
        card.locator("summary").first.click()
    table = card.locator("summary", has_text="Layers as a table")
    table.click()
    page.locator("[data-inside=seed]").select_option(label="43")
    page.locator(".pick").nth(3).click()
    picked = page.locator(".pick").nth(3).get_attribute("aria-label")
    table.focus()
    table.evaluate("part => part.scrollIntoView({block: 'center'})")
    before = table.bounding_box()["y"]
    write(path, content, training=False)
    mark(page)
    page.evaluate("document.querySelector('[data-training] button').click()")
    wait_for_reload(page)
    assert page.locator("[data-training]").count() == 0
    call = "all => all.filter(part => !part.hidden).map(part => part.dataset.cost)"
    assert page.eval_on_selector_all("[data-cost]", call) == ["g0-macs"]
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert not shown.get_by_label("wide").is_checked()
    assert shown.get_by_label("narrow").is_checked()
    assert table.evaluate("part => part.parentElement.open")
    chosen = "part => part.selectedOptions[0].textContent"
    assert page.locator("[data-inside=model]").evaluate(chosen) == "narrow"
    assert page.locator("[data-inside=seed]").evaluate(chosen) == "43"
    assert page.locator('.pick[aria-checked="true"]').get_attribute("aria-label") == picked
    assert page.evaluate("document.activeElement.textContent") == "Layers as a table"
    assert table.bounding_box()["y"] == pytest.approx(before, abs=3)
    assert stays(page)


@needs_chromium
@pytest.mark.usefixtures("_quick")
def test_it_waits_while_the_reader_draws_or_has_paused_it(so_far, opened, tmp_path):
    path = tmp_path / "report.html"
    write(path, so_far, training=True)
    page = opened(path)
    page.get_by_role("button", name="Blank board").click()
    page.wait_for_selector("html[data-ready=true]")
    if page.locator("[data-try][data-origin=drawing]").count() == 0:  # it reloaded meanwhile
        page.get_by_role("button", name="Blank board").click()
    assert stays(page)
    page.locator(".pick").nth(1).click()  # nothing was drawn
    wait_for_reload(page)
    page.get_by_role("button", name="Pause updating").click()
    page.get_by_role("button", name="Resume updating").wait_for()
    assert stays(page)


@needs_chromium
@pytest.mark.usefixtures("_quick")
def test_it_does_not_lose_a_drawing_that_is_kept(so_far, opened, tmp_path):
    path = tmp_path / "report.html"
    write(path, so_far, training=True)
    page = opened(path)
    page.evaluate("document.querySelector('[data-training] button').click()")  # paused
    page.locator("[data-board]").focus()
    page.keyboard.press("Space")
    page.locator(".pick").nth(1).click()
    page.get_by_role("button", name="Resume updating").click()
    assert stays(page)


def test_only_a_page_that_is_written_while_runs_train_follows(content, so_far):
    assert "data-training=" not in body(render(so_far))
    assert "data-training=" not in body(render(content, training=True))  # nothing is missing
    assert 'data-training="3"' in body(render(so_far, training=True))


def body(html):
    return html[: html.index("<script")]
