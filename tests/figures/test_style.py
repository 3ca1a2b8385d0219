import io
import subprocess
import sys
import threading

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

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


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("T-shirt/top", ["T-shirt/", "top"]),
        ("Ankle boot", ["Ankle", "boot"]),
        ("Pullover", ["Pullover"]),
        ("WWWWWWWWW", ["WWWW", "WWW…"]),
        ("one two three four five six", ["one two", "three f…"]),
        ("", ["(no", "name)"]),
    ],
)
def test_a_name_is_folded_into_two_lines_of_a_width(text, lines):
    found = style.folded(text, 42)
    assert found == lines
    assert max(map(style.text_width, found)) <= 42


def test_a_text_is_as_wide_as_matplotlib_draws_it():
    figure = plot_losses([1.0], [], "t")
    figure.set_dpi(style.DPI)
    drawn = figure.text(0, 0, "Pullover, Wombat", fontsize=9)
    width = drawn.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width * 72 / style.DPI
    assert style.text_width("Pullover, Wombat", 9) == pytest.approx(width, rel=0.03)


def test_a_dark_picture_has_bright_text_on_a_dark_page_and_the_next_is_light_again():
    def corner_and_brightest(picture):
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
        return pixels[0, 0], pixels.max()

    usual = style.png(plot_losses([1.0], [1.0], "t"))
    with style.dark():
        figure = plot_losses([1.0], [1.0], "t")
    corner, brightest = corner_and_brightest(style.png(figure))
    assert corner < 30
    assert brightest > 200
    assert style.png(plot_losses([1.0], [1.0], "t")) == usual
    assert corner_and_brightest(usual)[0] == 255


def test_a_png_shows_what_matplotlib_saves():
    figure = plot_losses([2.0, 1.0], [1.5, 1.2], "t")
    ours = np.asarray(Image.open(io.BytesIO(style.png(figure))))
    theirs = io.BytesIO()
    with matplotlib.rc_context(style.LOOK):
        figure.savefig(theirs, format="png", dpi=style.DPI)
    np.testing.assert_array_equal(ours, np.asarray(Image.open(theirs).convert("RGB")))


def test_a_figure_is_left_on_its_canvas_at_its_resolution():
    figure = plot_losses([2.0, 1.0], [], "t")
    canvas, size, dpi = figure.canvas, tuple(figure.get_size_inches()), figure.dpi
    assert style.png(figure) == style.png(figure)
    assert (figure.canvas, tuple(figure.get_size_inches()), figure.dpi) == (canvas, size, dpi)


@pytest.mark.parametrize("dpi", [50, 250])
def test_axes_are_as_large_as_their_words_leave_room(dpi):
    figure, axes = style.one_axes("title", 3.0, note="note", below=0.5)
    figure.set_dpi(dpi)
    axes.plot([0, 1e6])
    axes.ticklabel_format(style="plain")
    figure.draw_without_rendering()
    (left, bottom, right, top), margin = axes.get_tightbbox().extents / dpi, style.MARGIN
    assert (left, bottom, right) == pytest.approx((margin, margin + 0.5, style.WIDTH - margin), abs=0.05)
    assert 3.0 - 5 * margin < top < 3.0 - 2 * margin


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


def as_a_notebook_shows_it(figure):
    """What IPython does with a cell's value, and its backend with a figure; `NotImplementedError`: as any figure."""
    with pytest.raises(NotImplementedError):
        figure._ipython_display_()


@pytest.mark.parametrize(("backend", "left"), [("module://matplotlib_inline.backend_inline", 0), ("qtagg", 1)])
def test_a_notebook_that_has_shown_a_figure_as_a_value_does_not_show_it_at_the_cells_end(monkeypatch, backend, left):
    plt.close("all")
    with style.for_pyplot():
        figure = plot_losses([2.0, 1.0], [], "t")
    assert plt.get_fignums() == [figure.number]
    monkeypatch.setattr(style, "get_backend", lambda: backend)
    as_a_notebook_shows_it(figure)
    assert len(plt.get_fignums()) == left
    as_a_notebook_shows_it(figure)  # in a later cell
    assert style.png(figure).startswith(b"\x89PNG")
    plt.close("all")


def test_figures_are_nobodys_but_within_for_pyplot():
    plt.close("all")
    figure = plot_losses([2.0, 1.0], [], "t")
    assert plt.get_fignums() == []
    with style.for_pyplot():
        same = plot_losses([2.0, 1.0], [], "t")
    assert style.png(same) == style.png(figure)
    plt.close("all")


def test_threads_draw_the_same_bytes_and_leave_the_settings_alone():
    before = dict(matplotlib.rcParams)
    wanted, found = style.png(plot_losses([2.0, 1.0], [], "t")), []
    threads = [
        threading.Thread(target=lambda: found.extend(style.png(plot_losses([2.0, 1.0], [], "t")) for _ in range(5)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 20
    assert dict(matplotlib.rcParams) == before


def test_what_a_matplotlibrc_sets_changes_no_picture():
    def drawn():
        return style.png(plot_losses([1.0, 0.5], [1.1, 0.6], "losses"))

    usual = drawn()
    with matplotlib.rc_context({"xtick.labelsize": 1e9, "figure.subplot.left": 0.9, "axes.titlesize": 30}):
        assert drawn() == usual
