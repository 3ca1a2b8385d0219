"""One C99 file and a header, in float and in int8: no library, no allocation."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modelflow.errors import UsageError
from modelflow.export.c.compiled import compiler, logits_of
from modelflow.export.c.pixels import Pixels
from modelflow.export.c.source import CModel, c_model
from modelflow.export.int8 import beside_float, calibration
from modelflow.export.loaded_run import LoadedRun
from modelflow.export.target import Target, as_NCHW

Array = np.ndarray[Any, Any]
CALIBRATED_ON = 500  # training images
INT8 = "int8"
USE = """
```c
#include "model.h"

if (!model_selftest())
    return 1;
model_predict(image, probabilities);  /* uint8_t, height x width x channels */
```

Compile with `cc -std=c99 -Os main.c model.c`. Add `-lm` where `model.h` asks for it. `model_selftest()` checks the
model on an image that it holds.
"""


class C(Target):
    """`model.c` and `model.h` in float, the same in int8 in a folder of its own."""

    name: ClassVar[str] = "c"
    captions: ClassVar[dict[str, str]] = {
        "model.c": "the model, C99 without any library",
        "model.h": "its functions, sizes and class names; bytes of flash and RAM",
        f"{INT8}/model.c": "the model with weights and activations in 8 bits",
        f"{INT8}/model.h": "its functions, sizes and class names; bytes of flash and RAM",
    }
    use: ClassVar[str] = USE

    def write(self, run: LoadedRun, folder: Path) -> None:
        _compiler()
        _written(_model(run, None), folder)

    def logits(self, folder: Path, images_NCHW: Array) -> Array:
        return logits_of(folder, images_NCHW, _compiler())

    def remarks(self, run: LoadedRun, folder: Path) -> list[str]:
        """Flash and RAM of both models, then the accuracy of the one in 8 bits beside the float's."""
        sizes = [_size("model.c", _model(run, None))]
        if (source := run.source) is None:
            return [*sizes, f"No {INT8}: its scales are chosen by the training images, which are not on this machine."]
        model = _model(run, calibration(source, CALIBRATED_ON))
        place = folder / INT8
        place.mkdir()
        _written(model, place)
        images_NCHW, y_N = as_NCHW(source.test_images), source.test_labels
        float_N, int8_N = (self.logits(where, images_NCHW).argmax(1) == y_N for where in (folder, place))
        return [*sizes, _size(f"{INT8}/model.c", model), beside_float(f"{INT8}/model.c", int8_N, float_N)]


def _compiler() -> str:
    """The machine's C compiler. Raises `UsageError` where there is none."""
    found = compiler()
    if found is None:
        raise UsageError(
            "--to c: no C compiler is here, by which the model is checked. Install gcc or clang, or name one in CC."
        )
    return found


def _model(run: LoadedRun, images_NCHW: Array | None) -> CModel:
    normalisation = run.normalisation
    pixels = Pixels(normalisation.mean, normalisation.std, normalisation.white)
    state = {name: value.numpy() for name, value in run.model.state_dict().items()}
    return c_model(run.record.model_name, run.model.trace, state, pixels, run.class_names, _golden(run), images_NCHW)


def _golden(run: LoadedRun) -> Array:
    """An image for the self-test, C x H x W bytes: the first test image, or noise where these are not there."""
    if (source := run.source) is not None:
        golden: Array = as_NCHW(source.test_images)[0]
        return golden
    white = run.normalisation.white
    return np.random.default_rng(0).integers(0, white, run.spec.input_shape, np.uint8, endpoint=True)


def _written(model: CModel, folder: Path) -> None:
    for name, text in model.files.items():
        (folder / name).write_text(text, "utf-8")


def _size(name: str, model: CModel) -> str:
    return f"{name}: {model.constant_bytes:,} bytes of constants in flash, {model.ram_bytes:,} bytes of RAM."
