"""The page that trains by itself, in a real browser without a network: its step beside the native one, its controls."""

import base64
import re
from html import unescape

import numpy as np
import pytest
import torch

from chromium import needs_chromium
from modelflow.cli import cli
from modelflow.data.sources import read_source
from modelflow.export.demo.page import HELD_OUT, IMAGES, NETWORK, TEMPLATES, render
from modelflow.kernels.layout import layout
from modelflow.kernels.machine import Machine, host
from modelflow.kernels.network import State, compiled
from modelflow.kernels.rules.adam import Adam
from modelflow.kernels.wasm import BROWSER, module
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Spec
from modelflow.networks.resolve import preset

FOUR_LANES = Machine("x86-64", "", 4, 16, "x86_64")
DEEP = Spec(in_channels=1, num_classes=10, input_size=28, cov_features=[4, 6], fc_sizes=[20, 15], p=0.2)
RATE, BATCH = 1e-3, 16
TRAINING, EPOCHS = 200, 3


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "demo.html"
    path.write_text(render(read_source("fashion-mnist")))
    return path


# --- the step --------------------------------------------------------------------------------------------------------

COURSE = """async ({network, weights, images, labels, orders, batch, rate}) => {
    const module = Uint8Array.from(atob(network.module), letter => letter.charCodeAt(0));
    const steps = Math.ceil(orders[0].length / batch);
    const trained = await step.prepared({...network, module}, Float32Array.from(images), labels, batch, steps);
    trained.begin(Float32Array.from(weights));
    const half = batch * Math.floor(steps / 2);
    const losses = orders.flatMap((order, epoch) => [
        ...trained.train(order.slice(0, half), batch, rate, epoch, 0),
        ...trained.train(order.slice(half), batch, rate, epoch, half / batch),
    ]);
    return {losses, weights: [...trained.parameters()], logits: [...trained.logits(orders[0].length, 40)]};
}"""


def sizes_of(model):
    names = ("lanes", "image", "classes", "packed", "block", "shared", "parameters")
    places = layout(model.trace, BROWSER.lanes)
    return {name: getattr(places, name) for name in names}


def course_of(fashion):
    """Images, labels and orders, the last batch of which is smaller."""
    rng = np.random.default_rng(0)
    images = np.ascontiguousarray(fashion.train_x_NCHW[: TRAINING + 40].numpy())
    return images, fashion.train_y_N[: TRAINING + 40].numpy(), [rng.permutation(TRAINING) for _ in range(EPOCHS)]


def weights_of(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).numpy()


