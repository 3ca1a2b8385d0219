"""The networks that run in the page: beside torch for every kind of layer, beside what is stored, and in a browser."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load, save

from chromium import needs_chromium
from modelflow import run_study
from modelflow.analysis.archive import read_content
from modelflow.data.known_sets import KNOWN_SETS
from modelflow.data.pictures import to_form
from modelflow.data.sources import framing_of, read_source
from modelflow.errors import DataError
from modelflow.figures.style import TIMES
from modelflow.io.files import sha256
from modelflow.networks.layers.activation import WORDS, Activation
from modelflow.networks.program.compute import computed
from modelflow.networks.program.lowering import lowered
from modelflow.networks.resolve import preset
from modelflow.report import live
from modelflow.report import page as report_page
from modelflow.report.how import how_made
from modelflow.report.mistakes import mistakes_of, vote
from modelflow.report.page import TEMPLATES, render
from modelflow.report.sealed import as_data
from programs import EVERY_KIND, PREACTIVATED, assert_alike, by_torch, images_for, network_of, pixels_for, state_of
from random_layers import NETWORKS, that_fits
from report_studies import HOSTILE, SEEDS, change, run_folders_of

FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


@pytest.fixture(scope="module")
def script(browser):
    """The page's functions in a browser: calls one with arguments as JSON."""
    page = browser.new_page()
    page.add_script_tag(content=(TEMPLATES / "live.js").read_text("utf-8"))
    return page.evaluate


def found_of(content, room=1_000_000):
    group = content.groups[0]
    return live.live_of(group, mistakes_of(group), read_source("digits"), room)


# --- a network's operations ------------------------------------------------------------------------------------------

LOGITS = """({operations, weights, images}) => {
    const run = live.network(operations);
    return images.map(image => [...run(Float32Array.from(image), Float32Array.from(weights)).at(-1)]);
}"""


def by_script(script, model, images, pixels):
    """Logits of normalised images, with the weights in float32."""
    program = lowered(model.trace, state_of(model))
    weights = [v.ravel() for op in program.operations if hasattr(op, "weight") for v in (op.weight, op.bias)]
    given = {
        "operations": live.described(program),
        "weights": np.concatenate([np.zeros(0), *weights]).tolist(),
        "images": pixels.normalised(images).reshape(len(images), -1).tolist(),
    }
    return np.array(script(LOGITS, given))


@needs_chromium
@given(fields=NETWORKS, seed=st.integers(0, 5))
@FEW
def test_random_networks_give_torchs_logits_in_the_browser(script, fields, seed):
    spec, _ = that_fits(fields)
    model = network_of(spec, seed)
    images, pixels = images_for(model, 3), pixels_for(spec.input_shape[0])
    assert_alike(by_script(script, model, images, pixels), by_torch(model, pixels, images), 2e-5)


@needs_chromium
@pytest.mark.parametrize("spec", [EVERY_KIND, PREACTIVATED, preset("generic_2"), preset("cnn2_7")])
def test_every_kind_of_layer_gives_torchs_logits_in_the_browser(script, spec):
    model = network_of(spec)
    images, pixels = images_for(model), pixels_for(spec.input_shape[0])
    assert_alike(by_script(script, model, images, pixels), by_torch(model, pixels, images), 2e-5)


@given(fields=NETWORKS, seed=st.integers(0, 5))
@FEW
def test_random_networks_give_torchs_logits_by_numpy(fields, seed):
    spec, traced = that_fits(fields)
    model = network_of(spec, seed)
    images, pixels = images_for(model, 3), pixels_for(spec.input_shape[0])
    found = computed(lowered(traced, state_of(model)), pixels.normalised(images).numpy())
    assert_alike(found, by_torch(model, pixels, images), 2e-5)


def test_every_kind_of_layer_gives_torchs_logits_by_numpy():
    for spec in (EVERY_KIND, PREACTIVATED):
        model = network_of(spec)
        images, pixels = images_for(model), pixels_for(spec.input_shape[0])
        found = computed(lowered(model.trace, state_of(model)), pixels.normalised(images).numpy())
        assert_alike(found, by_torch(model, pixels, images), 2e-5)


@needs_chromium
@pytest.mark.parametrize("name", WORDS)
def test_activations_are_torchs(script, name):
    x = torch.linspace(-9, 9, 2001, dtype=torch.float64)
    operation = {"kind": "activate", "how": name, "inputs": [0], "shape": [len(x)], "taken": [0, 0]}
    found = script(LOGITS, {"operations": [operation], "weights": [], "images": [x.tolist()]})[0]
    expected = Activation(name=name).module((len(x),), torch.Generator())(x)
    assert np.array(found) == pytest.approx(expected.numpy(), abs=1.5e-6)


@needs_chromium
def test_halves_are_read_as_they_were_written(script):
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    text = base64.b64encode(finite.astype("<f2").tobytes()).decode()
    assert np.array_equal(script("text => [...live.halvesOf(text)]", text), finite.astype(np.float64))


@needs_chromium
def test_seeds_vote_as_in_the_rest_of_the_report(script, content):
    """Five seeds of random logits: the majority, at a tie the greater mean probability."""
    base = content.groups[0].models[0]
    logits_SNK = np.random.default_rng(0).normal(size=(5, 355, 10)).astype(np.float32) * 2
    seeds = tuple(replace(base.seeds[0], logits_NK=logits_NK) for logits_NK in logits_SNK)
    expected = vote(replace(base, seeds=seeds))
    call = """all => all.map(image => { const v = live.votes(image.map(live.softmax));
        return [v.predicted, v.mean[v.predicted], v.agree]; })"""
    found = np.array(script(call, logits_SNK.transpose(1, 0, 2).tolist()))
    assert np.array_equal(found[:, 0], expected.predicted_N)
    assert found[:, 1] == pytest.approx(expected.confidence_N, abs=1e-6)
    assert np.array_equal(found[:, 2], (logits_SNK.argmax(2) == expected.predicted_N).sum(0))


