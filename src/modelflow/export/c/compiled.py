"""A written model compiled by the machine's C compiler, and run on images: to check it before it is called done."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelflow.errors import RunError
from modelflow.export.c.pixels import Images

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")
COMPILERS = ("cc", "gcc", "clang")
MAIN = """\
#include <stdio.h>
#include HEADER

static uint8_t image[MODEL_IMAGE_BYTES];
static float logits[MODEL_CLASSES];

int main(void)
{
    if (!model_selftest())
        return 3;
    while (fread(image, 1, sizeof image, stdin) == sizeof image) {
        model_logits(image, logits);
        if (fwrite(logits, sizeof *logits, MODEL_CLASSES, stdout) != MODEL_CLASSES)
            return 4;
    }
    return 0;
}
"""
FAILED_SELFTEST = 3


def compiler() -> str | None:
    """The machine's C compiler: that of the variable CC, else the first that is there; None where there is none."""
    asked = os.environ.get("CC", "").split()
    return next((found for name in (*asked[:1], *COMPILERS) if (found := shutil.which(name))), None)


def logits_of(source: Path, images_NCHW: Images, compiler: str, *flags: str) -> NDArray[np.float32]:
    """Logits N x K of bytes of images, by a C file whose header lies beside it, compiled with warnings as errors.

    Raises `RunError` where it does not compile, fails its self-test, or crashes.
    """
    with tempfile.TemporaryDirectory() as scratch:
        main, program = Path(scratch) / "main.c", Path(scratch) / "model"
        main.write_text(MAIN, "utf-8")
        header = f'-DHEADER="{source.with_suffix(".h").name}"'
        command = [compiler, "-O2", *FLAGS, *flags, "-I", str(source.parent), header, str(source), str(main)]
        made = subprocess.run([*command, "-o", str(program), "-lm"], capture_output=True, text=True, check=False)
        if made.returncode:
            raise RunError(f"{source}: {compiler} failed:\n{made.stderr.strip()[:2000]}")
        turned = np.ascontiguousarray(images_NCHW.transpose(0, 2, 3, 1))
        ran = subprocess.run([str(program)], input=turned.tobytes(), capture_output=True, check=False)
    if ran.returncode == FAILED_SELFTEST:
        raise RunError(f"{source}: model_selftest() fails. Export the run again.")
    if ran.returncode:
        raise RunError(f"{source}: the compiled model ends with code {ran.returncode}.")
    return np.frombuffer(ran.stdout, np.float32).reshape(len(images_NCHW), -1)
