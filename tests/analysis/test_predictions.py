"""Predictions made elsewhere get the verdicts of the same runs' folders; what is no prediction is refused."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from modelflow import compare_predictions
from modelflow.analysis.comparison import compare_folders
from modelflow.analysis.predictions import compare_files
from modelflow.cli import run_command
from modelflow.errors import DataError, UsageError
from modelflow.results.layout import model_runs, read_predictions
from modelflow.results.protocol import Protocol


@pytest.fixture(scope="module")
def stored(results):
    """Logits S x N x K by model, and the labels, as the runs left them."""
    found = {}
    for model in ("narrow", "wide"):
        runs = [read_predictions(folder) for folder in model_runs(results / model)]
        found[model], labels_N = np.stack([logits for logits, _ in runs]), runs[0][1]
    return found, labels_N


def softmax(logits):
    p = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


FORMS = {
    "logits": lambda x: x,
    "probabilities": softmax,
    "half": lambda x: softmax(x).astype(np.float16),
    "classes": lambda x: x.argmax(-1),
    "bytes": lambda x: x.argmax(-1).astype(np.uint8),
    "tensor": lambda x: torch.tensor(x, requires_grad=True),
    "list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("form", FORMS)
def test_verdicts_are_those_of_the_folders(results, stored, form):
    logits, labels_N = stored
    given = {name: FORMS[form](one) for name, one in logits.items()}
    found = compare_predictions(given, labels_N.tolist() if form == "list" else labels_N)
    expected = compare_folders([results / "narrow", results / "wide"])
    assert found.verdicts == expected.verdicts
    assert found.margin == expected.margin
    assert found.entries == tuple(replace(entry, protocol=Protocol(""), data="") for entry in expected.entries)


@pytest.mark.parametrize("form", ["logits", "probabilities", "classes"])
@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1", "nll"])
def test_by_another_metric_too(results, stored, metric, form):
    logits, labels_N = stored
    given = {name: FORMS[form](one) for name, one in logits.items()}
    if (metric, form) == ("nll", "classes"):
        with pytest.raises(UsageError, match=r"narrow: predicted classes have no .* Give logits or probabilities"):
            compare_predictions(given, labels_N, metric=metric)
        return
    found = compare_predictions(given, labels_N, metric=metric)
    expected = compare_folders([results / "narrow", results / "wide"], metric=metric)
    assert [one.kind for one in found.verdicts] == [one.kind for one in expected.verdicts]
    assert [e.score for e in found.entries] == pytest.approx([e.score for e in expected.entries], rel=1e-5)
    ours, theirs = found.verdicts[0].interval, expected.verdicts[0].interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-4)


def test_one_run_each_is_compared_as_single_runs_are(results, stored):
    logits, labels_N = stored
    found = compare_predictions({name: one[1] for name, one in logits.items()}, labels_N)
    folders = [results / name / "seeds" / "2" for name in logits]
    folders = [next(path for path in (results / name / "seeds").iterdir()) for name in logits]
    expected = compare_folders(folders)
    assert [one.interval for one in found.verdicts] == [one.interval for one in expected.verdicts]
    assert found.verdicts[0].p_value == expected.verdicts[0].p_value


def test_a_model_of_one_run_beside_several_is_left_out(stored):
    logits, labels_N = stored
    found = compare_predictions({**logits, "alone": logits["wide"][0]}, labels_N)
    assert found.left_out == ("alone",)
    assert len(found.verdicts) == 1


def test_runs_that_guess_are_seen_to_have_died(stored):
    """As those of a folder are: of one class, and at chance."""
    logits, labels_N = stored
    rng = np.random.default_rng(0)
    one_class = np.zeros((1, *logits["wide"].shape[1:]), np.float32)
    guessing = rng.normal(size=one_class.shape).astype(np.float32)
    for form in FORMS.values():
        mixed = form(np.concatenate([logits["wide"], one_class, guessing]))
        found = compare_predictions({"narrow": form(logits["narrow"]), "wide": mixed}, labels_N)
        assert {entry.name: entry.died for entry in found.entries} == {"narrow": 0, "wide": 2}


def test_files_give_the_same_and_the_command_prints_it(results, stored, tmp_path, capsys):
    logits, labels_N = stored
    np.savez_compressed(tmp_path / "narrow.npz", logits=logits["narrow"], labels=labels_N)
    np.savez(tmp_path / "wide.npz", predictions=logits["wide"].argmax(2), labels=labels_N.astype(np.int64))
    files = [tmp_path / "narrow.npz", tmp_path / "wide.npz"]
    assert compare_files(files).verdicts == compare_folders([results / "narrow", results / "wide"]).verdicts
    assert run_command(["compare", *map(str, files)]) == 0
    assert "not known" in capsys.readouterr().out
    assert run_command(["compare", *map(str, files), "--json", "--margin", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["margin"] == 0.03
    stored_files = [results / name / "predictions.npz" for name in logits]
    assert {entry.name for entry in compare_files(stored_files).entries} == {
        "predictions (narrow)",
        "predictions (wide)",
    }


Y = np.arange(40) % 4
GOOD = np.eye(4, dtype=np.float32)[Y]


def with_value(value):
    changed = GOOD.copy()
    changed[3, 2] = value
    return changed


@pytest.mark.parametrize(
    ("predictions", "labels", "said"),
    [
        ({"A": GOOD}, Y, "expected two models or more"),
        ([GOOD, GOOD], Y, "expected two models or more"),
        ({"A": GOOD, "": GOOD}, Y, "predictions: name '': expected 1 to 100 printable"),
        ({"A": GOOD, "a\x1b": GOOD}, Y, "expected 1 to 100 printable"),
        ({"A": GOOD, 3: GOOD}, Y, "name 3: expected"),
        ({"A": GOOD, "B": GOOD[:30]}, Y, r"B: float32 of shape \(30, 4\), expected logits S x 40 x K or 40 x K"),
        ({"A": GOOD, "B": GOOD[None, None]}, Y, r"B: float32 of shape \(1, 1, 40, 4\)"),
        ({"A": GOOD, "B": GOOD.astype(int)}, Y, r"B: int64 of shape \(40, 4\), expected"),
        ({"A": GOOD, "B": Y * 1.0}, Y, r"B: float64 of shape \(40,\).*as whole numbers"),
        ({"A": GOOD, "B": GOOD > 0}, Y, r"B: bool"),
        ({"A": GOOD, "B": np.zeros((0, 40, 4))}, Y, r"B: float64 of shape \(0, 40, 4\)"),
        ({"A": GOOD, "B": with_value(np.nan)}, Y, "B: run 0, image 3: nan, expected numbers"),
        ({"A": GOOD, "B": with_value(np.inf)}, Y, "B: run 0, image 3: inf, expected numbers"),
        ({"A": GOOD, "B": GOOD[:, :3]}, Y, "B: gives 3 outputs, but label 3 of image 3 is none"),
        ({"A": GOOD, "B": GOOD[:, :1]}, Y, "B: 1 outputs, expected 2 to 2,000"),
        ({"A": GOOD, "B": Y - 1}, Y, "B: run 0, image 0: class -1, expected 0 to 1999"),
        ({"A": GOOD, "B": [["a"]]}, Y, "B: <U1 of shape"),
        ({"A": GOOD, "B": [[1], [2, 3]]}, Y, "expected an array of numbers"),
        ({"A": GOOD, "B": GOOD}, Y - 1, "labels: -1 of image 0, expected 0 to 1999"),
        ({"A": GOOD, "B": GOOD}, Y * 1.0, "labels: float64 of shape"),
        ({"A": GOOD, "B": GOOD}, GOOD, r"labels: float32 of shape \(40, 4\)"),
        ({"A": GOOD, "B": GOOD}, [], r"labels: .*shape \(0,\)"),
    ],
)
def test_what_is_no_prediction_is_refused(predictions, labels, said):
    with pytest.raises((DataError, UsageError), match=said):
        compare_predictions(predictions, labels)


def test_minus_infinity_is_the_logarithm_of_a_probability_of_nothing():
    found = compare_predictions({"A": np.log(GOOD + 1e-9), "B": with_value(-np.inf)}, Y)
    assert [entry.accuracy for entry in found.entries] == [1, 1]


def member(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("labels.npy", content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"labels": Y}, "holds labels, expected the arrays labels, and logits or predictions"),
        ({"logits": GOOD}, "holds logits, expected"),
        ({"labels": Y, "logits": GOOD, "predictions": Y}, "holds labels, logits, predictions|holds .*expected"),
        ({"labels": np.array([None]), "logits": GOOD}, "Python objects, expected numbers"),
        ({"labels": np.roll(Y, 1), "logits": GOOD}, "b.npz: has other labels than .*a.npz"),
        (b"no archive", "is no zip archive"),
        (member(b"\x93NUMPY\x09\x00"), "expected an .npz file"),
        (None, "b.npz: no such file. Give an .npz file with labels"),
    ],
)
def test_files_that_are_none_are_refused_in_words(tmp_path, capsys, written, said):
    np.savez(tmp_path / "a.npz", labels=Y, logits=GOOD)
    if isinstance(written, bytes):
        (tmp_path / "b.npz").write_bytes(written)
    elif written is not None:
        np.savez(tmp_path / "b.npz", **written)
    with pytest.raises(DataError, match=said):
        compare_files([tmp_path / "a.npz", tmp_path / "b.npz"])
    assert run_command(["compare", str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_file_given_twice_or_beside_a_folder_is_refused(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", labels=Y, logits=GOOD)
    for runs in (["a.npz"], ["a.npz", "a.npz"], ["a.npz", "."]):
        assert run_command(["compare", *(str(tmp_path / run) for run in runs)]) == 2
    assert "Traceback" not in capsys.readouterr().err
