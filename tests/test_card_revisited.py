"""The card revisited: what is condensed reads back to the runs' own numbers; claims are judged by their verdicts."""

import json
import shutil
from pathlib import Path

import card_revisited
import condensed
import numpy as np
import pytest
from card_revisited import CLAIMS, DOCUMENT, KEPT, SEARCHED, Claim, document, evidence, judged, outcome
from revisited_figures import plot_differences, plot_models

from modelflow import run_study
from modelflow.analysis.intervals import Difference, Side
from modelflow.analysis.verdicts import Verdict, compare
from modelflow.networks.resolve import CARD
from modelflow.results.layout import read_predictions, read_run, run_folders
from modelflow.results.settings import StudySettings, validated


def spec(channels):
    return {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [channels], "fc_sizes": [20]}


@pytest.fixture(scope="module", params=["card", "held-out"])
def trained(request, tmp_path_factory):
    """Two models with two seeds each on the digits, condensed."""
    where = tmp_path_factory.mktemp("study")
    models = [{"name": "narrow", "spec": spec(3)}, {"name": "wide", "spec": spec(8)}]
    fields = {"dataset": "digits", "models": models, "epochs": 3, "seeds": [42, 43], "protocol": request.param}
    run_study(validated(StudySettings, fields, "test"), where / "results", jobs=1)
    condensed.condense(where / "results", where / "kept")
    return where


def test_what_is_condensed_reads_back_to_the_runs_own_numbers(trained):
    kept = condensed.read(trained / "kept")
    assert kept.models() == ["narrow", "wide"]
    assert len(kept.runs) == 4
    for folder in run_folders(trained / "results"):
        run, (logits, labels) = read_run(folder), read_predictions(folder)
        (i,) = [i for i, one in enumerate(kept.runs) if (one.model, one.seed) == (run.model_name, run.seed)]
        assert (kept.correct_RN[i] == (logits.argmax(1) == labels)).all()
        assert kept.correct_RN[i].mean() == pytest.approx(run.metrics.accuracy, abs=1e-12)
        one = kept.runs[i]
        assert (one.accuracy, one.protocol, one.parameters, one.macs) == (
            *(run.metrics.accuracy, run.protocol),
            *(run.parameters, run.macs),
        )
        assert (one.settings["epochs"], one.settings["lr"]) == (3, 3e-4)
        history = np.genfromtxt(folder / "history.csv", delimiter=",", names=True)
        np.testing.assert_allclose(one.val_losses, history["val_loss"], atol=1e-6)
        np.testing.assert_allclose(one.losses, history["loss"], atol=1e-6)


def test_verdicts_of_what_is_condensed_are_those_of_the_predictions(trained):
    correct = {
        name: np.stack(
            [
                np.equal(logits.argmax(1), labels)
                for folder in (trained / "results" / name, trained / "results" / name / "seeds" / "43")
                for logits, labels in [read_predictions(folder)]
            ]
        )
        for name in ("narrow", "wide")
    }
    kept = condensed.read(trained / "kept")
    assert compare(kept.correct_by_model()) == compare(correct)
    assert kept.died_by_model() == {"narrow": [False, False], "wide": [False, False]}


def test_runs_that_died_are_kept_as_such(trained, tmp_path):
    copy = shutil.copytree(trained / "results", tmp_path / "results")
    record = json.loads((copy / "wide" / "run.json").read_text())
    (copy / "wide" / "run.json").write_text(json.dumps(record | {"warnings": ["fc_layers.0: 9 of 9 units never fire"]}))
    condensed.condense(copy, tmp_path / "kept")
    assert condensed.read(tmp_path / "kept").died_by_model() == {"narrow": [False, False], "wide": [True, False]}


def test_predictions_that_are_not_those_of_the_record_are_refused(trained, tmp_path):
    copy = shutil.copytree(trained / "results", tmp_path / "results")
    record = json.loads((copy / "narrow" / "run.json").read_text())
    record["metrics"]["accuracy"] += 1 / record["metrics"]["images"]
    (copy / "narrow" / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"narrow: the predictions have .* right, the record"):
        condensed.condense(copy, tmp_path / "kept")
    with pytest.raises(ValueError, match="no finished run"):
        condensed.condense(tmp_path / "nothing", tmp_path / "kept")


