"""LaTeX for papers: its structure, what is escaped, and, where LaTeX is at hand, what it prints."""

import re
import shutil
import string
import subprocess

import pytest

from modelflow.io.faces.latex import document_part
from modelflow.io.faces.table import Table
from modelflow.text import latex, plain
from report_studies import HOSTILE

needs_latex = pytest.mark.skipif(
    not (shutil.which("pdflatex") and shutil.which("pdftotext")), reason="needs pdflatex and pdftotext"
)
PRINTABLE = string.punctuation
AT_THE_START = ["% all gone", "[2pt] x", "*", "a--b", "--- x"]
OF_LATEX = r"\_ 50 % {x} $y$ #1 a&b ~ ^ \input{/etc/passwd} --- ''  `` ,, << >> ?` [1] * | @"


def test_the_parts_of_a_table_follow_each_other():
    text = document_part(Table(("Model", "n"), [("a_b", "5"), ("c", "3")], 1, "Accuracy, n = 5", "The method."))
    lines = [line.strip() for line in text.splitlines()]
    assert lines == [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\caption{Accuracy, n = 5. The method.}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"Model & n \\",
        r"\midrule",
        r"a\_b & 5 \\",
        r"c & 3 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


@pytest.mark.parametrize(
    "name",
    [*HOSTILE, OF_LATEX, PRINTABLE, "% all gone", "[2pt] x", "*", "a--b", "\u00a3 \u00b1 \u2212 \u00d7 \u2020 \u2026"],
)
def test_no_name_is_obeyed(name):
    text = latex(name)
    left = re.sub(r"\\(?:[{}$&#_%]|[a-z]+\{\}|(?:pm|times|to)(?=\$))|\{[\[\]*]\}|\{\}|\{''\}|\$-\$", "", text)
    assert not set(left.replace("$$", "")) & set(r"\{}&#_%~^")
    assert "\n" not in text
    document = document_part(Table((name, "n"), [(name, name)] * 3, 1, name, name))
    rows = re.findall(r"^    (.*) \\\\$", document, re.M)
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1] * 4


@needs_latex
@pytest.mark.parametrize("name", [PRINTABLE, OF_LATEX, *AT_THE_START, HOSTILE[4]])
def test_latex_prints_names_as_they_stand(name, tmp_path):
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}\begin{document}\thispagestyle{empty}"
    body = document_part(Table(("Model", "n"), [("first", "1"), (name, "2")], 1, "Caption"))
    (tmp_path / "page.tex").write_text(f"{head}\n{body}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:]
    subprocess.run(["pdftotext", "-layout", "page.pdf"], cwd=tmp_path, check=True)
    printed = (tmp_path / "page.txt").read_text("utf-8")
    row = next(line for line in printed.splitlines() if re.search(r"\s2\s*$", line))
    assert _same(row.rsplit("2", 1)[0]) == _same(plain(name))


FORMS = {  # of one mark, as fonts without a map to Unicode have them
    "'": "\u2019\u2018\u2032`\u00b4",
    "''": '\u201c\u201d\x11"',
    "-": "\u2010\u2011\u2212",
    "~": "\u02dc\u223c",
    "^": "\u02c6",
    "*": "\u2217",
}


def _same(text):
    """Without spaces, each quotation mark and dash in one form."""
    for one, marks in FORMS.items():
        text = re.sub(f"[{marks}]", one, text)
    return "".join(text.split())
