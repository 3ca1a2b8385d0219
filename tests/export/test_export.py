"""Exports run by themselves and say what the run says; what differs is refused and nothing is left of it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from huggingface_hub import ModelCard

from modelflow import load_run, run_study
from modelflow.data.sources import read_source
from modelflow.errors import DataError, RunError, UsageError
from modelflow.export import export as exporting
from modelflow.export.export import compared, export, names, target_named
from modelflow.export.loaded_run import LoadedRun
from modelflow.export.target import Target

OF_MANY_KINDS = "c8/2 (c8 c8-act)r+conv s12e4 a2 drop0.3 fc20 fc"
FORMS = ["huggingface", "onnx", "pt2"]


@pytest.fixture(scope="session")
def exports(taken, tmp_path_factory):
    """Each run in each form, as it was written."""
    where = tmp_path_factory.mktemp("exports")
    runs = {"narrow": taken / "plain" / "narrow", "normed": taken / "averaged" / "c8-gap-fc"}
    return {
        (name, to): export(load_run(folder), to, where / f"{name}_{to}")
        for name, folder in runs.items()
        for to in FORMS
    }


def outputs(folder, to, images_NCHW):
    """Probabilities and logits by the exported model alone, each in its own way."""
    if to == "onnx":
        return onnxruntime.InferenceSession(folder / "model.onnx").run(None, {"images": images_NCHW})
    if to == "pt2":
        with torch.no_grad():
            return [
                one.numpy() for one in torch.export.load(folder / "model.pt2").module()(torch.from_numpy(images_NCHW))
            ]
    found = load_run(folder).predict(images_NCHW)
    return found.probabilities, found.logits


def test_the_forms_are_the_files_of_their_folder():
    assert [name for name in names() if name in FORMS] == FORMS
    for name in names():
        assert target_named(name).name == name
    with pytest.raises(UsageError, match=r"expected .*onnx, pt2"):
        target_named("abacus")


@pytest.mark.parametrize("to", FORMS)
@pytest.mark.parametrize("name", ["narrow", "normed"])
def test_bytes_in_probabilities_out(request, exports, name, to):
    images_NCHW = read_source("digits").test_images[:, None]
    own = request.getfixturevalue(name).predict(images_NCHW)
    probabilities_NK, logits_NK = outputs(exports[name, to].folder, to, images_NCHW)
    assert np.abs(logits_NK - own.logits).max() < 1e-5
    assert np.abs(probabilities_NK - own.probabilities).max() < 1e-5
    agreement = exports[name, to].agreement
    assert agreement.largest == pytest.approx(np.abs(logits_NK - own.logits).max(), abs=2e-6)
    assert (agreement.images, agreement.test, agreement.differing) == (355, True, 0)


@pytest.mark.parametrize("to", FORMS)
@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_images(exports, to, count):
    images_NCHW = read_source("digits").test_images[:count, None]
    assert outputs(exports["narrow", to].folder, to, images_NCHW)[0].shape == (count, 10)


@pytest.mark.parametrize("to", FORMS)
def test_the_self_test_runs_and_notices_another_model(exports, to, tmp_path):
    folder = exports["narrow", to].folder
    done = subprocess.run([sys.executable, folder / "selftest.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    other = exports["normed", to].folder
    (tmp_path / "golden.npz").write_bytes((folder / "golden.npz").read_bytes())
    for path in other.iterdir():
        if path.name != "golden.npz":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert subprocess.run([sys.executable, tmp_path / "selftest.py"], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("to", FORMS)
def test_card_and_classes(exports, to):
    folder = exports["narrow", to].folder
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "modelflow"
    assert "Images: bytes from 0 to 16, N x 1x8x8" in card.text
    assert "largest difference of a logit" in card.text
    for path in folder.iterdir():
        assert f"| {path.name} |" in card.text
    facts = json.loads((folder / "classes.json").read_text())
    assert facts["classes"] == list("0123456789")
    assert facts["images"] == {"channels": 1, "height": 8, "width": 8}


@pytest.mark.parametrize("to", FORMS)
def test_no_path_of_this_machine_is_in_a_model(exports, to):
    for path in exports["narrow", to].folder.iterdir():
        if path.name != "README.md":  # whose command that repeats the run names the spec
            assert str(Path(exporting.__file__).parents[1]).encode() not in path.read_bytes(), path


def test_hugging_face_s_folder_is_read_back(exports, narrow):
    folder = exports["narrow", "huggingface"].folder
    back = load_run(folder)
    assert back.class_names == narrow.class_names
    assert back.record.seed == narrow.record.seed
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"]["3"] == "3"
    preparing = json.loads((folder / "preprocessor_config.json").read_text())
    x = read_source("digits").test_images[:1, None]
    by_config = (x * preparing["rescale_factor"] - preparing["image_mean"][0]) / preparing["image_std"][0]
    assert np.allclose(by_config, narrow.normalisation.of(x), atol=1e-6)


def test_onnx_is_sound_and_its_8_bits_are_measured(exports, narrow):
    written = exports["narrow", "onnx"]
    onnx.checker.check_model(written.folder / "model.onnx", full_check=True)
    source = read_source("digits")
    session = onnxruntime.InferenceSession(written.folder / "model_int8.onnx")
    found = session.run(["logits"], {"images": source.test_images[:, None]})[0].argmax(1)
    accuracy = (found == source.test_labels).mean()
    assert f"model_int8.onnx: accuracy {accuracy:.2%}, float {narrow.record.metrics.accuracy:.2%}" in written.remarks[0]
    assert "95 % interval" in written.remarks[0]
    kinds = {one.data_type for one in onnx.load(written.folder / "model_int8.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in kinds


class Wrong(Target):
    """Writes a file, and gives other logits than the run."""

    name = "wrong"
    use = ""

    def __init__(self, change):
        self.change = change

    def write(self, run: LoadedRun, folder: Path) -> None:
        (folder / "model").write_text("a model")
        self.run = run

    def logits(self, _folder, images_NCHW):
        return self.change(self.run.logits(images_NCHW))


@pytest.mark.parametrize(
    "change", [lambda x: x + 0.002, lambda x: x[:, ::-1], lambda x: x[:, :9], lambda x: x * np.nan, lambda x: x * 1.01]
)
def test_a_model_that_differs_is_refused_and_removed(narrow, tmp_path, monkeypatch, change):
    monkeypatch.setattr(exporting, "target_named", lambda _: Wrong(change))
    with pytest.raises(RunError, match=r"is not the run's|other outputs"):
        export(narrow, "wrong", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_classes_may_differ_where_two_tie_alone():
    own_NK = np.array([[1.0, 1.0 - 1e-6, 0.0], [3.0, 1.0, 0.0]])
    tied_NK = np.array([[1.0 - 2e-6, 1.0, 0.0], [3.0, 1.0, 0.0]])
    assert compared(own_NK, tied_NK, test=True).differing == 1
    with pytest.raises(RunError, match="same class for 1 of 2"):
        compared(own_NK - [[0, 5e-4, 0], [0, 0, 0]], tied_NK, test=True)


def test_an_earlier_export_is_replaced_and_said_and_nothing_else_is(narrow, tmp_path):
    told = []
    export(narrow, "huggingface", tmp_path / "out")
    (tmp_path / "out" / "left.txt").write_text("of the export before")
    export(narrow, "huggingface", tmp_path / "out", told.append)
    assert any("replacing the earlier export" in line for line in told)
    assert not (tmp_path / "out" / "left.txt").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    with pytest.raises(UsageError, match="is no earlier export"):
        export(narrow, "huggingface", mine)
    assert (mine / "file").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "mine"}


def test_without_the_data_set_the_golden_images_are_noise_and_that_is_said(narrow, tmp_path, monkeypatch):
    def gone(_):
        raise DataError("not here")

    monkeypatch.setattr(LoadedRun, "read_source", gone)
    written = export(narrow, "onnx", tmp_path / "out")
    assert not written.agreement.test
    assert written.agreement.images == exporting.GOLDEN_IMAGES
    assert "is not on this machine" in written.remarks[0]
    assert "No model_int8.onnx" in written.remarks[1]
    assert np.load(tmp_path / "out" / "golden.npz")["images"].max() <= 16


def test_other_files_of_the_data_set_are_not_taken_for_it(narrow):
    other = narrow.record.data.model_copy(update={"checksums": {"digits": "0" * 64}})
    run = LoadedRun(narrow.folder, narrow.record.model_copy(update={"data": other}), ())
    with pytest.raises(DataError, match="other files"):
        run.read_source()
    assert run.source is None


def test_a_missing_package_is_named(narrow, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"onnxruntime is missing.*-e \"\.\[export\]\""):
        export(narrow, "onnx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_layers_of_other_kinds(tmp_path, to):
    run_study({"dataset": "digits", "epochs": 1, "models": [OF_MANY_KINDS]}, tmp_path, jobs=1, verbose=False)
    written = export(load_run(next(tmp_path.glob("*/run.json")).parent), to, tmp_path / "out")
    assert written.agreement.largest < 1e-4
