"""A run that was read back predicts what it predicted when it was evaluated, without its data set."""

import json
import shutil

import numpy as np
import pytest
import torch

from modelflow import GenericCNN, ModelFlow, load_dataset, load_run, run_models, run_study
from modelflow.data.sources import read_source
from modelflow.errors import DataError, RunError, UsageError
from modelflow.export.export import export
from modelflow.export.loaded_run import predict_by_all, seeds_of
from modelflow.results.layout import read_predictions
from report_studies import change
from small import spec

ROUNDING = 1e-5


def assert_as_stored(run, images):
    logits_NK, y_N = read_predictions(run.folder)
    found = run.predict(images)
    assert np.abs(found.logits - logits_NK).max() < ROUNDING
    assert (found.classes == logits_NK.argmax(1)).all()
    assert (found.classes == y_N).mean() == pytest.approx(run.record.metrics.accuracy)
    oracle_NK = torch.from_numpy(logits_NK).double().softmax(1).numpy()
    assert np.abs(found.probabilities - oracle_NK).max() < ROUNDING


@pytest.mark.parametrize("name", ["narrow", "normed"])
def test_the_digits_are_predicted_as_when_they_were_evaluated(request, name):
    assert_as_stored(request.getfixturevalue(name), read_source("digits").test_images)


def test_fashion_mnist_is_predicted_as_when_it_was_evaluated(tmp_path):
    run_study({"models": ["generic_2"], "epochs": 1, "batch_size": 256}, tmp_path, jobs=1, verbose=False)
    assert_as_stored(load_run(tmp_path / "generic_2"), read_source("fashion-mnist").test_images)


def test_the_averaged_weights_are_those_that_predict(normed):
    from modelflow.training.checkpoint import read_checkpoint

    trained_on = read_checkpoint(normed.folder / "model_checkpoint.pth")["ema"]["training_state_dict"]
    weights = normed.model.state_dict()
    assert any(not torch.equal(trained_on[name], value) for name, value in weights.items())
    assert_as_stored(normed, read_source("digits").test_images)


def test_the_model_is_in_eval_mode_also_where_gradients_are_off(narrow):
    with torch.inference_mode():
        logits = narrow.model(torch.zeros(1, 1, 8, 8))
    assert not narrow.model.training
    assert torch.equal(logits, narrow.model(torch.zeros(1, 1, 8, 8)))


def test_classes_probabilities_and_names(narrow):
    found = narrow.predict(read_source("digits").test_images[:4])
    assert len(found) == 4
    assert found.probabilities.shape == (4, 10)
    assert found.names == tuple("0123456789")
    assert found.labels == [found.names[k] for k in found.classes]
    for guesses, p_K in zip(found.top(3), found.probabilities, strict=True):
        assert [guess.probability for guess in guesses] == sorted(p_K.tolist(), reverse=True)[:3]


def test_the_data_set_is_not_needed(taken, tmp_path, monkeypatch):
    folder = shutil.copytree(taken / "plain" / "narrow", tmp_path / "narrow")
    expected = load_run(folder).predict(np.zeros((8, 8)))
    monkeypatch.setattr("modelflow.data.sources.read_source", None)
    found = load_run(folder).predict(np.zeros((8, 8)))
    assert (found.logits == expected.logits).all()


def test_seeds_are_averaged_by_their_probabilities(narrow):
    runs, left_out = seeds_of(narrow)
    assert [run.record.seed for run in runs] == [42, 43]
    assert left_out == []
    given = narrow.images_of(read_source("digits").test_images)
    each = [run.predict_given(given).probabilities for run in runs]
    found = predict_by_all(runs, given)
    assert np.abs(found.probabilities - (each[0] + each[1]) / 2).max() < 1e-7
    assert found.logits is None
    assert [run.record.seed for run in seeds_of(runs[1])[0]] == [42, 43]  # from a further seed's folder too


def test_a_seed_of_other_settings_is_left_out_and_named(taken, tmp_path):
    folder = shutil.copytree(taken / "plain", tmp_path / "plain") / "narrow"
    change(folder / "seeds" / "43", lr=0.1, settings={"lr": 0.1})
    runs, left_out = seeds_of(load_run(folder))
    assert [run.record.seed for run in runs] == [42]
    assert len(left_out) == 1
    assert "seeds/43" in left_out[0]