# --- pictures in the form of the data --------------------------------------------------------------------------------

FITTED = """({planes, width, height, wide, high}) => live.fitted({width, height, planes}, wide, high).planes"""


@needs_chromium
@pytest.mark.parametrize(("height", "width"), [(60, 60), (90, 41), (20, 75), (8, 8), (5, 3)])
def test_pictures_are_fitted_as_those_of_a_folder(script, height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    given = {"planes": (pixels / 255).transpose(2, 0, 1).reshape(3, -1).tolist(), "width": width, "height": height}
    found = 255 * np.array(script(FITTED, given | {"wide": 28, "high": 20})).reshape(3, 20, 28)
    expected = to_form(Image.fromarray(pixels), (20, 28), 3).transpose(2, 0, 1)
    assert np.abs(found - expected).max() <= 1.5


FRAMED = """({plane, side, wanted, framing}) => [...live.framed(
    {width: side, height: side, planes: [plane]}, wanted, wanted, framing).planes[0]]"""


@needs_chromium
@pytest.mark.parametrize("by_mass", [False, True])
def test_a_thing_is_framed_by_its_middle_or_its_mass(script, by_mass):
    plane = np.zeros((224, 224))
    plane[100:200, 20:60] = 1  # tall
    plane[180:200, 60:120] = 1  # with a foot to the right
    framing = {"box": 20, "by_mass": by_mass}
    found = script(FRAMED, {"plane": plane.ravel().tolist(), "side": 224, "wanted": 28, "framing": framing})
    image = np.array(found).reshape(28, 28)
    rows, columns = (np.flatnonzero(image.max(axis) > 0.3) for axis in (1, 0))
    assert len(rows) == len(columns) == 20
    places = np.arange(28) + 0.5
    mass = (image.sum(1) @ places / image.sum(), image.sum(0) @ places / image.sum())
    if by_mass:
        assert mass == pytest.approx((14, 14), abs=0.51)
    else:
        assert (rows[0], rows[-1], columns[0], columns[-1]) == (4, 23, 4, 23)


def test_each_data_set_of_things_on_black_has_its_own_rule():
    """Of MNIST and Fashion-MNIST as in `FRAMED`; letters are upright when they are read."""
    rules = {name: framing_of(name) for name in ("fashion-mnist", "mnist", "emnist-letters", "kmnist", "digits")}
    assert rules == {
        "fashion-mnist": (28, False),
        "mnist": (20, True),
        "emnist-letters": (24, False),
        "kmnist": (28, False),
        "digits": (8, False),
    }
    assert framing_of("cifar-10") is None
    assert KNOWN_SETS["emnist-letters"].transposed


@needs_chromium
def test_an_empty_board_is_an_image_of_black(script):
    given = {"plane": [0] * 64, "side": 8, "wanted": 28, "framing": {"box": 20, "by_mass": True}}
    assert script(FRAMED, given) == [0] * 784


@needs_chromium
def test_a_dark_thing_on_white_becomes_bright_on_black(script):
    plane = np.full((20, 20), 0.96)
    plane[5:15, 8:12] = 0.2
    call = "plane => [...live.brightOnBlack({width: 20, height: 20, planes: [Float64Array.from(plane)]}).planes[0]]"
    found = np.array(script(call, plane.ravel().tolist())).reshape(20, 20)
    assert found[5:15, 8:12] == pytest.approx(1)
    assert found.sum() == pytest.approx(40)


@needs_chromium
def test_a_brush_paints_where_it_is_and_nowhere_else(script):
    call = """() => { const p = {width: 12, height: 10, planes: [new Float64Array(120)]};
        live.stroke(p, [3, 4], [8, 4], 1, [0.5]); return [...p.planes[0]]; }"""
    image = np.array(script(call)).reshape(10, 12)
    assert image[3:5, 3:8] == pytest.approx(0.5)
    assert image[:2].sum() == image[6:].sum() == image[:, :1].sum() == image[:, 11:].sum() == 0


@needs_chromium
@pytest.mark.parametrize("most", [1e9, 30, 1])
def test_squares_cover_every_pixel_of_few_places_too(script, most):
    for width, height in ((28, 28), (8, 8), (1, 1), (30, 17), (5, 2)):
        found = script("([w, h, most]) => live.squares(w, h, most)", [width, height, most])
        seen = np.zeros((height, width))
        for top in found["down"]:
            for left in found["across"]:
                seen[top : top + found["size"], left : left + found["size"]] += 1
        assert seen.min() >= 1, (width, height)
        assert max(found["down"]) + found["size"] == height
        apart = [b - a for a, b in pairwise(found["across"])]
        assert len(found["across"]) * len(found["down"]) <= most or max(apart, default=found["size"]) == found["size"]
        finest = script("([w, h]) => live.squares(w, h, Infinity)", [width, height])
        assert found["isCoarse"] == (len(found["across"]) < len(finest["across"]))


@needs_chromium
@pytest.mark.parametrize("spec", [preset("generic_2"), preset("cnn2_7")])
def test_what_an_image_takes_is_counted_as_the_trace_does(script, spec):
    model = network_of(spec)
    operations = live.described(lowered(model.trace, state_of(model)))
    assert script("operations => live.macs(operations)", operations) == model.trace.macs


# --- what is put into the page ---------------------------------------------------------------------------------------


def test_the_models_agree_with_what_is_stored(content):
    found = found_of(content)
    assert [one.model.name for one in found.models] == [model.name for model in content.groups[0].models]
    assert found.left_out == ()
    for one in found.models:
        assert one.agreement.predictions == len(SEEDS) * len(found.chosen)
        assert one.agreement.alike >= one.agreement.predictions - 1
        assert 0 < one.agreement.difference < 0.05


def test_weights_are_those_of_the_runs_in_float16(content):
    found = found_of(content)
    for one in found.models:
        for seed, stored in zip(one.seeds, one.model.seeds, strict=True):
            state = load((stored.folder / "model.safetensors").read_bytes())
            assert sum(value.size for value in state.values()) == seed.weights.size
            assert np.array_equal(
                seed.weights[: state["conv_layers.0.weight"].size],
                state["conv_layers.0.weight"].ravel().astype(np.float16),
            )


def test_the_images_are_of_each_class_and_where_two_models_differ_most(content):
    found, group = found_of(content), content.groups[0]
    labels = group.labels_N[found.chosen]
    assert set(labels[:10]) == set(range(10))
    assert len(set(found.chosen.tolist())) == len(found.chosen) <= live.MAX_IMAGES
    mean = [
        np.mean([torch.softmax(torch.from_numpy(z), 1).numpy() for z, _ in m.predictions()], 0) for m in group.models
    ]
    distance = np.abs(mean[0] - mean[1]).sum(1)
    assert found.chosen[found.apart[0, 1]] == distance.argmax()
    assert np.array_equal(found.images_NCHW[:, 0], read_source("digits").test_images[found.chosen])


def test_models_too_large_are_named_and_left_out(content):
    whole = found_of(content)
    sizes = [one.size for one in whole.models]
    some = found_of(content, whole.size - max(sizes))
    large = whole.models[sizes.index(max(sizes))].model.name
    assert [one.model.name for one in some.models] != [one.model.name for one in whole.models]
    assert some.left_out[0][0] == large
    assert "parameters in each run: too large for this page" in some.left_out[0][1]
    assert some.apart == {}


def test_the_bytes_of_weights_are_limited_in_all(content, monkeypatch):
    (one,) = report_page._all_shown(content, None)
    sizes = sorted(model.size for model in one.live.models)
    monkeypatch.setattr(report_page, "MAX_EMBEDDED_BYTES", one.size + how_made(content).alone.size - sizes[1] + 10)
    html = render(content)
    weights = re.findall(r'"weights":"([^"]*)"', html)
    assert sum(map(len, weights)) == sizes[0]
    assert "Left out of this section" in html


def stored_again(folder, content):
    """Other weights, which run.json takes for its own."""
    (folder / "model.safetensors").write_bytes(content)
    change(folder, files={"model.safetensors": sha256(content)})


def with_bias(folder, make):
    """The run with another bias of a layer."""
    state = load((folder / "model.safetensors").read_bytes())
    stored_again(folder, save(state | {BIAS: make(state[BIAS])}))


def as_a_module(folder):
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"spec": None}))


