"""Small things that several tests take: a record, a study of the digits, a folder of four kinds of images."""

import numpy as np

from modelflow.evaluation.record import Metrics
from modelflow.results.records import DataRecord, Run
from modelflow.results.settings import StudySettings, validated, whole


def a_run(**changes):
    """A finished run's record."""
    fields = {
        "model_name": "generic_2",
        "model_class": "GenericCNN",
        "spec": None,
        "settings": {"dataset": "fashion-mnist"},
        "protocol": "card",
        "seed": 42,
        "epochs": 10,
        "lr": 3e-4,
        "parameters": 11_854,
        "macs": 69_320,
        "data": DataRecord(name="fashion-mnist", training_images=60_000, validation_images=10_000),
        "versions": {"python": "3"},
        "processor": "any",
        "device": "cpu",
        "threads": 1,
        "git_revision": None,
        "started": "2025-01-01T00:00:00+00:00",
        "seconds": {"training": 30.0, "evaluation": 1.0},
        "metrics": Metrics(accuracy=0.87, macro_f1=0.86, loss=0.4, images=10_000),
        "dead_units": {},
        "warnings": (),
    }
    return Run(**fields | changes)


def spec(channels):
    return {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [channels], "fc_sizes": [20]}


def digits_study(**changes):
    models = [{"name": "narrow", "spec": spec(3)}, {"name": "wide", "spec": spec(8)}]
    fields = {"dataset": "digits", "models": models, "epochs": 2, "seeds": [42, 43], "lr": 3e-3}
    return whole(validated(StudySettings, fields | changes, "test"))


def spec_of_four(channels):
    return {"in_channels": 1, "num_classes": 4, "input_size": 8, "cov_features": [channels], "fc_sizes": [5]}


def write_four(folder, seed):
    """A data set of 80 training and 40 test images in the MNIST format, its images drawn from the seed."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for part, images in (("train", 80), ("t10k", 40)):
        y = np.arange(images, dtype=np.uint8) % 4
        x = (rng.random((images, 8, 8)) * 60 + 40 * y[:, None, None]).astype(np.uint8)
        for kind, values in (("images-idx3", x), ("labels-idx1", y)):
            head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
            (folder / f"{part}-{kind}-ubyte").write_bytes(head + values.tobytes())
    return folder