def verdict(kind, estimate=0.02):
    sides = (Side(5, 5e-8, 0.0), Side(5, 5e-8, 0.0))
    return Verdict("a", "b", kind, Difference(estimate, sides, 1e-7, 10_000), 0.01, "")


@pytest.mark.parametrize(
    ("pair", "better", "kind", "expected"),
    [
        (("a", "b"), True, "better", "for"),
        (("b", "a"), True, "better", "against"),
        (("b", "a"), False, "better", "for"),
        (("a", "b"), False, "better", "against"),
        (("a", "b"), True, "equivalent", "against"),
        (("a", "b"), False, "equivalent", "for"),
        (("a", "b"), True, "cannot tell", "inconclusive"),
        (("a", "b"), False, "cannot tell", "inconclusive"),
    ],
)
def test_a_pair_speaks_for_or_against_what_is_said_of_it(pair, better, kind, expected):
    assert outcome(pair, better, {frozenset("ab"): verdict(kind)}) == expected


def test_a_difference_is_of_the_first_less_the_second():
    of = card_revisited.Evidence("card", None, {frozenset("ab"): verdict("better")})
    middle, low, high = card_revisited.difference_of(("a", "b"), of.verdicts)
    assert middle == pytest.approx(2)
    assert 0 < low < middle < high
    assert card_revisited.difference_of(("b", "a"), of.verdicts) == (-middle, -high, -low)
    assert judged(Claim("", (("b", "a"),)), of) == "contradicted"
    assert judged(Claim("", (("a", "b"), ("a", "b"))), of) == "supported (2 of 2 pairs)"
    assert judged(Claim("", (("a", "b"), ("b", "a"))), of) == "partly (1 supported, 1 contradicted)"
    least, most = map(float, card_revisited.span(card_revisited.difference_of(("b", "a"), of.verdicts)).split(" to "))
    assert -high - 0.1 < least <= -high
    assert -low <= most < -low + 0.1
    assert judged(Claim("", (("b", "c"),)), of) == judged(Claim("", (("b", "a"),)), None) == "not trained yet"


@pytest.fixture
def both(tmp_path):
    """The card's runs, and the same again in the place of those by the other protocol."""
    for name in ("card", "card-rate"):
        for ending in (".npz", ".json"):
            for target in (name, name.replace("card", "held-out")):
                shutil.copyfile(KEPT / f"{name}{ending}", tmp_path / f"{target}{ending}")
    return [evidence(protocol, Path(tmp_path)) for protocol in card_revisited.PROTOCOLS]


def test_both_protocols_stand_side_by_side(both):
    text = document(both)
    assert "not trained yet" not in text
    lines = [line for line in text.splitlines() if line.startswith(("| 1 | Increasing", "| 2 | `generic_2`"))]
    lines += [line for line in text.splitlines() if line.startswith("| cnn2_7 - cnn2_3")]
    assert len(lines) == 3
    for line in lines:
        *_, by_card, by_held_out = line.removesuffix(" |").split(" | ")
        assert by_card == by_held_out


def test_the_pictures_show_every_pair_and_model(both):
    claims = (*CLAIMS, card_revisited.RATE_CLAIM)
    bars = card_revisited.bars(claims, both)
    assert all(set(bar.by_protocol) == {"card", "held-out"} for bar in bars)
    assert {bar.name for bar in bars} >= {"cnn2_7 - cnn2_3", f"generic_2 - {SEARCHED}"}
    figure = plot_differences(bars)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [bar.name for bar in bars]
    accuracies = {of.name: {m: [run.accuracy for run in of.runs.of(m)] for m in CARD} for of in both}
    axes = plot_models(accuracies, {name: CARD[name].accuracy for name in CARD}).axes[0]
    assert sorted(len(line.get_xdata()) for line in axes.lines) == [7, 35, 35]


def test_the_searched_rate_is_said_to_be_a_family_of_its_own(both):
    assert "not among the 21" in document(both)
    alone = both[0].verdicts[frozenset((SEARCHED, card_revisited.BEST))]
    assert alone.p_value == pytest.approx(alone.difference.p_value())


def test_the_page_is_what_is_made_of_what_is_kept():
    found = [evidence(protocol) for protocol in card_revisited.PROTOCOLS]
    assert document(found) == DOCUMENT.read_text("utf-8")