BIAS = "fc_layers.0.bias"
DAMAGES = {
    "no such file": lambda folder: (folder / "model.safetensors").unlink(),
    "SHA-256 differs": lambda folder: (folder / "model.safetensors").write_bytes(b"{}"),
    "larger than": lambda folder: (folder / "model.safetensors").write_bytes(bytes(4 << 20)),
    "not readable as safetensors": lambda folder: stored_again(folder, b"<script>"),
    "fc_layers.0.bias is 3, expected 20": lambda folder: with_bias(folder, lambda b: b[:3].copy()),
    "not finite": lambda folder: with_bias(folder, lambda b: b * np.nan),
    "too large for float16": lambda folder: with_bias(folder, lambda b: b + 1e6),
    "classes as stored": lambda folder: with_bias(folder, lambda b: b + 100 * np.arange(20, dtype=np.float32)),
    "a module of Python": lambda folder: [as_a_module(each) for each in run_folders_of(folder.parent, folder.name)],
}


@pytest.mark.parametrize("why", DAMAGES)
def test_what_cannot_run_is_left_out_with_the_reason(copied, why):
    DAMAGES[why](copied / "wide")
    found = found_of(read_content(copied))
    assert [one.model.name for one in found.models] == ["narrow"]
    assert [name for name, _ in found.left_out] == ["wide"]
    assert why in found.left_out[0][1]


def test_images_too_large_for_a_page_leave_all_out(content, monkeypatch):
    monkeypatch.setattr(live, "MAX_IMAGE_BYTES", 200)
    with pytest.raises(DataError, match="64 bytes each"):
        found_of(content)
    assert "Its images take 64 bytes each, too many for this page." in render(content)


def test_without_the_data_set_nothing_can_be_tried_and_the_page_says_so(copied):
    for folder in [*run_folders_of(copied, "wide"), *run_folders_of(copied, "narrow")]:
        change(folder, data={"checksums": {"digits": "0" * 64}})
    html = render(read_content(copied))
    assert 'data-try="' not in html[: html.index("<script")]
    assert html.count("The images cannot be shown: digits on this machine differs by SHA-256") == 2


# --- in the page -----------------------------------------------------------------------------------------------------


def ready(page):
    page.wait_for_selector("[data-try][data-ready=true]")


