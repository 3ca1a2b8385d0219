"""Networks as C: compiled with warnings as errors, their logits beside torch's, their bytes beside what was said."""

import re
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from modelflow.data.datasets import pixel_statistics
from modelflow.data.sources import read_source
from modelflow.errors import DataError, RunError, UsageError
from modelflow.export.c import float_steps, quantise
from modelflow.export.c.compiled import FLAGS, logits_of
from modelflow.export.c.memory import planned
from modelflow.export.c.pixels import Pixels
from modelflow.export.c.source import c_model
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import parse_spec
from modelflow.networks.layers.activation import WORDS
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.registry import kinds
from modelflow.networks.program import operations
from modelflow.networks.program.lowering import lowered
from modelflow.networks.resolve import CARD, preset
from modelflow.networks.trace import trace
from programs import EVERY_KIND, PREACTIVATED, assert_alike, by_torch, images_for, network_of, pixels_for, state_of
from random_layers import NETWORKS, that_fits

FEW = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to make a failure smaller would compile hundreds
)
COMPILERS = [
    pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed"))
    for name in ("gcc", "clang")
]
pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")


def written(model, folder, images, pixels, int8=False, title="net", names=None):
    names = names or [f"class {k}" for k in range(model.spec.logits)]
    calibration = images if int8 else None
    made = c_model(title, model.trace, state_of(model), pixels, names, images[0], calibration)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in made.files().items():
        (folder / name).write_text(content, "utf-8")
    return made


@given(NETWORKS, st.integers(0, 5))
@FEW
def test_random_networks_give_torchs_logits(tmp_path_factory, fields, seed):
    spec, _ = that_fits(fields)
    model, folder = network_of(spec, seed), tmp_path_factory.mktemp("c")
    images, pixels = images_for(model), pixels_for(spec.input_shape[0])
    written(model, folder, images, pixels)
    assert_alike(logits_of(folder / "model.c", images, "gcc"), by_torch(model, pixels, images))


@given(NETWORKS, st.integers(0, 5))
@FEW
def test_random_networks_in_int8_give_what_was_computed_without_a_compiler(tmp_path_factory, fields, seed):
    spec, traced = that_fits(fields)
    model, folder = network_of(spec, seed), tmp_path_factory.mktemp("c")
    images, pixels = images_for(model), pixels_for(spec.input_shape[0])
    written(model, folder, images, pixels, int8=True)
    made = quantise.quantised(lowered(traced, state_of(model)), pixels, images)
    expected = quantise.logits(made, images)
    assert np.array_equal(logits_of(folder / "model.c", images, "gcc"), expected)


def test_what_is_read_again_later_is_kept(tmp_path):
    """A residual's input, which is read by a norm, an activation or a factor first, is neither merged nor replaced."""
    model = network_of(PREACTIVATED)
    images, pixels = images_for(model), pixels_for(2)
    written(model, tmp_path, images, pixels)
    assert_alike(logits_of(tmp_path / "model.c", images, "gcc"), by_torch(model, pixels, images))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", [name for name in CARD if name != "generic_3"])
def test_the_presets_give_torchs_logits(tmp_path, name, compiler):
    model = network_of(preset(name))
    images, pixels = images_for(model, 20), Pixels((0.286,), (0.353,))
    written(model, tmp_path / "float", images, pixels)
    assert_alike(logits_of(tmp_path / "float" / "model.c", images, compiler), by_torch(model, pixels, images))
    written(model, tmp_path / "int8", images, pixels, int8=True)
    assert len(logits_of(tmp_path / "int8" / "model.c", images, compiler)) == 20


def test_the_file_says_its_bytes_and_size_finds_them(tmp_path):
    """Of an object file: what the constants take, and the static memory."""
    model = network_of(EVERY_KIND)
    images, pixels = images_for(model), pixels_for(3)
    for int8 in (False, True):
        folder = tmp_path / str(int8)
        made = written(model, folder, images, pixels, int8)
        sections = section_sizes(folder)
        assert sections[".rodata.constants"] == made.constant_bytes
        assert sum(size for name, size in sections.items() if name.startswith(".bss")) == made.ram_bytes
        assert not any(size for name, size in sections.items() if name.startswith(".data"))
        assert f"#define MODEL_CONSTANT_BYTES {made.constant_bytes}\n" in made.files()["model.h"]
        assert f"#define MODEL_RAM_BYTES {made.ram_bytes}\n" in made.files()["model.h"]


def section_sizes(folder):
    """The sections of the object file of a model, its constants in one of their own."""
    flags = [*FLAGS, "-Os", "-fdata-sections", "-c", "-o", "model.o"]
    subprocess.run(["gcc", *flags, "model.c"], cwd=folder, check=True)
    told = subprocess.run(["size", "-A", "model.o"], cwd=folder, check=True, capture_output=True, text=True).stdout
    return {name: int(size) for name, size in re.findall(r"^(\.\S+) +(\d+)", told, re.M)}


