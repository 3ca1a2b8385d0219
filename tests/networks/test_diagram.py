import re
import subprocess
import sys
import time
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelflow.errors import ShapeError
from modelflow.networks.description import Spec, parse_spec
from modelflow.networks.diagram import TIMES, WIDTH, steps, svg, text
from modelflow.networks.resolve import CARD, preset
from modelflow.networks.trace import Trace, trace

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ["<script>alert(1)</script>", "]]>&amp;\"'", "\x00\x1b\ud800\ufffe", "\u202eevil", "שלום", "", "x" * 5000]
MANY = Spec(in_channels=1, num_classes=3, cov_kernel_sizes=[1] * 60, max_pool_sizes=[1] * 60, fc_sizes=[7] * 30)


def some_trace(blocks: int, channels: int, units: list[int], p: float, size: int) -> Trace | None:
    sizes = {"cov_features": [channels] * blocks, "cov_kernel_sizes": [3] * blocks, "max_pool_sizes": [1] * blocks}
    spec = Spec(in_channels=3, num_classes=5, input_size=size, fc_sizes=units, p=p, **sizes)
    try:
        return trace(spec, max_parameters=10**15)
    except ShapeError:
        return None


ITEMS = ["c16", "s24e4/2", "(c8 c8-act)r+conv", "((c24)r+conv c24-act)r+conv", "2*(c8 (c8)r)", "e4", "m2"]
LAYERS = st.lists(st.sampled_from(ITEMS), max_size=4).map(
    lambda items: " ".join(["c999", *items, "gap fc40drop0.25 fc"])
)


TRACES = st.builds(
    some_trace,
    st.integers(1, 12),
    st.integers(1, 5000),
    st.lists(st.integers(1, 100_000), max_size=12),
    st.floats(0, 0.99),
    st.integers(3, 2000),
).filter(lambda traced: traced is not None)


def test_steps_tell_what_is_done_in_the_order_of_the_forward_pass():
    told = [(step.name, step.operations, step.shape) for step in steps(trace(preset("cnn2_5")))]
    assert told == [
        ("input", (), (1, 28, 28)),
        ("conv1", (f"conv 3{TIMES}3", "ReLU"), (5, 26, 26)),
        ("pool1", (f"max-pool 2{TIMES}2",), (5, 13, 13)),
        ("conv2", (f"conv 3{TIMES}3", "ReLU"), (5, 11, 11)),
        ("pool2", (f"max-pool 2{TIMES}2",), (5, 5, 5)),
        ("flatten", ("flatten",), (125,)),
        ("fc1", ("dropout 0.3", "linear", "ReLU"), (50,)),
        ("fc2", ("dropout 0.3", "linear"), (10,)),
    ]


