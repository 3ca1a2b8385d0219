"""A program of `torch.export`: PyTorch alone runs it, without ModelFlow."""

from pathlib import Path
from typing import ClassVar

from modelflow.export.loaded_run import BATCH, LoadedRun
from modelflow.export.target import Target, quiet
from modelflow.io.array import Array

MODEL = "model.pt2"
USE = """
```python
import torch

model = torch.export.load("model.pt2").module()
probabilities, logits = model(images)  # torch.uint8, N x C x H x W
```

`python selftest.py` checks it on golden images. It needs torch and numpy.
"""
SELF_TEST = '''"""Checks model.pt2 against golden.npz: python selftest.py"""

from pathlib import Path

import numpy as np
import torch

folder = Path(__file__).parent
golden = np.load(folder / "golden.npz")
model = torch.export.load(folder / "model.pt2").module()
with torch.no_grad():
    probabilities, _ = model(torch.from_numpy(golden["images"]))
difference = float(np.abs(probabilities.numpy() - golden["probabilities"]).max())
print(f"largest difference of a probability: {difference:.1e}")
raise SystemExit(difference > 1e-3)
'''


class Pt2(Target):
    """`torch.export.save`, with any number of images per call."""

    name: ClassVar[str] = "pt2"
    captions: ClassVar[dict[str, str]] = {MODEL: "the model, for torch.export.load"}
    use: ClassVar[str] = USE

    def write(self, run: LoadedRun, folder: Path) -> None:
        import torch

        from modelflow.export.from_bytes import FromBytes, example

        any_number = {0: torch.export.Dim("N", min=1)}
        with quiet():
            program = torch.export.export(FromBytes(run), (example(run),), dynamic_shapes=(any_number,))
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # lines of source by their paths on this machine
            torch.export.save(program, folder / MODEL)
        (folder / "selftest.py").write_text(SELF_TEST)

    def logits(self, folder: Path, images_NCHW: Array) -> Array:
        import torch

        model = torch.export.load(folder / MODEL).module()
        with torch.inference_mode():
            parts = [model(part)[1] for part in torch.split(torch.from_numpy(images_NCHW), BATCH)]
        logits_NK: Array = torch.cat(parts).numpy()
        return logits_NK
