"""The results folder: names, folders of seeds, CSV, predictions, and records read back or refused."""

import csv
import io
import json

import numpy as np
import pytest

from modelflow.errors import DataError
from modelflow.io.bounds import MAX_RECORD_BYTES
from modelflow.results import layout
from modelflow.results.records import Epoch
from small import a_run


def refusal(folder):
    with pytest.raises(DataError) as caught:
        layout.read_run(folder)
    return str(caught.value)


def test_files_are_called_as_the_card_calls_them():
    assert layout.filters_png("conv_layers.0") == "filters_conv_layers.0.png"
    assert (layout.LOSSES, layout.CONFUSION_PNG) == ("losses.png", "confusion_matrix.png")
    assert (layout.REPORT_CSV, layout.CHECKPOINT) == ("classification_report.csv", "model_checkpoint.pth")
    assert (layout.OUTPUTS, layout.LR_FINDER_PNG) == ("intermediate_outputs.png", "lr_finder.png")


def test_the_first_seed_has_the_folder_of_the_model_and_others_folders_below(tmp_path):
    below = tmp_path / "m" / "seeds"
    assert layout.folders_asked(tmp_path, "m", [42, 43, 7]) == [tmp_path / "m", below / "43", below / "7"]


def test_a_run_is_read_back_as_it_was_written(tmp_path):
    run = a_run(dead_units={"conv_layers.0": (1, 4)}, warnings=("dead",), notes=("a note",))
    layout.write_run(tmp_path, run)
    assert layout.read_run(tmp_path) == run


def test_csv_text_quotes_what_needs_it_and_leaves_none_empty():
    text = layout.csv_text(("a", "b"), [("x,y", None), ('q"', 0.1)])
    assert text == 'a,b\n"x,y",\n"q""",0.1\n'
    assert list(csv.reader(io.StringIO(text)))[1:] == [["x,y", ""], ['q"', "0.1"]]


def test_history_has_a_line_an_epoch():
    history = [Epoch(epoch=1, loss=0.5, val_loss=None), Epoch(epoch=2, loss=0.25, val_loss=0.3)]
    expected = "epoch,loss,val_loss,protocol\n1,0.5,,card\n2,0.25,0.3,card\n"
    assert layout.history_csv(history, "card") == expected


def test_predictions_come_back_and_are_the_same_bytes_for_the_same_values():
    logits, labels = np.arange(6.0).reshape(2, 3), np.array([2, 0])
    content = layout.predictions_npz(logits, labels)
    assert content == layout.predictions_npz(logits, labels)
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        assert stored["logits"].dtype == np.float32
        np.testing.assert_array_equal(stored["logits"], logits)
        np.testing.assert_array_equal(stored["labels"], labels)


def test_run_folders_lists_finished_runs_only_and_not_those_set_aside(tmp_path):
    finished = ["b", "a", "a/seeds/43", "a.old-x"]
    others = ["a.old-1", "a.old-1/seeds/43", "a/seeds/43.old-2", "unfinished"]
    for name in finished + others:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        if name != "unfinished":
            layout.write_run(tmp_path / name, a_run())
    found = [str(path.relative_to(tmp_path)) for path in layout.run_folders(tmp_path)]
    assert found == ["a", "a/seeds/43", "a.old-x", "b"]
    assert list(layout.run_folders(tmp_path / "none")) == []


def test_a_results_folder_may_itself_be_called_as_if_set_aside(tmp_path):
    layout.write_run(tmp_path / "results.old-1" / "a", a_run())
    assert len(list(layout.run_folders(tmp_path / "results.old-1"))) == 1


