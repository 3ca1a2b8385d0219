"""One C99 file and a header for microcontrollers, compiled and run here, and the same with numbers in 8 bits."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from modelflow.errors import UsageError
from modelflow.export.c.compiled import compiler, logits_of
from modelflow.export.c.pixels import Pixels
from modelflow.export.c.source import CModel, c_model
from modelflow.export.int8 import beside_float, calibration
from modelflow.export.loaded_run import LoadedRun
from modelflow.export.target import Target, as_NCHW
from modelflow.io.array import Array
from modelflow.io.files import write_atomic
from modelflow.networks.layers.kind import Shape, shape_text
from modelflow.networks.trace import trace

MODEL, INT8 = "model", "model_int8"
CALIBRATED_ON = 500  # training images, evenly spread
USE = """
```c
#include "model.h"

static float probabilities[MODEL_CLASSES];

void look(const uint8_t *image) /* MODEL_IMAGE_BYTES: rows of pixels, channels side by side */
{
    model_predict(image, probabilities);
}
```

Compile model.c with any C99 compiler. `model_selftest()` returns 1 if the model gives what it should. Take
model_int8.c and model_int8.h in their place for the model in 8 bits.
"""


class C(Target):
    """model.c and model.h, and model_int8.c, model_int8.h where the training images are on this machine."""

    name: ClassVar[str] = "c"
    captions: ClassVar[dict[str, str]] = {
        "model.c": "the model",
        "model.h": "what it offers, its bytes of flash and RAM",
        "model_int8.c": "the model in 8 bits",
        "model_int8.h": "the same of the model in 8 bits",
    }
    use: ClassVar[str] = USE
    needs_spec: ClassVar[bool] = True

    def images_of(self, shape: Shape) -> str:
        """Channels come last, as pictures are in most devices' memory."""
        channels, height, width = shape
        return f"one image per call, {shape_text((height, width, channels))} (H x W x C)"

    def write(self, run: LoadedRun, folder: Path) -> None:
        _compiler()
        _write(_model(run), folder, MODEL)

    def logits(self, folder: Path, images_NCHW: Array) -> Array:
        return logits_of(folder / f"{MODEL}.c", images_NCHW, _compiler())

    def remarks(self, run: LoadedRun, folder: Path) -> list[str]:
        """Flash and RAM of both; the accuracy in 8 bits beside the float's, with the interval of the difference."""
        taken = _words(f"{MODEL}.c", _model(run))
        if (source := run.source) is None:
            return [taken, f"No {INT8}.c: its scales are chosen by the training images, which are not on this machine."]
        small = _model(run, calibration(source, CALIBRATED_ON))
        _write(small, folder, INT8)
        images_NCHW, y_N = as_NCHW(source.test_images), source.test_labels
        paths = (folder / f"{stem}.c" for stem in (MODEL, INT8))
        float_N, int8_N = (logits_of(path, images_NCHW, _compiler()).argmax(1) for path in paths)
        same = f"Same class for {int((float_N == int8_N).sum()):,} of {len(y_N):,}."
        accuracy = beside_float(f"{INT8}.c", int8_N == y_N, float_N == y_N)
        return [taken, _words(f"{INT8}.c", small), f"{accuracy} {same}"]


def _compiler() -> str:
    """The machine's C compiler. Raises `UsageError` where there is none: nothing goes out that was not run."""
    if found := compiler():
        return found
    raise UsageError("--to c: no C compiler on this machine, by which the export is checked. Install gcc, or set CC.")


def _model(run: LoadedRun, calibration_NCHW: Array | None = None) -> CModel:
    """A run in C: in int8 with images of its training set, else in float. Its golden image is a test image or noise."""
    shape, normalisation = run.spec.input_shape, run.normalisation
    if (source := run.source) is not None:
        golden = as_NCHW(source.test_images[:1])[0]
    else:
        golden = np.random.default_rng(0).integers(0, normalisation.white, shape, np.uint8, endpoint=True)
    state = {name: value.numpy() for name, value in run.model.state_dict().items()}
    pixels = Pixels(normalisation.mean, normalisation.std, normalisation.white)
    return c_model(run.record.model_name, trace(run.spec), state, pixels, run.class_names, golden, calibration_NCHW)


def _write(model: CModel, folder: Path, stem: str) -> None:
    for name, content in model.files(stem).items():
        write_atomic(folder / name, content)


def _words(what: str, model: CModel) -> str:
    return f"{what}: {model.constant_bytes:,} bytes of flash for constants, {model.ram_bytes:,} bytes of RAM."