def words_of(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", CARD)
def test_the_picture_says_all_of_every_layer(name):
    traced = trace(preset(name))
    words = words_of(svg(traced, name))
    for layer in traced.layers:
        assert layer.name in words
        assert TIMES.join(map(str, layer.output_shape)) in words or f"{layer.output_shape[0]:,} units" in words
        if layer.parameters:
            assert f"{layer.parameters:,} parameters" in words
    assert f"{traced.parameters:,} parameters · {traced.macs:,} multiply-accumulates (MACs) per image" in words
    assert words.count("dropout 0.3") == sum("dropout 0.3" in layer.operations for layer in traced.layers)


def test_the_base_model_stands_on_one_row_and_ten_layers_wrap():
    one, three = (ElementTree.fromstring(svg(trace(preset(name)), name)) for name in ("generic_0", "generic_3"))
    assert int(one.get("height")) < 400
    assert int(three.get("height")) > 700
    assert one.get("width") == three.get("width") == str(WIDTH)


@pytest.mark.parametrize("title", HOSTILE)
def test_a_hostile_title_is_text_in_well_formed_xml(title):
    root = ElementTree.fromstring(svg(trace(preset("generic_2")), title))
    assert {element.tag for element in root.iter()} <= {
        SVG + tag for tag in ["svg", "title", "desc", "rect", "text", "path", "circle"]
    }
    shown = "".join(c for c in title if c.isprintable()).strip()
    assert root.findtext(f"{SVG}title") == (shown or "(no name)")


def test_screen_readers_get_a_title_and_a_description():
    root = ElementTree.fromstring(svg(trace(preset("generic_2")), "generic_2"))
    assert (root.get("role"), root.get("aria-label")) == ("img", "generic_2")
    description = root.findtext(f"{SVG}desc")
    assert f"conv_layers.0: conv 5{TIMES}5, then ReLU, gives 4{TIMES}24{TIMES}24" in description
    assert "fc_layers.0: dropout 0.3, then linear, then ReLU, gives 20" in description


def test_the_picture_stands_alone_and_several_can_stand_on_one_page():
    picture = svg(trace(preset("generic_1")), "t")
    assert not re.search(r"\bid=|href|url\(|<style|<script", picture)


@settings(max_examples=40)
@given(TRACES)
def test_nothing_lies_outside_the_page(traced):
    root = ElementTree.fromstring(svg(traced, "t"))
    height = float(root.get("height"))
    for element in root.findall(f"{SVG}rect[@x]"):
        x, y, across, down = (float(element.get(key)) for key in ("x", "y", "width", "height"))
        assert 0 <= x < x + across <= WIDTH
        assert 0 <= y < y + down <= height
    for element in root.iter(f"{SVG}text"):
        assert 0 <= float(element.get("x")) <= WIDTH
        assert 0 <= float(element.get("y")) <= height


@settings(max_examples=60)
@given(TRACES)
def test_the_text_is_at_most_a_hundred_columns_wide_and_has_a_line_for_every_layer(traced):
    lines = text(traced).splitlines()
    assert max(map(len, lines)) <= 100
    for layer, line in zip(traced.layers, lines[1:], strict=False):
        assert TIMES.join(map(str, layer.output_shape)) in line


def test_the_text_of_the_base_model():
    assert text(trace(preset("generic_2"))).replace(TIMES, "x").splitlines() == [
        "┌─▶ input                        1x28x28                                        ████████████",
        "├─▶ conv 5x5 → ReLU              4x24x24  conv_layers.0         104 parameters  ██████████",
        "├─▶ max-pool 2x2                 4x12x12  max_pool_layers.0                     █████",
        "├─▶ flatten                          576                                        ▪▪▪▪▪▪▪▪▪▪▪▪",
        "├─▶ dropout 0.3 → linear → ReLU       20  fc_layers.0        11,540 parameters  ▪",
        "└─▶ linear                            10  fc_layers.1           210 parameters  ▪",
        "",
        "11,854 parameters · 69,320 multiply-accumulates (MACs) per image",
        "Bars: side of the maps █, number of units ▪.",
    ]


def test_a_dropout_of_any_share_stays_on_its_line():
    traced = some_trace(1, 163, [227], 2.23e-308, 522)
    assert len(text(traced).splitlines()) == len(traced.layers) + 1 + 3


def test_the_text_of_a_residual_shows_what_is_added_where():
    traced = trace(parse_spec({"layers": "c8/2 ((c8)r c8-act)r gap fc"}))
    drawn = [line.split("  ")[0] for line in text(traced).replace(TIMES, "x").splitlines()]
    assert drawn[:8] == [
        "┌─▶ input",
        "├─▶ conv 3x3, stride 2 → batch norm → ReLU",
        "├─▶ ╎ ╎ conv 3x3 → batch norm → ReLU",
        "├─▶ ╎ ╰ add input → ReLU",
        "├─▶ ╎ conv 3x3 → batch norm",
        "├─▶ ╰ add input → ReLU",
        "├─▶ global average pool",
        "└─▶ linear",
    ]


@settings(max_examples=100, deadline=None)
@given(LAYERS)
def test_no_number_is_cut_however_long_the_operations(items):
    traced = trace(parse_spec({"layers": items}))
    drawn = text(traced)
    assert "…" not in drawn
    assert max(map(len, drawn.splitlines())) <= 100
    for _, layer in traced.rows():
        for operation in layer.operations:
            assert re.sub(r"(\d)x(\d)", rf"\1{TIMES}\2", operation) in drawn
        if layer.own_parameters and layer.operations:
            assert f"{layer.own_parameters:,} parameters" in drawn


@settings(max_examples=100, deadline=None)
@given(LAYERS)
def test_a_dashed_line_leads_past_each_residual_and_stays_on_the_page(items):
    traced = trace(parse_spec({"layers": items}))
    root = ElementTree.fromstring(svg(traced, "t"))
    skips = [path.get("d") for path in root.iter(f"{SVG}path") if path.get("stroke-dasharray") == "5 3"]
    assert len(skips) == sum(layer.kind == "residual" for _, layer in traced.rows())
    for line in skips:
        assert all(0 <= float(x) <= WIDTH for x in re.findall(r"[MH]([-\d.]+)", line))
        assert all(0 <= float(y) <= float(root.get("height")) for y in re.findall(r"V([-\d.]+)", line))
        for start, ends in re.findall(r"M([\d.]+)[^M]*?((?:[HV][\d.]+)+)(?=M|$)", line):
            assert float(ends.rpartition("H")[2].partition("V")[0]) > float(start)
    letters = [e.text for e in root.iter(f"{SVG}text") if e.get("font-size") == "9"]
    assert len(letters) == 2 * sum(line.count("M") - 1 for line in skips)
    words = [(float(e.get("y")), e.text) for e in root.iter(f"{SVG}text")]
    assert [
        layer.name for _, layer in traced.rows() if layer.operations and layer.name not in [w for _, w in words]
    ] == []


def skips_of(short_form):
    """The lines past residuals, and the letters where they go on in another row."""
    root = ElementTree.fromstring(svg(trace(parse_spec({"layers": short_form})), "t"))
    lines = [path.get("d") for path in root.iter(f"{SVG}path") if path.get("stroke-dasharray") == "5 3"]
    turns = [path.get("d") for path in root.iter(f"{SVG}path") if path.get("stroke-linejoin") == "round"]
    return lines, turns, [e.text for e in root.iter(f"{SVG}text") if e.get("font-size") == "9"]


def test_a_residual_that_has_room_on_a_row_stands_on_one_and_its_line_may_begin_with_the_row():
    lines, turns, letters = skips_of("c16 3*(c16 c16-act)r (c32/2 c32-act)r+conv 2*(c32 c32-act)r gap fc")
    assert len(turns) > 2
    assert letters == []
    assert [line.count("M") for line in lines] == [1] * 6
    corners = [turn.rpartition("H")[0].rpartition("H")[2].replace("V", " ") for turn in turns]
    begun = [line[1 : line.index("V")] for line in lines]
    assert len([f"{float(x):.1f} {y}" for x, y in map(str.split, corners) if f"{float(x):.1f} {y}" in begun]) == 3


def test_a_line_past_more_than_a_row_goes_on_at_its_letter_before_the_turn():
    lines, turns, letters = skips_of("c16 (c16 c16 9*c16 (c16 5*c16)r c16 c16)r (5*c16 6*c16)r gap fc")
    assert len(lines) == 3
    assert letters[:2] == ["A", "A"]
    assert all(letters.count(letter) % 2 == 0 for letter in letters)
    assert set(letters) >= {"A", "B"}
    turned = {float(turn[1:].split()[1].partition("H")[0]): float(re.search(r"H([\d.]+)V", turn)[1]) for turn in turns}
    for line in lines:
        for y, x in re.findall(r"([\d.]+)H([\d.]+)M", line):
            row = max(height for height in turned if height < float(y))
            assert float(x) < turned[row]


def test_steps_know_what_is_added_to_them():
    drawn = steps(trace(parse_spec({"layers": "c8/2 ((c8)r c8-act)r gap fc"})))
    assert [(step.name, step.depth, step.source) for step in drawn] == [
        ("input", 0, None),
        ("layers.0", 0, None),
        ("layers.1.body.0.body.0", 2, None),
        ("layers.1.body.0", 1, 1),
        ("layers.1.body.1", 1, None),
        ("layers.1", 0, 1),
        ("layers.2", 0, None),
        ("layers.3", 0, None),
    ]


def test_bars_keep_their_proportion_where_there_is_little_room():
    spec = Spec(in_channels=3, num_classes=9, input_size=224, cov_features=[2000, 2000], fc_sizes=[9999], p=0.123456)
    lines = text(trace(spec, max_parameters=10**12)).splitlines()
    assert max(map(len, lines)) == 100
    assert lines[0].count("█") == 5
    assert lines[2].count("█") == 2


def test_a_very_deep_network_is_drawn_in_a_moment():
    traced = trace(MANY)
    start = time.process_time()
    ElementTree.fromstring(svg(traced, "t"))
    text(traced)
    assert time.process_time() - start < 2


def test_the_diagram_needs_neither_torch_nor_numpy():
    check = "import modelflow.networks.diagram, sys; assert not {'torch', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
