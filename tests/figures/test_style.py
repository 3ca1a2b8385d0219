import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from modelflow.figures import style
from modelflow.figures.confusion import plot_confusion_matrix
from modelflow.figures.losses import plot_losses


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("T-shirt/top", "T-shirt/top"),
        ("$x$", r"\$x\$"),
        ("", style.NO_NAME),
        (" \n\t ", style.NO_NAME),
        ("a\nb\x00c", "a b c"),
        ("\u202eevil\u202c", "evil"),
        ("あ", style.REPLACEMENT),
        (7, "7"),
    ],
)
def test_a_label_shows_its_name_as_it_stands(name, shown):
    assert style.label(name) == shown


def test_a_long_label_is_cut_with_an_ellipsis():
    assert style.label("a" * 100, 10) == "a" * 9 + "…"


def test_a_label_cut_at_its_dollar_stays_escaped():
    assert style.label("$" * 50, 5) == r"\$\$\$\$…"


def test_a_long_title_is_broken_into_lines_that_fit():
    lines = style.heading("word " * 60).split("\n")
    assert len(lines) == 3
    assert max(map(len, lines)) <= 70


def test_the_same_picture_has_the_same_bytes_and_tells_neither_date_nor_version():
    first, second = (style.png(plot_losses([2.0, 1.0], [1.5, 1.2], "t")) for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert b"matplotlib" not in first.lower()
    assert b"tEXt" not in first
    assert b"tIME" not in first


def test_matplotlibs_settings_are_left_as_they_were_and_do_not_leak_in():
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "axes.grid": True, "savefig.dpi": 10}):
        before = dict(matplotlib.rcParams)
        odd = style.png(plot_losses([2.0, 1.0], [], "t"))
        assert dict(matplotlib.rcParams) == before
    assert odd == style.png(plot_losses([2.0, 1.0], [], "t"))


@pytest.mark.filterwarnings("error")
def test_hostile_names_and_titles_draw_without_a_warning(hostile_names):
    for title in hostile_names:
        style.png(plot_losses([1.0], [1.0], title, title))
    style.png(plot_confusion_matrix(np.eye(10), hostile_names, "t", warning=" ".join(hostile_names)))


def test_drawing_needs_neither_torch_nor_pyplot():
    modules = ["style", "tiles", "losses", "confusion", "filters", "outputs", "lr_finder", "samples", "pareto"]
    imports = "; ".join(f"import modelflow.figures.{module}" for module in modules)
    check = f"{imports}; import sys; assert not {{'torch', 'matplotlib.pyplot'}} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
