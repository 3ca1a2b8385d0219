"""An ONNX model by torch's exporter, run by ONNX Runtime, and the same with weights and activations in 8 bits."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np

from modelflow.errors import UsageError
from modelflow.export.int8 import beside_float, calibration
from modelflow.export.loaded_run import LoadedRun
from modelflow.export.target import Target, as_NCHW, quiet
from modelflow.io.array import Array

MODEL, INT8 = "model.onnx", "model_int8.onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
CALIBRATED_ON = 1000  # training images, evenly spread
BATCH = 100
USE = """
```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
probabilities, logits = session.run(None, {"images": images})  # numpy.uint8, N x C x H x W
```

`python selftest.py` checks it on golden images. It needs onnxruntime and numpy.
"""
SELF_TEST = '''"""Checks model.onnx against golden.npz: python selftest.py"""

from pathlib import Path

import numpy as np
import onnxruntime

folder = Path(__file__).parent
golden = np.load(folder / "golden.npz")
session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
probabilities = session.run(["probabilities"], {"images": golden["images"]})[0]
difference = float(np.abs(probabilities - golden["probabilities"]).max())
print(f"largest difference of a probability: {difference:.1e}")
raise SystemExit(difference > 1e-3)
'''


class Onnx(Target):
    """model.onnx, and model_int8.onnx where the training images are on this machine to choose its scales by."""

    name: ClassVar[str] = "onnx"
    captions: ClassVar[dict[str, str]] = {MODEL: "the model", INT8: "the model in 8 bits"}
    use: ClassVar[str] = USE

    def write(self, run: LoadedRun, folder: Path) -> None:
        _check_packages()
        import torch

        from modelflow.export.from_bytes import FromBytes, example

        with quiet():
            program = torch.onnx.export(
                FromBytes(run),
                (example(run),),
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["probabilities", "logits"],
                dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
            )
            assert program is not None
            for node in program.model.graph:
                node.metadata_props.clear()  # lines of source by their paths on this machine
            program.save(folder / MODEL)
        (folder / "selftest.py").write_text(SELF_TEST)

    def logits(self, folder: Path, images_NCHW: Array) -> Array:
        return _logits(folder / MODEL, images_NCHW)

    def remarks(self, run: LoadedRun, folder: Path) -> list[str]:
        """The accuracy of the model in 8 bits beside the float's, with the interval of the difference."""
        if (source := run.source) is None:
            return [f"No {INT8}: its scales are chosen by the training images, which are not on this machine."]
        _quantise(folder, calibration(source, CALIBRATED_ON))
        images_NCHW, y_N = as_NCHW(source.test_images), source.test_labels
        whole_N, int8_N = (_logits(folder / name, images_NCHW).argmax(1) == y_N for name in (MODEL, INT8))
        sizes = [(folder / name).stat().st_size for name in (MODEL, INT8)]
        return [
            beside_float(INT8, int8_N, whole_N),
            f"{INT8} has {sizes[1]:,} bytes, {MODEL} {sizes[0]:,}.",
        ]


def _check_packages() -> None:
    for package in PACKAGES:
        try:
            import_module(package)
        except ImportError:
            raise UsageError(
                f"--to onnx: the package {package} is missing. Run, in the folder of ModelFlow, "
                'pip install -c constraints.txt -e ".[export]"'
            ) from None


def _logits(path: Path, images_NCHW: Array) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    starts = range(0, len(images_NCHW), BATCH)
    parts = [session.run(["logits"], {"images": images_NCHW[start : start + BATCH]})[0] for start in starts]
    logits_NK: Array = np.concatenate(parts)
    return logits_NK


def _quantise(folder: Path, images_NCHW: Array) -> None:
    """Static quantisation: 8 bits for weights, per channel, and for activations, by their ranges on these images."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Batches(CalibrationDataReader):  # type: ignore[misc]  # without types of its own
        def __init__(self) -> None:
            self.batches: Iterator[Array] = iter(np.array_split(images_NCHW, max(1, len(images_NCHW) // BATCH)))

        def get_next(self) -> dict[str, Array] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    with quiet():
        quantize_static(
            folder / MODEL,
            folder / INT8,
            Batches(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
