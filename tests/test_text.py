"""Texts of any origin: what a terminal obeys, what Markdown reads, what a spreadsheet computes."""

import csv
import io
import json
import sys

import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt

from modelflow.analysis.leaderboard import as_csv, as_markdown, leaderboard
from modelflow.cli import cli, run_command, terminal
from modelflow.errors import DataError
from modelflow.results.layout import csv_text, write_run
from modelflow.results.records import DataRecord
from modelflow.text import cell, ended, escaped, one_line, sentence, uncell, visible
from small import a_run

TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
OBEYED = "\x00\x07\x08\t\r\x1b\x7f\x85\x9b\u2028\u2029" + TURNING
HOSTILE = "held-out\n\n# A heading\n<img src=x onerror=alert(1)> [link](http://evil.example) \u202egnp.exe"


def test_a_terminal_obeys_nothing_that_is_visible():
    assert visible("a\x1b[31mb\u202ec") == r"a\x1b[31mb\u202ec"
    assert not set(visible(OBEYED)) & set(OBEYED)
    assert visible("two\nlines, שלום") == "two\nlines, שלום"
    assert one_line("a\nb") == r"a\nb"


@pytest.mark.parametrize("show", [terminal.say, terminal.log, terminal.fail])
def test_every_line_on_the_terminal_is_visible(show, capsys):
    show(f"name {OBEYED}")
    out, err = capsys.readouterr()
    assert "name" in out + err
    assert not set(out + err) & set(OBEYED)


def test_every_cell_on_the_terminal_is_visible(capsys):
    terminal.table((f"a{TURNING}", "b"), [(f"x{OBEYED}", "1")], f"title{OBEYED}")
    assert not set(capsys.readouterr().out) & set(OBEYED)


def test_what_click_says_of_arguments_is_visible(capsys):
    assert run_command(["report", "a", "b\u202e\x07"]) == 2
    told = capsys.readouterr().err
    assert r"unexpected extra argument (b\u202e\x07)" in told
    assert not set(told) & set(OBEYED)


def test_an_error_turns_no_text():
    assert str(DataError("a\u202eb")) == r"a\u202eb"


@pytest.mark.parametrize(
    "text", ["- a", "+ a", "1. a", "12) a", "===", "---", "# a", "> a", "    a", "* a", "~~~", "-"]
)
def test_no_text_begins_a_block_of_markdown(text):
    for before in ("", "a paragraph\n"):
        kinds = {token.type for token in MarkdownIt("commonmark").parse(before + escaped(text))}
        assert kinds == {"paragraph_open", "inline", "paragraph_close"}


@pytest.mark.parametrize("text", ["-0.52", "+1.00", "1.5", "2026", "a - b", "87.72 ± 0.41"])
def test_numbers_stay_as_they_are_in_markdown(text):
    assert escaped(text) == text


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "-", "'=1", "''@"])
def test_no_text_is_a_formula_and_each_is_read_back(text):
    assert cell(text)[0] == "'"
    assert uncell(cell(text)) == text


@pytest.mark.parametrize("value", [-1, -0.5, 3, "-1", "+2.5", "-1e-5", ".5", "a=b", "T-shirt/top", "'quoted'", ""])
def test_numbers_and_other_texts_stay(value):
    assert cell(value) == value
    assert uncell(str(value)) == str(value)


def test_a_header_and_cells_are_guarded():
    text = csv_text(("=a", "b"), [("@x", -1.5), (None, "=2")])
    assert list(csv.reader(io.StringIO(text))) == [["'=a", "b"], ["'@x", "-1.5"], ["", "'=2"]]


@pytest.fixture
def hostile(tmp_path):
    """Two runs from elsewhere, whose protocol and data are not called as ours."""
    for name, protocol in (("a", HOSTILE), ("b", "held-out")):
        data = DataRecord(name=f"=1+1 {HOSTILE}", training_images=1, validation_images=None)
        write_run(tmp_path / name, a_run(model_name=name, protocol=protocol, data=data))
    return tmp_path


def test_a_leaderboard_from_elsewhere_is_a_table_and_nothing_else(hostile):
    parsed = MarkdownIt("commonmark", {"linkify": True}).enable("table").parse(as_markdown(leaderboard(hostile)))
    tokens = [child for token in parsed for child in (token, *(token.children or ()))]
    kinds = {token.type for token in tokens}
    assert "table_open" in kinds
    assert not kinds & {"heading_open", "html_block", "html_inline", "link_open", "image"}
    rows = list(csv.DictReader(io.StringIO(as_csv(leaderboard(hostile)))))
    assert all(row["data"].startswith("'=1+1") for row in rows)


def test_the_terminal_shows_runs_from_elsewhere_without_lines_of_theirs(hostile):
    for command in ("leaderboard", "report"):
        done = CliRunner().invoke(cli, [command, str(hostile)])
        assert done.exit_code == 0, done.output
        assert not any(line.startswith(("# A heading", "<img")) for line in done.output.splitlines())
        assert not set(done.output) & set(TURNING)


def test_the_csv_is_right_in_a_file_and_forges_nothing_in_a_terminal(hostile, capsys, monkeypatch):
    command = ["leaderboard", str(hostile), "--csv"]
    assert run_command(command) == 0
    into_a_file = capsys.readouterr().out
    assert into_a_file == as_csv(leaderboard(hostile))
    assert "\n# A heading" in into_a_file
    assert "\u202e" in into_a_file
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run_command(command) == 0
    shown = capsys.readouterr().out
    assert not set(shown) & (set(OBEYED) - {"\n"})
    assert len(shown.splitlines()) == 1 + len(leaderboard(hostile))
    rows = [list(csv.DictReader(io.StringIO(text))) for text in (into_a_file, shown)]
    assert rows[1] == [{name: one_line(value) for name, value in row.items()} for row in rows[0]]


def test_json_is_harmless_in_a_terminal_and_right(capsys):
    data = {"a": OBEYED, "b": HOSTILE}
    terminal.say_json(data)
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert not set(shown) & (set(OBEYED) - {"\n"})
    assert json.loads(shown) == data


@pytest.mark.parametrize(
    ("text", "whole"),
    [("it is cut", "It is cut."), ("add it.", "Add it."), ("is it this?", "Is it this?"), ("x = A", "X = A.")],
)
def test_what_is_put_together_begins_with_a_capital_and_ends_once(text, whole):
    assert sentence(ended(text)) == ended(sentence(text)) == ended(ValueError(whole)) == whole
    assert sentence("") == ""
