"""Reports of the studies of tests, opened in a real browser without a network."""

import shutil
from pathlib import Path

import pytest

from chromium import CHROMIUM, FLAGS
from modelflow.studies.pages import write_pages
from report_studies import HOSTILE, change, rename_classes, run_folders_of


def write_report(folder):
    write_pages(folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test installs it")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def hostile_report(results, tmp_path_factory) -> Path:
    """The report of the study with hostile class names, a dead run, and a warning with markup."""
    copy = Path(shutil.copytree(results, tmp_path_factory.mktemp("hostile") / "results"))
    for folder in [*run_folders_of(copy, "wide"), *run_folders_of(copy, "narrow")]:
        rename_classes(folder, HOSTILE)
    change(copy / "narrow", warnings=[f"96 % of the images are called {HOSTILE[0]!r}"], notes=[HOSTILE[4]])
    return write_report(copy)


@pytest.fixture
def opened(browser):
    """Opens a report in a context of its own, offline; afterwards nothing may have gone wrong or been asked for."""
    contexts, wrong = [], []

    def open_(path, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda one: one.url.startswith(("file:", "data:")) or wrong.append(f"request: {one.url}"))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=true]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def report(results) -> Path:
    return write_report(results)