@needs_chromium
def test_test_images_are_called_as_they_were_when_evaluated(report, opened, content):
    """Every image that can be picked, by every model: the class of the majority as in the stored predictions."""
    page = opened(report)
    ready(page)
    found, picks = found_of(content), page.locator(".pick")
    votes = {one.model.name: one.predicted_N for one in mistakes_of(content.groups[0]).votes}  # votes[].model
    assert picks.count() == len(found.chosen)
    same = 0
    for place, image in enumerate(found.chosen.tolist()):
        picks.nth(place).click()
        ready(page)
        for i, one in enumerate(found.models):
            said = page.locator(".answer").nth(i).locator(".answer-said bdi").text_content()
            same += said == str(votes[one.model.name][image])
        assert page.locator("[data-summary]").text_content().startswith(f"Test image {image} is ")
    assert same >= 2 * len(found.chosen) - 1


def answers(page):
    """What each model says, and how sure its seeds are in the mean."""
    ready(page)
    cards = page.locator(".answer")
    said = [cards.nth(i).locator(".answer-said bdi").text_content() for i in range(cards.count())]
    sure = [cards.nth(i).locator(".answer-bar .n").first.text_content() for i in range(cards.count())]
    return said, sure


def pixels_seen(page):
    """The lightness of what the networks see, from 0 to 255."""
    call = """canvas => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""
    return np.array(page.locator("[data-sees]").evaluate(call)).reshape(8, 8, 4)[:, :, 0]


@needs_chromium
def test_an_image_is_picked_by_arrow_keys(report, opened, content):
    page = opened(report)
    ready(page)
    found = found_of(content)
    page.locator(".pick").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    ready(page)
    assert page.evaluate("document.activeElement.ariaLabel") == f"Test image {found.chosen[2]}, 2"
    assert page.locator('.pick[aria-checked="true"]').count() == page.locator('.pick[tabindex="0"]').count() == 1
    assert np.array_equal(pixels_seen(page), np.rint(found.images_NCHW[2, 0] * (255 / 16)))


def unlike(page):
    """What the page warns of, in its first sentence."""
    note = page.locator(".of-unlike")
    return note.inner_text().partition(" Do not trust")[0] if note.is_visible() else ""


@needs_chromium
def test_painting_by_keys_changes_the_answer_and_is_undone(report, opened):
    page = opened(report)
    before, image = answers(page), None
    image = pixels_seen(page)
    restore = page.get_by_role("button", name="Undo all")
    assert restore.is_disabled()
    page.locator("[data-board]").focus()
    assert page.locator("[data-cursor]").is_visible()
    page.keyboard.press("Space")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    assert answers(page) != before
    changed = pixels_seen(page) != image
    assert changed[3:5, 4:].any()
    assert not changed[:2].any()
    assert ", changed (painted on); it was 0. " in page.locator("[data-summary]").text_content()
    assert page.locator(".judged").count() == 0
    assert unlike(page) == "A changed image is unlike the images that these networks learned from."
    restore.click()
    assert unlike(page) == ""
    assert answers(page) == before
    assert np.array_equal(pixels_seen(page), image)


@needs_chromium
def test_strokes_are_undone_one_by_one_by_button_and_by_key(report, opened):
    page = opened(report)
    ready(page)
    undo = page.get_by_role("button", name="Undo", exact=True)
    assert undo.is_disabled()
    stored, board = pixels_seen(page), page.locator("[data-board]")
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    page.locator("[data-ink]").fill("50")
    seen = [stored]
    for row in (1, 7):  # a stroke of the pointer, of several moves, is one
        page.mouse.move(box["x"] + 4, box["y"] + row * box["height"] / 8)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 4, box["y"] + row * box["height"] / 8, steps=5)
        page.mouse.up()
        ready(page)
        seen.append(pixels_seen(page))
    page.keyboard.press("Space")
    ready(page)
    assert not any(np.array_equal(*pair) for pair in pairwise([*seen, pixels_seen(page)]))
    page.keyboard.press("Control+z")
    ready(page)
    assert np.array_equal(pixels_seen(page), seen[2])
    for image in (seen[1], stored):
        undo.click()
        ready(page)
        assert np.array_equal(pixels_seen(page), image)
    assert undo.is_disabled()
    assert page.locator("[data-summary]").text_content().startswith("Test image ")
    assert unlike(page) == ""
    page.keyboard.press("Control+z")  # there is nothing left to undo
    ready(page)
    assert np.array_equal(pixels_seen(page), stored)


@needs_chromium
def test_erasing_by_the_pointer_leaves_black(report, opened):
    page = opened(report)
    ready(page)
    page.get_by_label("Erase").check()
    page.locator("[data-brush]").fill("3")
    board = page.locator("[data-board]")
    board.focus()
    page.keyboard.press("Space")
    ready(page)
    assert ", changed (partly erased); it was 0. " in page.locator("[data-summary]").text_content()
    assert unlike(page).startswith("A changed image is")
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    for row in range(8):
        page.mouse.move(box["x"] + 2, box["y"] + (row + 0.5) * box["height"] / 8)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 2, box["y"] + (row + 0.5) * box["height"] / 8, steps=4)
        page.mouse.up()
    ready(page)
    assert pixels_seen(page).max() == 0
    assert not page.get_by_text("The test image as it is stored.").is_visible()
    assert page.locator("[data-summary]").text_content() == "Everything is erased. Paint, or undo."
    assert not page.locator(".answer").first.is_visible()
    page.get_by_role("button", name="Undo all").click()
    ready(page)
    board.focus()
    page.keyboard.press("Space")
    page.get_by_label("Paint").check()
    board.focus()
    page.keyboard.press("Shift+ArrowDown")
    ready(page)
    assert ", changed (partly erased and painted on); it was" in page.locator("[data-summary]").text_content()


@needs_chromium
def test_a_stroke_that_changes_nothing_leaves_a_test_image_as_it_is(report, opened):
    page = opened(report)
    before = answers(page)
    page.get_by_label("Erase").check()
    page.locator("[data-brush]").fill("0.5")
    board = page.locator("[data-board]")
    board.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    for _ in range(4):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")  # the corner is black
    assert answers(page) == before
    assert page.get_by_role("button", name="Undo all").is_disabled()
    assert unlike(page) == ""


@needs_chromium
def test_a_drawing_is_framed_and_warned_of(report, opened):
    page = opened(report)
    ready(page)
    assert unlike(page) == ""
    page.get_by_role("button", name="Blank board").click()
    ready(page)
    assert unlike(page) == "A drawing is unlike the images that these networks learned from."
    assert pixels_seen(page).max() == 0
    assert page.locator("[data-summary]").text_content() == "Nothing is drawn yet. Paint on the board."
    for part in (".answer", "[data-maps] figure", "[data-compared]", "[data-compared-image]"):
        assert not page.locator(part).first.is_visible()
    board = page.locator("[data-board]")
    board.focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    ready(page)
    for part in (".answer", "[data-maps] figure", "[data-compared]"):
        assert page.locator(part).first.is_visible()
    rows = np.flatnonzero(pixels_seen(page).max(1) > 100)
    assert (rows[0], rows[-1]) == (0, 7)  # made as long as the image
    assert page.get_by_text("Scaled to 8 pixels and centred, as").is_visible()
    assert page.locator(".answer-said .sign").count() == 0  # nobody knows what it is


@needs_chromium
def test_a_chosen_picture_is_brought_to_the_form_of_the_data(report, opened, tmp_path):
    page = opened(report)
    ready(page)
    paper = np.full((120, 90, 3), 245, np.uint8)
    paper[20:100, 40:50] = 30
    Image.fromarray(paper).save(tmp_path / "one.png")
    page.locator("[data-file]").set_input_files(tmp_path / "one.png")
    page.wait_for_selector("[data-try][data-origin=picture][data-ready=true]")
    seen = pixels_seen(page)
    assert seen[:, 3:5].max(1).min() > 100
    assert seen[:, :3].max() < 40
    shades = page.locator("[data-shades]")
    assert shades.text_content() == " It was inverted, and its contrast stretched, to be bright on black."
    bright = np.zeros((120, 90, 3), np.uint8)
    bright[20:100, 40:50] = 255
    Image.fromarray(bright).save(tmp_path / "bright.png")
    page.locator("[data-file]").set_input_files(tmp_path / "bright.png")
    page.locator("[data-shades]:empty").wait_for(state="attached")
    assert pixels_seen(page)[:, 3:5].max(1).min() > 100
    assert unlike(page) == "Your picture may be unlike the images that these networks learned from."
    assert page.locator('.pick[aria-checked="true"]').count() == 0
    page.locator(".pick").nth(0).click()
    ready(page)
    assert shades.text_content() == ""
    assert page.locator("[data-file]").input_value() == ""  # so that the same picture can be chosen again
    (tmp_path / "no.png").write_text("<svg onload=alert(1)>")
    page.locator("[data-file]").set_input_files(tmp_path / "no.png")
    page.locator("[data-summary]", has_text="This file cannot be read as a picture.").wait_for()
    page.locator(".try").evaluate(DROP, base64.b64encode((tmp_path / "one.png").read_bytes()).decode())
    page.wait_for_selector("[data-try][data-origin=picture][data-ready=true]")
    assert np.array_equal(pixels_seen(page), seen)


DROP = """(part, text) => {
    const dataTransfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    dataTransfer.items.add(new File([bytes], "one.png", {type: "image/png"}));
    part.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
}"""


@needs_chromium
def test_layers_of_the_chosen_model_and_seed_are_shown(report, opened, content):
    page = opened(report)
    ready(page)
    models = content.groups[0].models
    maps = page.locator("[data-maps] canvas")
    assert maps.count() == 3
    call = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    first = maps.nth(0).evaluate(call)
    assert max(first) == 255
    assert (
        page.locator("[data-maps] figcaption")
        .nth(0)
        .text_content()
        .startswith("conv_layers.0.conv: convolution, ReLU, ")
    )
    page.locator("[data-inside=seed]").select_option(label=str(SEEDS[1]))
    ready(page)
    assert maps.nth(0).evaluate(call) != first
    page.locator("[data-inside=model]").select_option(label=models[1].name)
    ready(page)
    caption = page.locator("[data-maps] figcaption").nth(0).text_content()
    assert caption.split(", ")[-1].split()[0] == str(models[1].first.spec["cov_features"][0])


@needs_chromium
def test_outputs_stand_beside_the_names_of_their_classes(report, opened, content):
    page = opened(report)
    ready(page)
    found, model = found_of(content), content.groups[0].models[0]
    page.locator(".pick").nth(3).click()
    page.locator("[data-inside=seed]").select_option(label=str(SEEDS[1]))
    ready(page)
    lines = page.locator(".outputs li")
    assert lines.locator("bdi").all_text_contents() == list(model.class_names)
    values = [float(text.replace("\N{MINUS SIGN}", "-")) for text in lines.locator(".n").all_text_contents()]
    logits_K = model.seeds[1].logits_NK[found.chosen[3]]
    assert values == pytest.approx(logits_K, abs=0.1)
    assert lines.nth(logits_K.argmax()).get_attribute("class") == "largest"
    fill = lines.nth(logits_K.argmin()).locator(".track span")
    assert fill.get_attribute("class") == ("below" if logits_K.min() < 0 else "above")


@needs_chromium
def test_a_drawing_that_another_image_takes_the_place_of_is_kept(report, opened):
    page = opened(report)
    ready(page)
    back = page.locator(".try-tools [data-back]")
    assert not back.is_visible()
    page.get_by_role("button", name="Blank board").click()
    page.locator(".pick").nth(2).click()
    assert not back.is_visible()  # nothing was drawn
    page.get_by_role("button", name="Blank board").click()
    page.locator("[data-board]").focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    ready(page)
    drawn = pixels_seen(page)
    page.get_by_role("button", name="Image where they differ most").click()
    ready(page)
    assert not np.array_equal(pixels_seen(page), drawn)
    assert page.locator("[data-compare]").get_by_role("button", name="Back to your drawing").is_visible()
    back.click()
    ready(page)
    assert np.array_equal(pixels_seen(page), drawn)
    assert page.locator('.pick[aria-checked="true"]').count() == 0
    assert not back.is_visible()
    page.get_by_role("button", name="Undo all").click()  # even that
    assert back.text_content() == "Back to your drawing"
    page.locator(".pick").nth(2).click()
    ready(page)
    stored = pixels_seen(page)
    page.locator("[data-board]").focus()
    page.keyboard.press("Space")
    ready(page)
    painted = pixels_seen(page)
    back.click()  # to the drawing, and from there to the test image that was painted on
    ready(page)
    assert np.array_equal(pixels_seen(page), drawn)
    assert back.text_content() == "Back to your changed image"
    back.click()
    ready(page)
    assert np.array_equal(pixels_seen(page), painted)
    assert page.locator(".pick").nth(2).get_attribute("aria-checked") == "true"
    page.get_by_role("button", name="Undo all").click()
    ready(page)
    assert np.array_equal(pixels_seen(page), stored)


@needs_chromium
def test_two_models_are_compared_where_they_differ_most(report, opened, content):
    page = opened(report)
    ready(page)
    found = found_of(content)
    page.get_by_role("button", name="Image where they differ most").click()
    ready(page)
    image = found.chosen[found.apart[0, 1]]
    truth = content.groups[0].labels_N[image]
    assert page.locator("[data-summary]").text_content().startswith(f"Test image {image} is {truth}. ")
    assert page.locator("[data-compared-image]").text_content() == f"Test image {image} is {truth}. "
    said = page.locator("[data-side-said]").all_text_contents()
    model = content.groups[0].models[0]
    mean = np.mean([torch.softmax(torch.from_numpy(z[image]), 0).numpy() for z, _ in model.predictions()], 0)
    guesses = [re.match(r"\d+(?:\.\d)?\s% (\d) \((right|wrong)\) ", one).groups() for one in said]
    assert guesses[0][0] in map(str, np.flatnonzero(mean > mean.max() - 0.02))
    assert [verdict for _, verdict in guesses] == ["right" if k == str(truth) else "wrong" for k, _ in guesses]
    places = page.locator("[data-places]").text_content()
    assert places == f"The square is 2 {TIMES} 2 pixels. Both maps are of the same 49 places."
    notes = page.locator("[data-side-note]").all_text_contents()
    said = r"Covered, its probability falls by up to (\d+) points and rises by up to (\d+)\."
    reach = [re.fullmatch(said, note) for note in notes]
    most = max(5, *(int(points) for one in reach for points in one.groups()))
    ends = [page.locator(f"[data-scale={way}]").text_content() for way in ("rises", "falls")]
    assert ends == [f"rises by {most} points", f"falls by {most} points"]
    call = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, 1).data]"
    scale = np.array(page.locator(".scale canvas").evaluate(call)).reshape(-1, 4)[:, :3].astype(int)
    assert scale[len(scale) // 2].max() == 0
    assert (scale[0, 2] > scale[0, 0], scale[-1, 0] > scale[-1, 2]) == (True, True)
    colours = (
        page.locator("[data-compared] canvas")
        .nth(0)
        .evaluate("canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]")
    )
    pixels = np.array(colours).reshape(-1, 4)
    assert (pixels[:, 0] != pixels[:, 2]).any()


@needs_chromium
def test_maps_side_by_side_are_of_the_places_that_the_slower_model_allows(report, opened, tmp_path):
    """The page's own limit on operations lowered between those of the two models."""
    text = report.read_text("utf-8")
    macs = sorted(
        sum(op["taken"][0] * np.prod(op["shape"][1:], dtype=int) for op in model["operations"]) * len(model["seeds"])
        for model in json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])["live"]["g0"]["models"]
    )
    assert macs[0] < macs[1] / 2
    changed = text.replace("const COVERING = 1e8;", f"const COVERING = {20 * macs[1]};")
    script = changed[changed.rindex("<script>") + 8 : changed.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    path = tmp_path / "report.html"
    path.write_text(re.sub(r"sha256-[A-Za-z0-9+/=]+", f"sha256-{digest}", changed, count=1), "utf-8")
    page = opened(path)
    ready(page)
    places = page.locator("[data-places]").text_content()
    assert places.endswith(" of the same 16 places, fewer than usual, since one of the models takes long.")


@needs_chromium
def test_a_model_beside_itself_says_so_in_place_of_an_image(report, opened, content):
    page = opened(report)
    ready(page)
    button = page.get_by_role("button", name="Image where they differ most")
    note = page.get_by_text("Both sides show the same model. Choose two different models.")
    assert button.is_enabled()
    assert not note.is_visible()
    second = page.locator("[data-compared] select").nth(1)
    second.select_option(label=content.groups[0].models[0].name)
    assert button.is_disabled()
    assert note.is_visible()
    second.select_option(label=content.groups[0].models[1].name)
    assert button.is_enabled()
    assert not note.is_visible()


@needs_chromium
def test_models_that_are_not_shown_do_not_answer(report, opened):
    page = opened(report)
    ready(page)
    page.locator("#learning [data-filter]").get_by_label("wide").uncheck()
    shown = page.locator(".answer:visible bdi").all_text_contents()
    assert "narrow" in shown
    assert "wide" not in shown


@needs_chromium
def test_the_sentence_counts_only_the_models_that_are_shown(report, opened):
    page = opened(report)
    ready(page)
    box = page.locator("#learning [data-filter]").get_by_label("wide")
    said = page.locator("[data-summary]")
    both = said.text_content()
    box.uncheck()
    ready(page)
    alone, judged = page.locator(".answer:visible .answer-said").text_content().split()
    assert said.text_content().endswith(f". The model says {alone} ({judged}).")
    page.locator(".pick").nth(3).click()
    ready(page)
    assert "The model says " in said.text_content()
    page.locator("#learning [data-none]").click()
    ready(page)
    assert said.text_content().endswith(". No model is shown.")
    page.locator("#learning [data-all]").click()
    page.locator(".pick").nth(0).click()
    ready(page)
    assert said.text_content() == both


@needs_chromium
def test_choices_offer_only_models_that_are_shown(report, opened):
    page = opened(report)
    ready(page)
    choices = page.locator("select:has([data-models])")
    assert choices.count() == 5  # of two that disagree, of two compared, of one looked into

    def offered():
        call = "select => [...select.options].filter(o => !o.hidden && !o.disabled).map(o => o.textContent)"
        return [choices.nth(i).evaluate(call) for i in range(5)]

    def chosen():
        return [choices.nth(i).evaluate("select => select.selectedOptions[0].textContent") for i in range(5)]

    filters = page.locator("#learning [data-filter]")
    assert offered() == [["wide", "narrow"]] * 5
    assert chosen() == ["wide", "narrow", "wide", "narrow", "wide"]
    filters.get_by_label("wide").uncheck()
    ready(page)
    assert offered() == [["narrow"]] * 5
    assert chosen() == ["narrow"] * 5
    few = page.get_by_text("Fewer than two models are shown.")
    assert [few.nth(i).is_visible() for i in range(few.count())] == [True, True]
    assert not page.locator("[data-compared]").first.is_visible()
    assert not page.locator("[data-compared-image]").is_visible()
    assert page.get_by_role("button", name="Image where they differ most").is_disabled()
    filters.locator("[data-none]").click()
    ready(page)
    assert all(choices.nth(i).is_disabled() for i in range(5))
    assert not page.locator("[data-maps]").is_visible()
    filters.locator("[data-all]").click()
    ready(page)
    assert offered() == [["wide", "narrow"]] * 5
    assert chosen() == ["narrow", "wide", "narrow", "wide", "narrow"]
    assert page.locator("[data-outcome] .counts").is_visible()
    assert page.locator("[data-compared]").first.is_visible()


@needs_chromium
def test_a_majority_of_seeds_is_told_by_its_class(report, opened, tmp_path):
    """Of three runs, two of them alike, on an image on which the third says otherwise."""
    page = opened(with_seeds(report, tmp_path, (0, 0, 1)))
    ready(page)
    said = set()
    for place in range(page.locator(".pick").count()):
        page.locator(".pick").nth(place).click()
        ready(page)
        card = page.locator(".answer").first
        predicted, _ = card.locator(".answer-said").text_content().split()
        words = card.locator(".answer-seeds").text_content()
        assert re.fullmatch(rf"All 3 seeds agree|2 of 3 seeds say {predicted}, 1 says \d", words)
        said.add(words.partition(" ")[0])
    assert said == {"All", "2"}
    html = page.locator("#try").inner_html()
    assert html.index("the class that most of its seeds say") < html.index("data-answers")


def with_seeds(report, folder, chosen):
    """The page with these runs of each model, which may repeat."""
    text = report.read_text("utf-8")
    data = re.search(r'id="data">(.*?)</script>', text, re.S)[1]
    fields = json.loads(data)
    for model in fields["live"]["g0"]["models"]:
        model["seeds"] = [model["seeds"][i] for i in chosen]
    path = folder / "report.html"
    path.write_text(text.replace(data, as_data(fields)), "utf-8")
    return path


@needs_chromium
def test_seeds_that_say_otherwise_are_quoted(report, opened, content):
    """On the first image that may be picked on which the seeds of a model differ."""
    page = opened(report)
    ready(page)
    found = found_of(content)
    for i, model in enumerate(content.groups[0].models):
        said_SN = np.stack([seed.logits_NK[found.chosen].argmax(1) for seed in model.seeds])
        differing = np.flatnonzero(said_SN[0] != said_SN[1])
        agreeing = np.flatnonzero(said_SN[0] == said_SN[1])
        for place in (differing[0], agreeing[0]):
            page.locator(".pick").nth(int(place)).click()
            ready(page)
            card = page.locator(".answer").nth(i)
            predicted, judged = card.locator(".answer-said").text_content().split()
            (other,) = {str(k) for k in said_SN[:, place]} - {predicted} or {""}
            expected = f"No two seeds agree, 1 says {other}" if other else "Both seeds agree"
            assert card.locator(".answer-seeds").text_content() == expected
            truth = str(content.groups[0].labels_N[found.chosen[place]])
            assert judged == ("right" if predicted == truth else "wrong")


@needs_chromium
def test_the_answer_is_read_out_once_the_hand_rests(report, opened):
    page = opened(report)
    ready(page)
    page.locator("[data-spoken]", has_text="Test image ").wait_for(state="attached")
    page.locator(".pick").nth(3).click()
    ready(page)
    page.wait_for_timeout(900)
    assert page.locator("[data-spoken]").text_content() == page.locator("[data-summary]").text_content()


@needs_chromium
def test_hostile_class_names_are_text_here_too(hostile_report, opened):
    page = opened(hostile_report)
    ready(page)
    page.locator(".pick").nth(4).click()
    ready(page)
    assert HOSTILE[4] in page.locator("[data-summary]").text_content()
    assert HOSTILE[4] in page.locator(".pick").nth(4).get_attribute("aria-label")
    assert page.locator("#try img, #try script").count() == 0


@needs_chromium
def test_nothing_of_it_is_printed(report, opened):
    page = opened(report)
    ready(page)
    page.emulate_media(media="print")
    assert not page.locator("#try").is_visible()


FRAME = """({operations, weights}) => {
    const run = live.network(operations), w = Float32Array.from(weights), x = new Float32Array(784).fill(0.5);
    const times = Array.from({length: 20}, () => {
        const begin = performance.now();
        for (let i = 0; i < 35; i++) run(x, w);
        return performance.now() - begin;
    });
    return times.sort((a, b) => a - b)[10];
}"""


@needs_chromium
def test_35_networks_answer_within_a_few_frames(script):
    """Of the card's size, like generic_2, one image: 17 ms a frame; with room for a busy machine."""
    model = network_of(preset("generic_2"))
    program = lowered(model.trace, state_of(model))
    weights = live.weights_of(program).astype(float).tolist()
    took = script(FRAME, {"operations": live.described(program), "weights": weights})
    print(f"35 networks: {took:.1f} ms")
    assert took < 150


# --- whole pictures in colour ----------------------------------------------------------------------------------------


def blots(count, seed):
    """Noise in colour, 20 x 24, with a square that is red, green or blue; and which."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.integers(0, 90, (count, 20, 24, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = rng.integers(2, 10, 2)
        image[row : row + 8, column : column + 8, label] += 150
    return images, labels


@pytest.fixture(scope="module")
def in_colour(tmp_path_factory):
    """The results of a network of many kinds of layers on blots."""
    folder = tmp_path_factory.mktemp("blots")
    (x, y), (test_x, test_y) = blots(300, 0), blots(120, 1)
    np.savez(folder / "blots.npz", x_train=x, y_train=y, x_test=test_x, y_test=test_y)
    models = [{"name": "several_kinds", "spec": "c4/2 s8e2 s8r gap fc"}]
    settings = {"dataset": str(folder / "blots.npz"), "models": models, "seeds": 1, "epochs": 2, "lr": 5e-3}
    run_study(settings, folder / "results", jobs=1, verbose=False)
    return folder / "results"


def colours_seen(page):
    call = """canvas => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""
    return np.array(page.locator("[data-sees]").evaluate(call)).reshape(20, 24, 4)[:, :, :3]


@needs_chromium
def test_on_a_phone_the_answers_stand_right_under_the_board(report, opened):
    page = opened(report, viewport={"width": 390, "height": 844})
    ready(page)
    tools, board, seen, cards = (
        page.locator(part).bounding_box() for part in (".try-tools", ".board", ".sees", "[data-answers]")
    )
    assert tools["y"] + tools["height"] <= board["y"]
    assert seen["y"] - (board["y"] + board["height"]) < 20
    assert cards["y"] - (board["y"] + board["height"]) < 160  # what the networks see, and what they say, between


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_the_board_stays_where_it_is_while_it_is_painted_on(report, opened, width):
    page = opened(report, viewport={"width": width, "height": 844})
    ready(page)
    board = page.locator("[data-board]")
    board.focus()
    before = board.bounding_box()
    page.keyboard.press("Space")
    ready(page)
    assert unlike(page).startswith("A changed image is")
    assert board.bounding_box() == before


@needs_chromium
def test_whole_pictures_in_colour(in_colour, opened, tmp_path):
    """Picked, erased, painted on, and one of the reader's, read as a picture of a folder is."""
    content = read_content(in_colour)
    group = content.groups[0]
    found = live.live_of(group, mistakes_of(group), read_source(group.data.name), 1_000_000)
    assert found.models[0].agreement.alike == found.models[0].agreement.predictions > 0
    page = opened(in_colour / "report.html")
    said = mistakes_of(group).votes[0].predicted_N[found.chosen]
    for place in range(len(found.chosen)):
        page.locator(".pick").nth(place).click()
        assert answers(page)[0] == [str(said[place])]
        assert np.array_equal(colours_seen(page), found.images_NCHW[place].transpose(1, 2, 0))
    page.locator("[data-ink]").fill("#ff8000")
    page.locator("[data-brush]").fill("4")
    page.locator("[data-board]").focus()
    page.keyboard.press("Space")
    ready(page)
    assert colours_seen(page)[10, 12].tolist() == [255, 128, 0]
    page.get_by_label("Erase").check()
    page.locator("[data-board]").focus()
    page.keyboard.press("Space")
    ready(page)
    assert np.abs(colours_seen(page)[10, 12] - 255 * np.array(group.data.mean)).max() <= 1
    picture = np.random.default_rng(2).integers(0, 256, (90, 50, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    page.locator("[data-file]").set_input_files(tmp_path / "photo.png")
    page.wait_for_selector("[data-try][data-origin=picture][data-ready=true]")
    assert np.abs(colours_seen(page) - to_form(Image.fromarray(picture), (20, 24), 3).astype(int)).max() <= 2