def test_a_run_without_mean_and_std_is_refused(taken, tmp_path):
    folder = shutil.copytree(taken / "plain" / "narrow", tmp_path / "narrow")
    change(folder, data={"mean": None})
    with pytest.raises(DataError, match=r"no mean and std.* Train it again"):
        load_run(folder).predict(np.zeros((8, 8)))
    assert load_run(folder).model is not None


@pytest.mark.parametrize("std", [0.0, -1.0])
def test_a_normalisation_that_cannot_be_is_refused(taken, tmp_path, std):
    folder = shutil.copytree(taken / "plain" / "narrow", tmp_path / "narrow")
    change(folder, data={"std": std})
    with pytest.raises(DataError, match="cannot be"):
        load_run(folder).predict(np.zeros((8, 8)))


def linear(classes=10):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))


@pytest.fixture(scope="module")
def of_modules(tmp_path_factory):
    where = tmp_path_factory.mktemp("modules")
    run_models({"linear": linear}, "digits", 2, where, epochs=1, lr=3e-3, verbose=False)
    return where


def test_a_module_without_a_spec_is_asked_for(of_modules):
    run = load_run(of_modules / "linear")
    assert len(run.history) == 1
    with pytest.raises(DataError, match=r"Give it in Python: load_run\(folder, model=Sequential\(\)\)"):
        run.predict(np.zeros((8, 8)))


@pytest.mark.parametrize("model", [linear(), linear])
def test_a_module_that_is_given_predicts(of_modules, model):
    before = None if model is linear else [p.clone() for p in model.parameters()]
    run = load_run(of_modules / "linear", model=model)
    assert_as_stored(run, read_source("digits").test_images)
    assert before is None or all(map(torch.equal, before, model.parameters()))
    runs, _ = seeds_of(run)
    assert [one.record.seed for one in runs] == [42, 43]
    assert not torch.equal(*(one.model[1].weight for one in runs))


def test_another_module_is_refused(of_modules):
    with pytest.raises(DataError, match="its network is another Sequential, with other layers"):
        load_run(of_modules / "linear", model=lambda: linear(11)).predict(np.zeros((8, 8)))
    with pytest.raises(UsageError, match="expected a module, or a function that makes one"):
        load_run(of_modules / "linear", model=3)


def test_a_module_is_exported_but_not_in_c(of_modules, tmp_path):
    run = load_run(of_modules / "linear", model=linear)
    assert export(run, "pt2", tmp_path / "out").agreement.test
    with pytest.raises(UsageError, match=r"a spec only\. For a module: --to onnx or --to pt2\."):
        export(run, "c", tmp_path / "c")


def test_a_run_made_in_python_from_a_data_set_predicts(tmp_path):
    train, val, test = load_dataset("digits").held_out_loaders()
    flow = ModelFlow(GenericCNN(**spec(3)), train, val, "net", results_dir=tmp_path, test_loader=test, verbose=False)
    flow.run(epochs=1)
    assert_as_stored(load_run(tmp_path / "net"), read_source("digits").test_images)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "SHA-256"),
    ],
    ids=["missing", "cut"],
)
def test_damaged_weights_are_refused(taken, tmp_path, damage, words):
    folder = shutil.copytree(taken / "plain" / "narrow", tmp_path / "narrow")
    damage(folder / "model.safetensors")
    with pytest.raises(DataError, match=words):
        _ = load_run(folder).model


def test_weights_that_give_no_finite_logits_are_told(narrow):
    narrow.model.conv_layers[0].bias.data.fill_(float("nan"))
    with pytest.raises(RunError, match="not finite"):
        narrow.predict(np.zeros((8, 8)))


def test_a_run_that_is_none(tmp_path):
    with pytest.raises(DataError, match=r"no run\.json there"):
        load_run(tmp_path)


def test_class_names_of_an_export_must_be_as_many(taken, tmp_path):
    folder = shutil.copytree(taken / "plain" / "narrow", tmp_path / "narrow")
    (folder / "classes.json").write_text(json.dumps({"classes": ["a", "b"]}))
    with pytest.raises(DataError, match="expected 10 classes"):
        _ = load_run(folder).class_names