def by_native(machine, model, images, labels, orders):
    network = compiled(model.trace, Adam(), machine=machine)
    weights = weights_of(model)
    state = State(weights.copy(), [np.zeros_like(weights), np.zeros_like(weights)])
    options = {"lr": RATE, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    losses = [
        network.train(images, labels, order, BATCH, state, options, seed).losses for seed, order in enumerate(orders)
    ]
    return np.concatenate(losses), state.params, network.logits(images[TRAINING:], state.params)


def by_page(browser, model, images, labels, orders):
    page = browser.new_page()
    page.add_script_tag(content=(TEMPLATES / "step.js").read_text("utf-8"))
    network = sizes_of(model) | {"module": base64.b64encode(module(model.trace, Adam())).decode()}
    given = {
        "network": network,
        "weights": weights_of(model).tolist(),
        "images": images.ravel().tolist(),
        "labels": labels.tolist(),
        "orders": [order.tolist() for order in orders],
        "batch": BATCH,
        "rate": RATE,
    }
    found = page.evaluate(COURSE, given)
    page.close()
    return np.array(found["losses"]), np.float32(found["weights"]), np.float32(found["logits"]).reshape(-1, 10)


@needs_chromium
@pytest.mark.parametrize("spec", [preset(NETWORK), DEEP], ids=[NETWORK, "deep"])
def test_losses_and_weights_are_those_of_the_native_step(browser, fashion, spec):
    """Two calls an epoch beside one: the bytes of a processor with as many lanes, the numbers of this one."""
    model, course = GenericCNN(spec), course_of(fashion)
    found = by_page(browser, model, *course)
    assert len(found[0]) == EPOCHS * 13
    assert not np.array_equal(found[1], weights_of(model))
    for ours, native in zip(found, by_native(host(), model, *course), strict=True):
        assert ours == pytest.approx(native, rel=1e-4, abs=1e-5)
    if host().architecture == FOUR_LANES.architecture:
        for ours, native in zip(found, by_native(FOUR_LANES, model, *course), strict=True):
            assert np.array_equal(ours, native)


# --- curves ----------------------------------------------------------------------------------------------------------


@needs_chromium
def test_a_curve_of_any_length_has_few_points_that_are_means(browser):
    page = browser.new_page()
    page.add_script_tag(content=(TEMPLATES / "curve.js").read_text("utf-8"))
    call = "all => { const line = curve.fresh(); all.forEach((loss, i) => curve.add(line, i, loss)); return line; }"
    losses = np.random.default_rng(0).random(5000)
    line = page.evaluate(call, losses.tolist())
    page.close()
    assert line["every"] == 32
    assert [point["at"] for point in line["points"]] == list(range(31, 4992, 32))
    assert [point["loss"] for point in line["points"]] == pytest.approx(losses[:4992].reshape(-1, 32).mean(1))


# --- the page --------------------------------------------------------------------------------------------------------


def number(page, name):
    return float(re.sub("[ ,%]", "", page.locator(f"#{name}").text_content()))


def wait_for(page, holds):
    """Playwright's own way would evaluate a text, which the page forbids."""
    for _ in range(1200):
        if holds():
            return
        page.wait_for_timeout(50)
    assert holds()


def wait_for_epoch(page, epoch):
    wait_for(page, lambda: number(page, "epoch") >= epoch)


def filters_seen(page):
    return page.locator("#filters div canvas:first-child").evaluate_all("all => all.map(one => one.toDataURL())")


@needs_chromium
def test_it_trains_before_the_readers_eyes_until_it_is_paused(demo, opened):
    page = opened(demo)
    assert number(page, "accuracy") < 30
    before = filters_seen(page)
    page.get_by_role("button", name="Start").click()
    wait_for_epoch(page, 3)
    assert number(page, "accuracy") > 60
    assert number(page, "held-out") < 1.2
    assert number(page, "speed") > 100
    page.get_by_role("button", name="Pause").click()
    assert all(now != then for now, then in zip(filters_seen(page), before, strict=True))
    drawn = page.locator("#curve path").evaluate_all("all => all.map(one => one.getAttribute('d').split('L').length)")
    assert drawn[0] > 50
    assert drawn[1] >= 4
    loss = page.locator("#training").text_content()
    page.wait_for_timeout(300)
    assert page.locator("#training").text_content() == loss
    assert page.locator("#said .right").count() > 8


@needs_chromium
def test_the_same_course_again_is_the_same(demo, opened):
    page = opened(demo)
    page.locator("#size").fill("6")
    assert page.locator("#size-said").text_content() == "64"
    ends = []
    for _ in range(2):
        page.get_by_role("button", name="Begin again").click()
        assert page.locator("#epoch").text_content() == "0"
        start = page.locator("#held-out").text_content()
        page.get_by_role("button", name="Start").click()
        wait_for(page, lambda start=start: page.locator("#held-out").text_content() != start)
        ends.append(page.locator("#held-out").text_content())
        page.get_by_role("button", name="Pause").click()
    assert ends[0] == ends[1]


@needs_chromium
def test_the_sliders_change_how_it_trains(demo, opened):
    page = opened(demo)
    page.locator("#rate").fill("-5")
    assert page.locator("#rate-said").text_content() == "0.00001"
    page.locator("#size").fill("7")
    page.get_by_role("button", name="Start").click()
    wait_for_epoch(page, 2)
    assert number(page, "held-out") > 2.2
    page.locator("#rate").fill("-2")
    wait_for_epoch(page, 12)
    assert number(page, "held-out") < 1.2


@needs_chromium
def test_the_chosen_image_is_seen_through_the_filters(demo, opened):
    page = opened(demo)
    call = "() => [...document.querySelectorAll('#image, #filters div canvas:last-child')].map(one => one.toDataURL())"
    first = page.evaluate(call)
    page.locator("#said button").nth(5).click()
    assert all(now != then for now, then in zip(page.evaluate(call), first, strict=True))
    assert page.locator('#said [aria-pressed="true"]').count() == 1


@needs_chromium
def test_a_browser_that_cannot_run_it_is_told(demo, browser):
    page = browser.new_page()
    page.add_init_script("WebAssembly.instantiate = () => Promise.reject(new WebAssembly.CompileError('no vectors'))")
    page.goto(demo.as_uri())
    page.get_by_text("This browser cannot train").wait_for()
    assert page.get_by_role("button", name="Start").is_disabled()
    page.close()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(demo, opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(opened(demo, color_scheme=scheme)).response
    assert len(found["passes"]) > 15
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"]) for one in serious] == []


@needs_chromium
def test_it_fits_a_phone(demo, opened):
    page = opened(demo, viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_policy_allows_webassembly_and_no_network(demo):
    html = demo.read_text()
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', html).group(1))
    assert re.match(r"default-src 'none'; script-src 'sha256-[A-Za-z0-9+/=]+' 'wasm-unsafe-eval'; style-src ", policy)
    assert "connect-src" not in policy
    assert re.findall('(?:src|href)="(?!#)', html[: html.index('<script type="application/json"')]) == []
    assert len(html) < 1_500_000
    assert f"{IMAGES - HELD_OUT:,} images" in html


def test_the_command_writes_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli.main(["demo"], standalone_mode=False)
    assert (tmp_path / "demo.html").read_text().startswith("<!doctype html>")