def test_a_folder_without_a_run_is_refused(tmp_path):
    (tmp_path / "run.json").mkdir()
    for folder, shown in ((tmp_path, tmp_path), (tmp_path / "none", tmp_path / "none"), ("a\0b", r"a\x00b")):
        assert (
            refusal(folder)
            == f"{shown}: no run.json there. Give the folder of a finished run, such as results/generic_2."
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "x"}, "seed"),
        ({"metrics": {"accuracy": 0.5}}, "macro_f1 is missing"),
        (
            {"metrics": {"accuracy": 1.5, "macro_f1": 0, "loss": 0, "images": 1}},
            "metrics.accuracy = 1.5: expected a share",
        ),
        ({"metrics": {"accuracy": 1, "macro_f1": 0, "loss": 1e999, "images": 1}}, "metrics.loss = inf: expected"),
        ({"metrics": {"accuracy": float("nan"), "macro_f1": 0, "loss": 0, "images": 1}}, "metrics.accuracy = nan"),
        (
            {"settings": {"optimizer": ["adam"]}},
            "optimizer = ['adam']: expected a text, a number, true",
        ),
        ({"settings": {"batch_size": [1, 2]}}, "settings = {'batch_size': [1, 2]}: expected lists of numbers only"),
        ({"settings": {"loss_fn.weight": [[1.0]]}}, "loss_fn.weight = [[1.0]]: expected a text, a number, true"),
        ({"seconds": {"training": 1e300}}, "training = 1e+300: expected a number below 1e+100"),
        ({"started": "yesterday"}, "started = 'yesterday': expected a date and a time"),
        ({"model_name": "../x"}, "model name '../x': expected up to 100 letters"),
        ({"model_name": "\x1b[31mred"}, r"model name '\x1b[31mred'"),
        ({"unheard": 1}, "unknown key 'unheard'"),
        ({"spec": [1]}, "spec"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_damaged_record_is_refused_with_file_field_and_mend(tmp_path, change, message):
    fields = a_run().model_dump(mode="json") | change
    (tmp_path / "run.json").write_text(json.dumps(fields))
    told = refusal(tmp_path)
    assert told.startswith(f"{tmp_path / 'run.json'}: ")
    assert message in told
    assert told.endswith(". Restore it from a copy, or train the run again.")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' * 10_000, b"9" * 10_000])
def test_what_is_no_record_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    assert "It is damaged" in refusal(tmp_path)


def test_a_record_of_a_later_version_asks_for_a_later_modelflow(tmp_path):
    fields = a_run().model_dump(mode="json") | {"version": 2, "what_later_ones_say": True}
    (tmp_path / "run.json").write_text(json.dumps(fields))
    assert refusal(tmp_path) == f"{tmp_path / 'run.json'}: a record of version 2, expected 1. Update ModelFlow."


def test_a_record_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "run.json").write_bytes(b" " * (MAX_RECORD_BYTES + 1))
    assert "larger than 1,048,576 bytes" in refusal(tmp_path)


def write_predictions(folder, **arrays):
    with (folder / "predictions.npz").open("wb") as file:
        np.savez_compressed(file, **arrays)


LOGITS, LABELS = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), np.array([0, 1], np.int32)


def test_predictions_read_back(tmp_path):
    (tmp_path / "predictions.npz").write_bytes(layout.predictions_npz(LOGITS, LABELS))
    logits_NK, y_N = layout.read_predictions(tmp_path)
    assert np.array_equal(logits_NK, LOGITS)
    assert np.array_equal(y_N, LABELS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"logits": LOGITS}, "expected logits and labels"),
        ({"logits": LOGITS, "labels": LABELS, "more": LABELS}, "expected logits and labels"),
        ({"logits": LOGITS.astype(float), "labels": LABELS}, "not finite float32"),
        ({"logits": LOGITS * np.float32("nan"), "labels": LABELS}, "not finite float32"),
        ({"logits": LOGITS[0], "labels": LABELS}, "images x classes"),
        ({"logits": LOGITS, "labels": LABELS + 1}, "not one class per image"),
        ({"logits": LOGITS, "labels": LABELS[:1]}, "not one class per image"),
        ({"logits": LOGITS, "labels": LABELS.astype(object)}, "allow_pickle=False"),
        ({"logits": LOGITS[:0], "labels": LABELS[:0]}, "not one class per image"),
    ],
    ids=range(9),
)
def test_predictions_that_cannot_be_are_refused(tmp_path, arrays, message):
    write_predictions(tmp_path, **arrays)
    with pytest.raises(DataError, match="Evaluate the run again") as caught:
        layout.read_predictions(tmp_path)
    assert message in str(caught.value)


def test_every_cut_and_most_changed_bytes_are_noticed_and_none_is_a_traceback(tmp_path):
    content = layout.predictions_npz(LOGITS, LABELS)
    for place in range(len(content)):
        for altered in (content[:place], content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]):
            (tmp_path / "predictions.npz").write_bytes(altered)
            try:
                logits_NK, y_N = layout.read_predictions(tmp_path)
            except DataError:
                continue
            assert np.array_equal(logits_NK, LOGITS)
            assert np.array_equal(y_N, LABELS)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "MAX_PREDICTION_BYTES", 1000)
    write_predictions(tmp_path, logits=np.zeros((10_000, 10), np.float32), labels=np.zeros(10_000, np.int32))
    with pytest.raises(DataError, match="at most 1,000 bytes"):
        layout.read_predictions(tmp_path)


def test_predictions_that_are_missing_are_asked_for(tmp_path):
    with pytest.raises(DataError, match="Evaluate the run again"):
        layout.read_predictions(tmp_path)


def test_predictions_of_more_classes_than_a_table_can_hold_are_refused(tmp_path):
    (tmp_path / "predictions.npz").write_bytes(
        layout.predictions_npz(np.zeros((1, 40_000), np.float32), np.zeros(1, int))
    )
    with pytest.raises(DataError, match="40,000 classes, expected at most 2,000"):
        layout.read_predictions(tmp_path)