def test_nothing_is_allocated_and_nothing_but_the_standard_library_is_called(tmp_path):
    model = network_of(EVERY_KIND)
    written(model, tmp_path, images_for(model), pixels_for(3))
    section_sizes(tmp_path)
    needed = subprocess.run(["nm", "-u", "model.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert {*needed.split()} - {"U"} == {"expf", "erff", "tanhf", "_GLOBAL_OFFSET_TABLE_"} & {*needed.split()}
    written(model, tmp_path, images_for(model), pixels_for(3), int8=True)
    section_sizes(tmp_path)
    needed = subprocess.run(["nm", "-u", "model.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert {*needed.split()} <= {"U", "_GLOBAL_OFFSET_TABLE_"}


@given(NETWORKS)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_values_that_are_alive_at_once_lie_apart(fields):
    spec, traced = that_fits(fields)
    program = lowered(traced, state_of(GenericCNN(spec)))
    memory = planned(program)
    alive = {program.input}
    left = program.readers()
    for operation in program.operations:
        inputs = {value.owner for value in operation.inputs}
        assert inputs <= alive
        for value in inputs:
            left[value] -= 1
        over = {value for value in inputs if not left[value] and isinstance(operation, operations.IN_PLACE)}
        assert_apart(memory, (alive - over) | {operation.output})
        alive = {value for value in alive | {operation.output} if left[value]}
    assert memory.size * 4 <= 2 * traced.peak[0]


def assert_apart(memory, values):
    spans = sorted((memory.place(value), memory.place(value) + value.count) for value in values)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert spans[-1][1] <= memory.size


@pytest.mark.parametrize("name", CARD)
def test_memory_of_the_presets_is_what_is_alive_at_most(name):
    """Activations are computed as they are stored, so that a block needs what it reads and what it gives."""
    model = GenericCNN(preset(name))
    program = lowered(model.trace, state_of(model))
    most = max(operation.inputs[0].count + operation.output.count for operation in program.operations)
    assert planned(program).size == most


@pytest.mark.parametrize("int8", [False, True])
def test_the_self_test_fails_when_a_weight_is_changed(tmp_path, int8):
    model = network_of(preset("generic_2"))
    images, pixels = images_for(model), Pixels((0.286,), (0.353,))
    written(model, tmp_path, images, pixels, int8)
    assert len(logits_of(tmp_path / "model.c", images, "gcc")) == len(images)
    path = tmp_path / "model.c"
    content = path.read_text("utf-8")
    first = re.compile(r"(weights_0 = \{\s+)(-?)[^,]+")
    changed = first.sub(lambda found: f"{found[1]}{'' if found[2] else '-'}100", content)
    assert changed != content
    path.write_text(changed, "utf-8")
    with pytest.raises(RunError, match="model_selftest"):
        logits_of(tmp_path / "model.c", images, "gcc")


PREDICT = """
#include <stdio.h>
#include "model.h"
static const char *const names[] = MODEL_CLASS_NAMES;
int main(void)
{
    static uint8_t image[MODEL_IMAGE_BYTES];
    float probabilities[MODEL_CLASSES];
    if (fread(image, 1, sizeof image, stdin) != sizeof image)
        return 1;
    model_predict(image, probabilities);
    printf("%s", names[model_class(image)]);
    for (int k = 0; k < MODEL_CLASSES; k++)
        printf("\\n%.9g", (double)probabilities[k]);
    return 0;
}
"""
HOSTILE = ['"; exit(1); "', "*/ /* // \\", "??/ %s \n\t", "Schuh ❄ é"]


def test_probabilities_and_names_of_classes(tmp_path):
    spec = parse_spec({"input": [3, 5, 7], "classes": 4, "layers": "c3 gap fc"})
    model = network_of(spec)
    model.layers[-1].linear.weight.data *= 30
    images, pixels = images_for(model), Pixels((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 16)
    written(model, tmp_path, images, pixels, names=HOSTILE, title="*/ int x;")
    (tmp_path / "main.c").write_text(PREDICT, "utf-8")
    subprocess.run(["gcc", *FLAGS, "model.c", "main.c", "-o", "main"], cwd=tmp_path, check=True)
    for image in images:
        given = np.ascontiguousarray(image.transpose(1, 2, 0)).tobytes()
        ran = subprocess.run(["./main"], cwd=tmp_path, check=True, input=given, capture_output=True)
        told, *numbers = ran.stdout.decode().rsplit("\n", 4)
        expected = torch.softmax(torch.from_numpy(by_torch(model, pixels, image[None])[0]), 0).numpy()
        assert told == HOSTILE[expected.argmax()]
        assert np.abs(np.array(numbers, float) - expected).max() < 1e-5


def test_the_program_of_the_page_runs(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "how-to" / "microcontroller.md"
    program = re.search(r"^```c\n(.*?)^```$", page.read_text("utf-8"), re.S | re.M)[1]
    model = network_of(preset("generic_2"))
    written(model, tmp_path, images_for(model), Pixels((0.286,), (0.353,)))
    (tmp_path / "main.c").write_text(program, "utf-8")
    subprocess.run(["gcc", *FLAGS, "-Os", "main.c", "model.c", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run(["./main"], cwd=tmp_path, check=True)


def test_it_can_be_called_from_cpp(tmp_path):
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    model = network_of(preset("generic_2"))
    written(model, tmp_path, images_for(model), Pixels((0.286,), (0.353,)))
    (tmp_path / "main.cpp").write_text('#include "model.h"\nint main() { return !model_selftest(); }\n')
    subprocess.run(["gcc", *FLAGS, "-c", "model.c"], cwd=tmp_path, check=True)
    subprocess.run(["g++", "-Wall", "-Werror", "main.cpp", "model.o", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run(["./main"], cwd=tmp_path, check=True)


class Doubled(LayerKind):
    """A kind that computes by itself."""


def test_a_kind_of_layer_without_c_is_refused():
    traced = trace(EVERY_KIND)
    first = traced.layers[0]
    odd = replace(traced, layers=(replace(first, written=Doubled()), *traced.layers[1:]))
    with pytest.raises(UsageError, match=r"layers\.0: layers of the kind Doubled run in PyTorch alone"):
        lowered(odd, state_of(GenericCNN(EVERY_KIND)))


def test_an_activation_is_known_to_all_that_run_it_or_refused(monkeypatch):
    assert set(operations.ACTIVATIONS) == set(float_steps.ACTIVATIONS) == set(WORDS)
    model = GenericCNN(parse_spec({"input": [1, 8, 8], "classes": 3, "layers": "c4-act gelu m2 fc"}))
    program = lowered(model.trace, state_of(model))
    monkeypatch.delitem(float_steps.ACTIVATIONS, "gelu")
    (gelu,) = (operation for operation in program.operations if isinstance(operation, operations.Activate))
    with pytest.raises(UsageError, match="gelu is not written in C yet"):
        float_steps.step(gelu, 0, str)
    monkeypatch.delitem(operations.ACTIVATIONS, "gelu")
    with pytest.raises(UsageError, match="gelu run in PyTorch alone, not yet as C or in the report"):
        lowered(model.trace, state_of(model))


def test_every_kind_of_layer_can_be_exported():
    assert {layer.kind for _, layer in trace(EVERY_KIND).rows()} == {*kinds()}


def test_weights_that_are_not_finite_or_missing_are_refused():
    model = network_of(EVERY_KIND)
    state = state_of(model)
    with pytest.raises(DataError, match=r"no layers\.0\.conv\.weight"):
        lowered(model.trace, {name: value for name, value in state.items() if not name.startswith("layers.0")})
    state["layers.0.conv.weight"] = state["layers.0.conv.weight"] * np.nan
    with pytest.raises(DataError, match=r"layers\.0\.conv\.weight has values that are not finite"):
        lowered(model.trace, state)


def test_a_network_too_large_for_c_is_refused():
    spec = parse_spec({"input": [1, 64, 64], "classes": 10, "layers": [{"linear": 1000}, {"linear": "classes"}]})
    with pytest.raises(UsageError, match="4,107,010 parameters, expected at most 4,000,000"):
        c_model("large", trace(spec), {}, pixels_for(1), ["k"] * 10, np.zeros((1, 64, 64), np.uint8))


def test_sums_too_long_for_int8_are_refused():
    spec = parse_spec({"input": [1, 260, 260], "classes": 2, "layers": [{"linear": "classes"}]})
    model = network_of(spec)
    with pytest.raises(UsageError, match="67,600 products, expected at most 66,311"):
        quantise.quantised(lowered(model.trace, state_of(model)), pixels_for(1), images_for(model, 1))


def test_int8_agrees_on_the_digits():
    """Trained for a moment: at most 2 % of the classes change, and accuracy by at most a point."""
    source = read_source("digits")
    pixels = Pixels(*((value,) for value in pixel_statistics(source.train_images, source.white)), source.white)
    x, y = pixels.normalised(source.train_images[:, None]), torch.from_numpy(source.train_labels).long()
    spec = parse_spec({"input": [1, 8, 8], "classes": 10, "layers": "c8 s16/2e4 s16r gap fc"})
    model = trained(GenericCNN(spec), x, y)
    made = quantise.quantised(lowered(model.trace, state_of(model)), pixels, source.train_images[:500, None])
    images, labels = source.test_images[:, None], source.test_labels
    found, expected = (logits.argmax(1) for logits in (quantise.logits(made, images), by_torch(model, pixels, images)))
    assert (expected == labels).mean() > 0.85
    assert (found == expected).mean() > 0.98
    assert abs((found == labels).mean() - (expected == labels).mean()) < 0.01


def trained(model, x, y, epochs=8):
    optimizer, generator = torch.optim.Adam(model.parameters(), lr=1e-2), torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for index in torch.randperm(len(x), generator=generator).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()
    return model.eval()
