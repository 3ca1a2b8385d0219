"""A folder as Hugging Face has models: configuration, weights, card. `load_run` reads it back."""

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

from modelflow.export.loaded_run import LoadedRun, load_run
from modelflow.export.target import Target
from modelflow.io.array import Array
from modelflow.results import layout

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
USE = """
```python
from modelflow import load_run

prediction = load_run(".").predict(["picture.png"])  # paths, pictures of Pillow's, or arrays
print(prediction.labels, prediction.top(3))
```

`python selftest.py` checks it on golden images. Upload the folder: `hf upload YOUR_NAME/YOUR_MODEL .`
"""
SELF_TEST = '''"""Checks the model against golden.npz: python selftest.py"""

from pathlib import Path

import numpy as np

from modelflow import load_run

folder = Path(__file__).parent
golden = np.load(folder / "golden.npz")
probabilities = load_run(folder).predict(golden["images"]).probabilities
difference = float(np.abs(probabilities - golden["probabilities"]).max())
print(f"largest difference of a probability: {difference:.1e}")
raise SystemExit(difference > 1e-3)
'''


class HuggingFace(Target):
    """config.json, model.safetensors, preprocessor_config.json, and run.json without folders of this machine."""

    name: ClassVar[str] = "huggingface"
    captions: ClassVar[dict[str, str]] = {
        CONFIG: "network and classes",
        PREPROCESSOR: "size and normalisation of the images",
        layout.WEIGHTS: "the weights",
    }
    use: ClassVar[str] = USE
    needs_spec: ClassVar[bool] = True

    def write(self, run: LoadedRun, folder: Path) -> None:
        _ = run.model  # which checks the weights
        shutil.copyfile(run.folder / layout.WEIGHTS, folder / layout.WEIGHTS)
        anywhere = run.record.data.model_copy(update={"folder": None})
        layout.write_run(folder, run.record.model_copy(update={"data": anywhere}))
        for name, content in ((CONFIG, _config(run)), (PREPROCESSOR, _preprocessor(run))):
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        (folder / "selftest.py").write_text(SELF_TEST)

    def logits(self, folder: Path, images_NCHW: Array) -> Array:
        return load_run(folder).logits(images_NCHW)


def _config(run: LoadedRun) -> dict[str, Any]:
    channels, height, width = run.spec.input_shape
    return {
        "model_type": "modelflow",
        "architectures": [run.record.model_class],
        "id2label": dict(enumerate(run.class_names)),
        "label2id": {name: k for k, name in enumerate(run.class_names)},
        "num_channels": channels,
        "image_size": [height, width],
        "spec": run.record.spec,
    }


def _preprocessor(run: LoadedRun) -> dict[str, Any]:
    (channels, height, width), normalisation = run.spec.input_shape, run.normalisation
    one_each = [list(values) * (channels // len(values)) for values in (normalisation.mean, normalisation.std)]
    return {
        "do_resize": True,
        "size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / normalisation.white,
        "do_normalize": True,
        "image_mean": one_each[0],
        "image_std": one_each[1],
    }
