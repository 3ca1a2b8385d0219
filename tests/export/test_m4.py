"""Networks as C on an emulated Cortex-M4 without an operating system: self-test, logits, bytes of flash and RAM."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_c import written

from modelflow.export.c import quantise
from modelflow.export.c.compiled import FLAGS
from modelflow.export.c.device import CODE_BYTES
from modelflow.export.c.pixels import Pixels
from modelflow.networks.program.lowering import lowered
from modelflow.networks.resolve import preset
from programs import EVERY_KIND, assert_alike, by_torch, images_for, network_of, pixels_for, state_of

TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason="apt install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
)
BOARD = Path(__file__).parent / "m4"
M4 = ["-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
M0 = ["-mthumb", "-mcpu=cortex-m0"]


def gcc(folder, *arguments):
    subprocess.run(["arm-none-eabi-gcc", "-Os", *FLAGS, *map(str, arguments)], cwd=folder, check=True)


def on_m4(folder, images):
    """Logits N x K by the model in a folder, run on the emulated processor."""
    turned = images.transpose(0, 2, 3, 1).reshape(len(images), -1)
    rows = ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in turned)
    head = f"#include <stdint.h>\n#define IMAGES {len(images)}\n"
    size = f"{len(images)}][{turned.shape[1]}"
    (folder / "images.h").write_text(f"{head}static const uint8_t images[{size}] = {{\n{rows}\n}};\n")
    sources = ["model.c", BOARD / "main.c", BOARD / "start.c"]
    gcc(folder, *M4, "-I.", "-nostartfiles", "-T", BOARD / "memory.ld", *sources, "-lm", "-o", "model.elf")
    board = ["-machine", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none"]
    command = ["qemu-system-arm", *board, "-semihosting-config", "enable=on,target=native", "-kernel", "model.elf"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.returncode
    words = (ran.stdout + ran.stderr).split()
    bits = np.array([int(word, 16) for word in words], np.uint32)
    return bits.view(np.float32).reshape(len(images), -1)


@pytest.mark.parametrize("name", ["generic_2", "every kind"])
def test_logits_on_the_processor(tmp_path, name):
    model = network_of(EVERY_KIND if name == "every kind" else preset(name))
    channels = model.trace.input_shape[0]
    images, pixels = images_for(model, 5), pixels_for(channels)
    written(model, tmp_path / "float", images, pixels)
    assert_alike(on_m4(tmp_path / "float", images), by_torch(model, pixels, images))
    written(model, tmp_path / "int8", images, pixels, int8=True)
    made = quantise.quantised(lowered(model.trace, state_of(model)), pixels, images)
    assert_alike(on_m4(tmp_path / "int8", images), quantise.logits(made, images))


@pytest.mark.parametrize("name", ["cnn2_7", "generic_1", "generic_2"])
@pytest.mark.parametrize("processor", [M4, M0], ids=["m4", "m0"])
@pytest.mark.parametrize("int8", [False, True])
def test_what_a_linked_program_takes(tmp_path, name, processor, int8):
    """Constants and memory as said beforehand, and no more code than `models --device` leaves room for."""
    model = network_of(preset(name))
    made = written(model, tmp_path, images_for(model), Pixels((0.286,), (0.353,)), int8)
    gcc(tmp_path, *processor, "-fdata-sections", "-c", "model.c")
    sections = sizes(tmp_path / "model.o", "-A")
    assert int(re.search(r"\.rodata\.constants +(\d+)", sections)[1]) == made.constant_bytes
    assert sum(map(int, re.findall(r"\.bss\S* +(\d+)", sections))) == made.ram_bytes
    (tmp_path / "main.c").write_text('#include "model.h"\nint main(void) { return model_selftest(); }\n')
    gcc(
        tmp_path,
        *processor,
        "-nostartfiles",
        "-T",
        BOARD / "memory.ld",
        "model.c",
        "main.c",
        BOARD / "start.c",
        "-o",
        "model.elf",
    )
    flash = int(sizes(tmp_path / "model.elf").split("\n")[1].split()[0])
    assert flash - made.constant_bytes <= CODE_BYTES


def sizes(path, *flags):
    command = ["arm-none-eabi-size", *flags, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
