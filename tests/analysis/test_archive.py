"""What the report says of a folder, against what the files of the folder hold, counted independently."""

import csv
import json
import math
import platform
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, log_loss, precision_recall_fscore_support, top_k_accuracy_score
from statsmodels.stats.proportion import proportion_confint

from modelflow.analysis.archive import Content, group_of, read_content, read_history
from modelflow.analysis.intervals import Difference, Side
from modelflow.analysis.verdicts import Verdict, compare
from modelflow.errors import DataError
from modelflow.report.answer import (
    DECIDE_BEFORE,
    conditions,
    dead_runs,
    details,
    headline,
    latency_words,
    margin,
    protocol_words,
    reads_words,
    standing,
    still_learning,
    tally,
    trained,
)
from modelflow.report.how import data_words, how_made, made_with, new_study_command, repeat_command
from modelflow.report.mistakes import A_MODEL, A_PAIR, MAX_TILES, mistakes_of, vote
from modelflow.report.model_card import study_card
from modelflow.report.page import render
from modelflow.report.seeds import seeds_of_a_new_study, seeds_that_could_tell, too_few_seeds, what_to_do
from modelflow.report.words import MINUS, NONE, p_text, percent, significant
from modelflow.results.joining import write_asked
from modelflow.results.layout import read_predictions, read_run
from modelflow.results.settings import read_study
from modelflow.text import NO_NAME, shown
from report_studies import HOSTILE, SEEDS, change, made_by, made_up, rename_classes, run_folders_of, write_predictions


def model(content, name):
    return next(model for model in content.models if model.name == name)


def softmax(logits_NK):
    e_NK = np.exp(logits_NK.astype(float) - logits_NK.max(1, keepdims=True))
    return e_NK / e_NK.sum(1, keepdims=True)


# --- figures ---------------------------------------------------------------------------------------------------------


def test_models_stand_best_first_with_their_seeds_in_order(content):
    (group,) = content.groups
    assert [found.name for found in group.models] == ["wide", "narrow"]
    assert [[seed.run.seed for seed in found.seeds] for found in group.models] == [SEEDS] * 2
    assert {found.name: found.index for found in group.models} == {"narrow": 0, "wide": 1}
    assert (group.images, group.protocol.split()[0], content.left_out) == (355, "card", ())


def test_figures_are_those_of_the_stored_predictions(results, content):
    for seed, folder in zip(model(content, "wide").seeds, run_folders_of(results, "wide"), strict=True):
        logits_NK, y_N = read_predictions(folder)
        p_NK, figures = softmax(logits_NK), seed.figures
        assert figures.accuracy == pytest.approx((p_NK.argmax(1) == y_N).mean())
        assert figures.loss == pytest.approx(log_loss(y_N, p_NK))
        assert figures.brier == pytest.approx(sum(brier_score_loss(y_N == k, p_NK[:, k]) for k in range(10)))
        assert figures.top2_accuracy == pytest.approx(top_k_accuracy_score(y_N, p_NK, k=2))


def test_the_mean_and_its_interval_over_seeds(content):
    wide = model(content, "wide")
    accuracies = [seed.figures.accuracy for seed in wide.seeds]
    low, high = stats.t.interval(0.95, len(SEEDS) - 1, np.mean(accuracies), stats.sem(accuracies))
    assert wide.accuracy == pytest.approx(np.mean(accuracies))
    assert (wide.interval.low, wide.interval.high) == pytest.approx((max(0, low), min(1, high)))


def test_the_spread_over_seeds_and_the_least_latency(results, content):
    wide = model(content, "wide")
    accuracies = [seed.figures.accuracy for seed in wide.seeds]
    assert wide.spread("accuracy") == pytest.approx(stats.tstd(accuracies))
    least = min(read_run(folder).latency_ms["64"] for folder in run_folders_of(results, "wide"))
    assert wide.latency("64") == (least, 2)
    assert wide.latency("7") is None
    words = latency_words(wide)
    assert (
        f"{significant(least, 2)} ms for 64 images (the lowest of 2 runs, measured beside other trainings). " in words
    )
    alone = replace(wide, seeds=wide.seeds[:1])
    assert (alone.spread("accuracy"), "(one run, perhaps measured beside" in latency_words(alone)) == (None, True)
    bare = replace(alone.seeds[0], run=alone.first.model_copy(update={"latency_ms": {}}))
    assert latency_words(replace(alone, seeds=(bare,))) == ""


def test_the_seconds_of_training_and_their_spread(content):
    wide = model(content, "wide")
    seconds = [seed.run.seconds["training"] for seed in wide.seeds]
    assert (wide.seconds, wide.seconds_spread) == pytest.approx((np.mean(seconds), stats.tstd(seconds)))
    assert replace(wide, seeds=wide.seeds[:1]).seconds_spread is None


def test_the_confusion_matrix_is_the_sum_of_those_stored(results, content):
    stored = [
        list(csv.reader((folder / "confusion_matrix.csv").read_text().splitlines()))
        for folder in run_folders_of(results, "narrow")
    ]
    counts = sum(np.array([row[1:] for row in rows[1:]], int) for rows in stored)
    narrow = model(content, "narrow")
    assert (narrow.counts == counts).all()
    assert narrow.class_names == tuple(stored[0][0][1:])
    pairs = [read_predictions(folder) for folder in run_folders_of(results, "narrow")]
    y_N, predicted_N = np.concatenate([y for _, y in pairs]), np.concatenate([x.argmax(1) for x, _ in pairs])
    expected = precision_recall_fscore_support(y_N, predicted_N, zero_division=0)
    found = [(row.precision, row.recall, row.f1, row.support) for row in narrow.classes]
    assert np.allclose(np.array(found).T, np.array(expected))


def test_the_bins_hold_every_prediction(content):
    wide = model(content, "wide")
    assert len(wide.bins) == 15
    assert sum(one.images for one in wide.bins) == len(SEEDS) * 355
    right = sum(one.images * one.accuracy for one in wide.bins)
    assert right == pytest.approx(len(SEEDS) * 355 * wide.accuracy)


def test_the_losses_are_those_of_the_history(results, content):
    rows = list(csv.DictReader((results / "wide" / "history.csv").read_text().splitlines()))
    history = model(content, "wide").seeds[0].history
    assert [(e.epoch, e.loss, e.val_loss) for e in history] == [
        (int(row["epoch"]), float(row["loss"]), float(row["val_loss"])) for row in rows
    ]


def test_verdicts_are_those_of_compare(results, content):
    correct = {
        name: np.stack([x.argmax(1) == y for x, y in map(read_predictions, run_folders_of(results, name))])
        for name in ("wide", "narrow")
    }
    assert [v.words for v in content.groups[0].verdicts] == [v.words for v in compare(correct)]


# --- folders as they come --------------------------------------------------------------------------------------------


def test_a_run_without_predictions_keeps_its_record_and_is_in_no_verdict(copied):
    (copied / "wide" / "seeds" / "43" / "predictions.npz").unlink()
    content = read_content(copied)
    seed = model(content, "wide").seeds[1]
    assert (seed.figures, seed.logits_NK) == (seed.run.metrics, None)
    assert "predictions.npz: no such file" in seed.missing
    assert content.groups[0].verdicts == ()
    assert content.groups[0].unpaired == (("wide", "predictions of a run are missing or damaged"),)
    assert headline(content.groups[0]) == "No two of the two models can be compared."


def test_predictions_that_are_too_many_together_are_not_all_read(results, monkeypatch):
    one = read_predictions(results / "narrow")[0].nbytes
    monkeypatch.setattr("modelflow.analysis.archive.MAX_UNPACKED_BYTES", one * 3 // 2)
    seeds = read_content(results).seeds
    assert sum(seed.logits_NK is not None for seed in seeds) == 2
    assert {seed.missing for seed in seeds} == {"", "there are too many predictions for one page"}


def test_a_study_file_that_asks_for_other_settings_is_told_of(copied):
    assert repeat_command(read_content(copied))[1] == ""
    fields = json.loads((copied / "study.json").read_text()) | {"epochs": 7, "protocol": "held-out"}
    (copied / "study.json").write_text(json.dumps(fields))
    said = "study.json asks for another protocol and epochs than some of these runs have."
    assert repeat_command(read_content(copied))[1] == said
    assert said in study_card(read_content(copied))


def test_runs_that_were_still_learning_are_told_of(copied):
    def told(*losses):
        for folder in [*run_folders_of(copied, "narrow"), *run_folders_of(copied, "wide")]:
            lines = [f"{i},1.0,{loss},card" for i, loss in enumerate(losses, 1)]
            (folder / "history.csv").write_text("\n".join(["epoch,loss,val_loss,protocol", *lines]))
        return still_learning(read_content(copied).groups[0])

    assert told(0.9, 0.8, 0.7).startswith("In 4 of 4 runs, the validation loss was lowest in the last epoch")
    assert told(0.9, 0.7, 0.8) == told(0.9) == told("", "") == ""


def test_the_answer_says_with_which_settings_it_was_found_as_far_as_they_are_shared(copied):
    def told():
        return conditions(read_content(copied).groups[0])

    assert told() == (
        "Valid for adam, learning rate 0.003, batch size 16, 2 epochs. Other settings may change the ranking."
    )
    for folder in (all_folders := [*run_folders_of(copied, "wide"), *run_folders_of(copied, "narrow")]):
        change(folder, settings=read_run(folder).settings | {"schedule": "one-cycle", "optimizer": "<b>"})
    assert "Valid for <b>, learning rate up to 0.003, one-cycle, batch size 16, 2 epochs." in told()
    assert " &lt;b&gt;, learning rate up to 0.003, one-cycle," in render(read_content(copied))
    given = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.0005}
    for folder in all_folders:
        change(folder, settings=read_run(folder).settings | given)
    assert "batch size 16, momentum 0.9, nesterov, weight decay 0.0005, 2 epochs." in told()
    for folder in all_folders:
        unset = dict.fromkeys(given) | {"nesterov": False}
        change(folder, settings=read_run(folder).settings | unset | {"find_best_lr": True, "optimizer": None})
    assert "Valid for a learning rate searched for by each run, batch size 16, 2 epochs." in told()
    for folder in run_folders_of(copied, "wide"):
        change(folder, settings=read_run(folder).settings | {"batch_size": 64, "find_best_lr": False}, lr=0.1)
    assert told().startswith("Valid for 2 epochs. Other settings may change the ranking.")
    assert "wide (batch_size 64, find_best_lr False), narrow (batch_size 16, find_best_lr True)" in told()
    assert told() in render(read_content(copied))


def test_the_pairs_are_counted_by_what_is_told_of_them(content):
    rng = np.random.default_rng(0)
    right = {"a": rng.random((4, 355)) < 0.95, "b": rng.random((4, 355)) < 0.7, "c": rng.random((4, 355)) < 0.7}
    group = made_up(content, right)
    kinds = [verdict.kind for verdict in group.verdicts]
    assert (kinds.count("better"), kinds.count("cannot tell")) == (2, 1)
    said = "3 pairs compared: 2 better, 1 inconclusive."
    assert tally(group) == said
    alike = made_up(content, {name: np.tile(rng.random(355) < 0.8, (6, 1)) for name in "a"} | {"b": right["b"]})
    assert tally(alike) == ""
    one = replace(group.verdicts[0], kind="equivalent")
    assert tally(replace(group, verdicts=(one, one))) == ("2 pairs compared: 2 equivalent within 1.13 points.")
    assert said in render(Content(content.folder, (group,), ()))


@pytest.mark.parametrize(("epochs", "kept"), [(0, 0), (1, 1), (600, 600), (601, 301), (1200, 601), (7000, 585)])
def test_of_a_long_history_every_so_many_epochs_are_read_and_the_last(tmp_path, epochs, kept):
    lines = [f"{i},{1 / i},{abs(i - 77)}" for i in range(1, epochs + 1)]
    (tmp_path / "history.csv").write_text("\n".join(["epoch,loss,val_loss", *lines]))
    history, lowest = read_history(tmp_path)
    numbers = [epoch.epoch for epoch in history]
    assert len(numbers) == kept
    assert numbers[:1] + numbers[-1:] == ([1, epochs] if epochs else [])
    assert len(set(np.diff(numbers[:-1]))) <= 1
    assert lowest == (None if not epochs else 76 if epochs == 1 else 0)


def test_every_curve_is_there_however_long_the_histories_are(copied):
    lines = [f"{i},1.0,{2.0 if i != 77_777 else 0.125}" for i in range(1, 100_001)]
    for folder in run_folders_of(copied, "wide") + run_folders_of(copied, "narrow"):
        (folder / "history.csv").write_text("\n".join(["epoch,loss,val_loss", *lines]))
    content = read_content(copied)
    assert {(len(seed.history), seed.history[-1].epoch, seed.lowest) for seed in content.seeds} == {
        (600, 100_000, 0.125)
    }
    html = render(content)
    assert (
        html.count(
            '<td class="n">100000</td><td class="n">1.0000</td><td class="n">2.0000</td><td class="n">0.1250</td>'
        )
        == 4
    )
    assert "not every epoch of long runs" in html


def test_other_protocols_and_other_data_are_not_compared(copied):
    made_by(copied / "narrow", "held-out")
    change(copied / "wide", data={"checksums": {"digits": "0" * 64}})
    content = read_content(copied)
    assert [len(group.models) for group in content.groups] == [2, 1, 1]
    assert sum(len(group.verdicts) for group in content.groups) == 0
    names = ["wide (wide)", "wide (wide/seeds/43)"]
    names += ["narrow (narrow)", "narrow (narrow/seeds/43)"]
    assert sorted(model.name for model in content.models) == sorted(names)
    assert {model.index for model in content.models} == {0, 1, 2, 3}


def test_runs_on_other_images_are_not_paired(copied):
    for folder in run_folders_of(copied, "narrow"):
        logits_NK, y_N = read_predictions(folder)
        write_predictions(folder, logits_NK[::-1], y_N[::-1])
    wide_only = read_content(copied).groups[0]
    assert wide_only.verdicts == ()
    assert wide_only.unpaired[0][1] == "evaluated on other images than the other models"


def test_a_run_that_is_there_twice_counts_once(copied):
    shutil.copytree(copied / "wide", copied / "copy_of_wide")
    content = read_content(copied)
    assert len(content.runs) == 4
    assert [where for where, _ in content.left_out] == ["wide", "wide/seeds/43"]
    assert "same model and seed as copy_of_wide" in content.left_out[0][1]


def test_a_damaged_run_is_left_out_and_said(copied):
    (copied / "wide" / "run.json").write_text("{")
    ((where, why),) = read_content(copied).left_out
    assert where == "wide"
    assert "damaged" in why


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no finished run in it"):
        read_content(tmp_path)


def test_damaged_histories_and_names_do_no_harm(copied):
    (copied / "wide" / "history.csv").write_text("epoch,loss,val_loss\n1,nan,nan\nx\n2,0.5,inf\n3,0.4,0.3\n")
    (copied / "wide" / "confusion_matrix.csv").write_bytes(b"\xff\xfe\x00")
    wide = model(read_content(copied), "wide")
    assert [(e.epoch, e.val_loss) for e in wide.seeds[0].history] == [(2, None), (3, 0.3)]
    assert wide.class_names == tuple("0123456789")


def test_class_names_are_safe_to_show(copied):
    rename_classes(copied / "wide", HOSTILE)
    names = model(read_content(copied), "wide").class_names
    assert names[0] == HOSTILE[0]
    assert names[2] == "evil שלום"
    assert names[3] == NO_NAME
    assert not any("\n" in name for name in names)


def test_numbers_and_names_as_they_are_shown():
    assert [percent(x) for x in (0.87724, None, -0.003)] == ["87.72", NONE, f"{MINUS}0.30"]
    figures = [significant(x) for x in (0.01234, 4.567, 123.4, 98765.4, None)]
    assert figures == ["0.0123", "4.57", "123", "98,800", NONE]
    assert [p_text(p) for p in (1e-9, 0.0123, 0.5)] == ["< 0.001", "0.012", "0.50"]
    assert shown("\x00\u2066 \u2029") == NO_NAME


# --- the answer ------------------------------------------------------------------------------------------------------


def runs(rng, share, n_seeds=5, spread=0.0, n=300):
    shares = share + spread * rng.standard_normal(n_seeds)
    return np.stack([np.arange(n) < round(one * n) for one in shares])


def test_the_best_of_several_is_named_when_it_is_better_than_each(content):
    rng = np.random.default_rng(0)
    group = made_up(content, {name: runs(rng, share) for name, share in zip("abc", (0.6, 0.9, 0.3), strict=True)})
    assert headline(group) == "b is the most accurate of the three models: better than each of the two others."
    (verdict,) = (one for one in group.verdicts if "c" not in (one.first, one.second))
    low, high = (
        end(1000 * side) / 10 for end, side in ((math.floor, verdict.interval.low), (math.ceil, verdict.interval.high))
    )
    assert verdict.interval.low < verdict.pair_interval.low
    assert details(group) == [
        f"The mean of b lies 30.0 points above that of the next, a (simultaneous 95 % interval {low} to {high})."
    ]


def test_models_that_cannot_be_told_apart_are_not_ranked(content):
    rng = np.random.default_rng(1)
    shares = {"a": 0.84, "b": 0.85, "c": 0.2}
    group = made_up(content, {name: runs(rng, share, spread=0.03) for name, share in shares.items()})
    found = standing(group)
    rival = {"a": "b", "b": "a"}[found.best]
    assert headline(group) == f"Inconclusive: {found.best} or {rival} may be the most accurate."
    assert f"{found.best} is better than c." in details(group)


def test_equivalent_models_are_called_so(content):
    same = np.tile(np.arange(3000) < 2700, (5, 1))
    group = made_up(content, {"a": same, "b": same, "c": np.zeros_like(same)})
    assert headline(group) == "a has the highest mean accuracy, and b is equivalent to it within 0.5 points."


def test_one_run_each_tells_no_models_apart(content):
    group = made_up(content, {"a": [[True] * 290 + [False] * 10], "b": [[True] * 150 + [False] * 150]})
    assert headline(group) == "One run of each model cannot tell which of the two is the most accurate."
    assert "moves the accuracy of a small network (on Fashion-MNIST by about a point)" in details(group)[0]
    assert details(group)[0].endswith(f"Train several seeds per model. {DECIDE_BEFORE}")
    assert what_to_do(group) == "Start a new study with five other seeds of each model"
    low, high = proportion_confint(290, 300, method="wilson")
    assert (group.models[0].interval.low, group.models[0].interval.high) == pytest.approx((low, high))
    assert group.verdicts == ()


def test_a_model_with_one_run_is_named_as_not_compared(content):
    rng = np.random.default_rng(2)
    group = made_up(content, {"a": runs(rng, 0.9), "b": runs(rng, 0.5), "c": runs(rng, 0.95, n_seeds=1)})
    assert headline(group).startswith("Of the two that can be compared, a is better than b by ")
    assert headline(group).endswith(" points. Not compared: c.")
    assert details(group)[-1] == "Not compared: c (one run alone)."


def test_a_headline_is_of_the_models_that_can_be_compared(content):
    rng = np.random.default_rng(2)
    correct = {name: runs(rng, share) for name, share in {"a": 0.9, "b": 0.5, "c": 0.2}.items()}
    group = made_up(content, correct | {"d": runs(rng, 0.95, n_seeds=1)})
    assert headline(group) == (
        "a is the most accurate of the three that can be compared: better than each of the two others. Not compared: d."
    )
    assert "that of the next of those compared, b " in details(group)[0]
    same = np.tile(np.arange(3000) < 2700, (5, 1))
    equal = made_up(content, {"a": same, "b": same, "d": same[:1]})
    assert headline(equal) == (
        "a has the highest mean accuracy of the two that can be compared, and b is equivalent to it within 0.5 points. "
        "Not compared: d."
    )


def with_parameters(group, parameters):
    models = [
        replace(model, seeds=tuple(replace(seed, run=priced(seed.run, parameters[model.name])) for seed in model.seeds))
        for model in group.models
    ]
    return replace(group, models=tuple(models))


def priced(run, parameters):
    return run.model_copy(update={"parameters": parameters})


def difference_of_three(estimate):
    """Of two models of three seeds each."""
    return Difference(estimate, (Side(3, 5e-7, 0.0), Side(3, 5e-7, 0.0)), 1e-6, 1000)


def decided(content, kinds, parameters, unpaired=()):
    """A group of the models a, b, c, …, the first the most accurate, with these verdicts of the others against it."""
    group = made_up(content, {name: np.ones((3, 300)) for name in parameters})
    verdicts = tuple(
        Verdict("a", name, kind, difference_of_three(0.01), 0.5, "", more) for name, (kind, more) in kinds.items()
    )
    return replace(with_parameters(group, parameters), verdicts=verdicts, unpaired=unpaired)


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ({"b": "better", "c": "better"}, "the most of the three models. It is better than each model with fewer."),
        (
            {"b": "equivalent", "c": "better"},
            "the most of the three models. With fewer, b (2,000) is equivalent to it within 1.34 points.",
        ),
        (
            {"b": "equivalent", "c": "cannot tell"},
            "the most of the three models. With fewer, b (2,000) is equivalent to it within 1.34 points. Against "
            "c (1,000), with fewer, it is inconclusive.",
        ),
    ],
)
def test_what_the_best_costs_is_said_with_no_more_than_its_verdicts(content, kinds, words):
    kinds = {name: (kind, None) for name, kind in kinds.items()}
    group = decided(content, kinds, {"a": 3000, "b": 2000, "c": 1000})
    assert f"a has 3,000 parameters, {words}" in details(group)


def test_the_rank_of_the_best_by_parameters(content):
    def said(a, **others):
        group = decided(content, dict.fromkeys(others, ("better", None)), {"a": a} | others)
        return [line for line in details(group) if "parameters" in line]

    assert said(1, b=2, c=3) == ["a has 1 parameters, the fewest of the three models."]
    assert said(2, b=1, c=3, d=4) == [
        "a has 2 parameters, the second fewest of the four models. It is better than b (1), which has fewer."
    ]
    assert said(3, b=1, c=2, d=2, e=4) == [
        "a has 3 parameters, the second most of the five models. It is better than each model with fewer."
    ]
    assert said(2, b=2) == []


def test_a_cheaper_model_that_is_not_compared_is_not_said_to_be_beaten(content):
    kinds = {"b": ("better", None), "c": ("better", None)}
    group = decided(content, kinds, {"a": 9, "b": 8, "c": 7, "d": 6}, unpaired=(("d", "one run alone"),))
    assert "It is better than each model compared with fewer." in details(group)[1]


def test_after_an_open_headline_the_seeds_that_would_tell_are_named(content):
    parameters = {"a": 3, "b": 3, "c": 3}
    kinds = {"b": ("cannot tell", 4), "c": ("cannot tell", 9)}
    assert seeds_that_could_tell(decided(content, kinds, parameters)) == (
        "About 12 seeds of each would tell a from b and c, if they differ by as much as was found (80 % power, by "
        "the spread of these runs)."
    )
    kinds = {"b": ("cannot tell", 4), "c": ("cannot tell", None)}
    assert (
        "About 7 seeds of each would tell a from b, if they differ by as much as was found (80 %"
        in seeds_that_could_tell(decided(content, kinds, parameters))
    )
    for kind in ("cannot tell", "better", "equivalent"):
        assert seeds_that_could_tell(decided(content, {"b": (kind, None)}, parameters)) == ""


def test_seeds_that_would_tell_are_for_the_differences_that_the_verdicts_count_them_for(content):
    """The margin where the pair's own interval holds 0, else what was found."""
    rng = np.random.default_rng(2)
    said = set()
    for _ in range(200):
        shares = {"a": 0.7, "b": 0.75, "c": 0.77, "d": 0.78}
        group = made_up(content, {name: rng.random((4, 355)) < share for name, share in shares.items()})
        found = standing(group)
        own = {verdict.pair_interval.low > 0 for verdict in found.open if verdict.more}
        if own:
            sizes = {(False,): "1.13 points", (True,): "as much as was found"}
            expected = sizes.get(tuple(own), "1.13 points or as much as was found")
            assert f", if they differ by {expected} (80 % power" in seeds_that_could_tell(group)
            said.add(expected)
    assert len(said) >= 2


def test_two_seeds_are_said_to_be_too_few_for_several_pairs(content):
    rng = np.random.default_rng(2)
    two = {name: runs(rng, share, n_seeds=2) for name, share in {"a": 0.9, "b": 0.5, "c": 0.2}.items()}
    notice = too_few_seeds(made_up(content, two))
    assert notice.startswith("Two seeds of each model are too few for a family of 3 pairs. Nothing is claimed from ")
    assert "From four on, the chance of even one false “better” is 5 % or less" in notice
    assert notice.endswith(f"as simulated. {DECIDE_BEFORE}")
    mixed = two | {"c": runs(rng, 0.2, n_seeds=4)}
    assert too_few_seeds(made_up(content, mixed)).startswith("Two seeds of a and b are too few for a family of 3 pairs")
    four = {name: runs(rng, 0.5, n_seeds=4) for name in "abc"}
    assert too_few_seeds(made_up(content, four)) == ""
    pair = too_few_seeds(made_up(content, {name: two[name] for name in "ab"}))
    assert pair.startswith("Two seeds of each model are too few for a family of 1 pair.")


def test_of_too_few_seeds_the_headline_says_who_leads_and_that_nothing_is_shown(content):
    rng = np.random.default_rng(2)
    two = {name: runs(rng, share, n_seeds=2) for name, share in {"a": 0.9, "b": 0.79}.items()}
    unshown = "The seeds are too few to say that any difference is real."
    assert headline(made_up(content, two)) == f"a has the highest mean accuracy, 90.0 % over two seeds. {unshown}"
    alone = made_up(content, two | {"c": runs(rng, 0.95, n_seeds=1)})
    assert headline(alone) == (
        f"a has the highest mean accuracy of the two that can be compared, 90.0 % over two seeds. {unshown} "
        "Not compared: c."
    )
    mixed = {name: runs(rng, share, n_seeds=5) for name, share in {"a": 0.9, "d": 0.3}.items()}
    assert headline(made_up(content, two | mixed)) == (
        "a has the highest mean accuracy, 90.0 % over five seeds. Against b, the seeds are too few to say that the "
        "lead is real."
    )
    mixed["d"] = runs(rng, 0.87, n_seeds=5, spread=0.05)
    assert headline(made_up(content, two | mixed)).endswith(" is real. Against d, it is inconclusive.")
    dead = of_dead(content, {"a": runs(rng, 0.9, 3), "b": runs(rng, 0.7, 3), "c": runs(rng, 0.6, 3)}, "a")
    assert headline(dead).startswith("a has the highest mean accuracy, over its runs that train. The seeds are too few")


def test_a_new_study_has_seeds_enough_and_none_that_were_seen(content):
    rng = np.random.default_rng(2)
    two = {name: runs(rng, share, n_seeds=2) for name, share in {"a": 0.9, "b": 0.5, "c": 0.2}.items()}
    assert seeds_of_a_new_study(made_up(content, two)) == 5
    command = new_study_command(content, 5)
    place = (content.folder / "study.json").resolve()
    assert command == f"modelflow run {place} --seeds 44,45,46,47,48 --results new_study"
    assert SEEDS == [42, 43]
    for more, number in ((4, 7), (17, 20), (18, 0)):  # of three seeds: as many as would tell, unless they are many
        assert seeds_of_a_new_study(decided(content, {"b": ("cannot tell", more)}, {"a": 3, "b": 3})) == number
    assert seeds_of_a_new_study(decided(content, {"b": ("better", None)}, {"a": 3, "b": 3})) == 0
    close = made_up(content, {name: runs(rng, 0.5, n_seeds=2, spread=0.05) for name in "ab"})
    assert what_to_do(close).endswith("seeds of each model, enough for large differences")


def test_a_new_study_of_the_cards_models_is_given_by_options(copied):
    (copied / "study.json").unlink()
    write_asked(read_study(None, epochs=2), copied)
    assert new_study_command(read_content(copied), 3) == (
        "modelflow run --epochs 2 --seeds 44,45,46 --results new_study"
    )
    (copied / "study.json").unlink()
    assert new_study_command(read_content(copied), 3) == ""


def of_dead(content, correct_by_model, dead):
    """As `made_up`, where the first run of the model `dead` has died."""
    base = made_up(content, correct_by_model)
    seeds = [seed for model in base.models for seed in model.seeds]
    warned = {"warnings": ("the loss 2.303 is no better than guessing (2.303); try another rate",)}
    seeds = [
        replace(seed, run=seed.run.model_copy(update=warned))
        if (seed.run.model_name, seed.run.seed) == (dead, 42)
        else seed
        for seed in seeds
    ]
    return group_of(0, seeds, {name: i for i, name in enumerate(correct_by_model)})


def test_the_best_is_so_by_its_runs_that_train(content):
    rng = np.random.default_rng(0)
    right = {"a": runs(rng, 0.95, spread=0.002), "b": runs(rng, 0.85, spread=0.002), "c": runs(rng, 0.3)}
    right["a"][0] = np.arange(300) % 10 == 0
    assert standing(made_up(content, right)).best == "b"
    group = of_dead(content, right, "a")
    assert standing(group).best == "a"
    assert headline(group) == "a is the most accurate of the three models: better than each of the two others."
    assert trained(group) == "Verdicts are of the runs that train. 1 of 15 runs died."
    page = render(Content(content.folder, (group,), ()))
    assert "a: 1 of 5 runs died (up to 66 % of runs would). Of all runs: " in page
    assert f"The figures include their accuracies. {trained(group)}" in page
    assert too_few_seeds(group) == ""


def test_models_of_which_too_few_runs_train_are_said_to_be_so(content):
    rng = np.random.default_rng(0)
    right = {"a": runs(rng, 0.95, 4), "b": runs(rng, 0.5, 4), "c": runs(rng, 0.3, 4)}
    said = too_few_seeds(of_dead(content, right, "a"))
    assert said.startswith("Three seeds of a that train are too few for a family of 3 pairs")
    right = {"a": runs(rng, 0.6, 2), "b": runs(rng, 0.5, 2)}
    assert details(of_dead(content, right, "a"))[0].startswith("The mean of a over all its runs lies ")


def test_the_margin_is_named_with_its_reason(content):
    group = made_up(content, {"a": np.ones((3, 300)), "b": np.ones((3, 300))})
    assert margin(group) == "1.34 points (4 of 300 test images)"
    assert "that matters: 1.34 points (4 of 300 test images) either way" in render(
        Content(content.folder, (group,), ())
    )


def test_the_best_of_more_models_than_are_shown_are_judged_as_such(content):
    rng = np.random.default_rng(2)
    four = {name: runs(rng, share, n_seeds=4) for name, share in {"a": 0.9, "b": 0.2}.items()}
    alone, best_of_eight = made_up(content, four), made_up(content, four, absent=6)
    assert [verdict.kind for verdict in alone.verdicts] == ["better"]
    assert (best_of_eight.family, [verdict.kind for verdict in best_of_eight.verdicts]) == (28, ["cannot tell"])
    assert too_few_seeds(best_of_eight).startswith("Four seeds of each model are too few for a family of 28 pairs")


def test_what_is_equivalent_to_the_first_is_a_rival_where_it_cannot_be_told(content):
    group = made_up(content, {name: np.ones((2, 300)) for name in ("generic_A", "b", "tinyNet")})
    kinds = {("generic_A", "b"): "cannot tell", ("generic_A", "tinyNet"): "equivalent", ("b", "tinyNet"): "cannot tell"}
    verdicts = tuple(
        Verdict(*pair, kind, difference_of_three(0.001 * i), 0.5, "") for i, (pair, kind) in enumerate(kinds.items())
    )
    group = replace(group, verdicts=verdicts, models=tuple(sorted(group.models, key=lambda m: m.name != "generic_A")))
    assert headline(group) == "Inconclusive: generic_A, b or tinyNet may be the most accurate."
    assert details(group)[1] == "tinyNet is equivalent to generic_A within 1.34 points."


def test_every_interval_of_a_pair_is_rounded_as_in_its_verdict(content):
    rng = np.random.default_rng(5)
    group = made_up(content, {"a": rng.random((3, 300)) < 0.8, "b": rng.random((3, 300)) < 0.75})
    (verdict,) = group.verdicts
    low, high = re.search(r"(-?[\d.]+) to (-?[\d.]+) points", verdict.words).groups()
    assert f"(95 % interval {low} to {high})." in details(group)[0]
    low = low.replace("-", MINUS)
    assert f'points, this pair alone from {low} to {high}"' in render(Content(content.folder, (group,), ()))


def test_one_model_alone(content):
    group = made_up(content, {"a": runs(np.random.default_rng(3), 0.9)})
    assert headline(group) == "a has 90.0 % of the 300 test images right."


def test_dead_runs_are_listed(copied):
    change(copied / "wide", warnings=["97 % of the images are called '<b>'"])
    assert dead_runs(read_content(copied).groups[0]) == [("wide", 42, "97 % of the images are called '<b>'")]


def test_the_protocol_says_what_may_be_chosen():
    assert "Do not choose" in protocol_words("card", [None])
    assert protocol_words("held-out", [1]).endswith("The test images were evaluated once, at the end of the run.")
    assert "unknown" in protocol_words("", [1])


@pytest.mark.parametrize(
    ("reads", "words"),
    [
        ([1, 1], "the test images were evaluated once, at the end of each run"),
        ([3], "the test images were evaluated 3 times, for reasons that run.json does not record"),
        ([1, 3], "the test images were evaluated up to 3 times, for reasons that run.json does not record"),
        ([None, None], "it is unknown how often the test images were evaluated"),
        ([1, None], "the test images were evaluated once in some runs, unknown how often in others"),
    ],
)
def test_how_often_the_test_images_were_evaluated_is_said_of_all_runs(reads, words):
    assert reads_words(reads) == words


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_votes_and_disagreements_against_counting_one_by_one(results, content):
    found = mistakes_of(content.groups[0])
    right = {}
    for votes in found.votes:
        pairs = [read_predictions(folder) for folder in run_folders_of(results, votes.model.name)]
        p_SNK = np.stack([softmax(logits_NK) for logits_NK, _ in pairs])
        for i in range(355):
            named = [int(p_NK[i].argmax()) for p_NK in p_SNK]
            most = max(named, key=lambda k: (named.count(k), p_SNK[:, i, k].mean()))
            assert votes.predicted_N[i] == most
            assert votes.confidence_N[i] == pytest.approx(p_SNK[:, i, most].mean())
            assert votes.wrong_N[i] == sum(k != pairs[0][1][i] for k in named)
        right[votes.model.name] = votes.predicted_N == pairs[0][1]
    for i, a in enumerate(found.votes):
        for j, b in enumerate(found.votes):
            assert found.only_MM[i, j] == (right[a.model.name] & ~right[b.model.name]).sum()
    assert found.wrong_by_all == (~right["wide"] & ~right["narrow"]).sum()


def differing(content, predicted_by_model):
    """A group of models of one run with these predictions, surer of an image the later it stands."""
    group = made_up(content, {name: [[True] * len(of_N)] for name, of_N in predicted_by_model.items()})
    models = []
    for model in group.models:
        predicted_N = np.array(predicted_by_model[model.name])
        scale_N1 = np.linspace(1, 5, len(predicted_N))[:, None]
        logits_NK = (scale_N1 * np.eye(10)[predicted_N]).astype(np.float32)
        models.append(replace(model, seeds=(replace(model.seeds[0], logits_NK=logits_NK),)))
    return replace(group, models=tuple(models))


def test_two_models_are_right_or_wrong_alike_or_differently(content):
    labels_N = content.groups[0].labels_N[:60]
    a_N, b_N = labels_N.copy(), labels_N.copy()
    a_N[:40] = (labels_N[:40] + 1) % 10
    b_N[:5], b_N[5:40] = labels_N[:5], (labels_N[5:40] + 2) % 10
    b_N[5:8] = a_N[5:8]
    b_N[50:] = (labels_N[50:] + 3) % 10
    found = mistakes_of(differing(content, {"a": a_N, "b": b_N}))
    (pair,) = found.pairs
    assert (pair.first.name, pair.second.name) == ("a", "b")
    assert (pair.right, pair.only_first, pair.only_second, pair.wrong_alike, pair.wrong_apart) == (10, 10, 5, 3, 32)
    assert found.surest_apart[0, 1].tolist() == list(range(39, 15, -1))
    assert found.surest_only[1, 0].tolist() == [4, 3, 2, 1, 0]
    assert found.wrong[0].tolist() == list(range(39, -1, -1))
    assert set(found.surest_apart[0, 1]) <= set(found.shown)


def test_lists_of_two_models_end_where_an_image_is_not_shown(content, monkeypatch):
    monkeypatch.setattr("modelflow.report.mistakes.MAX_TILES", 9)
    found = mistakes_of(content.groups[0])
    lists = {**found.surest_only, (0, 1, "apart"): found.surest_apart[0, 1]}
    assert any(len(images) < A_PAIR for images in lists.values())
    monkeypatch.undo()
    whole = mistakes_of(content.groups[0])
    for pair, images in lists.items():
        surest = (whole.surest_only | {(0, 1, "apart"): whole.surest_apart[0, 1]})[pair]
        assert images.tolist() == surest[: len(images)].tolist()
        assert set(images) <= set(found.shown)
        assert len(images) == len(surest) or surest[len(images)] not in found.shown


def test_the_most_confident_mistakes_are_mistakes_and_the_surest(content):
    found = mistakes_of(content.groups[0])
    for votes, surest in zip(found.votes, found.most_confident, strict=True):
        wrong = np.flatnonzero(votes.predicted_N != found.labels_N)
        assert len(surest) == min(A_MODEL, len(wrong))
        assert set(surest) <= set(wrong)
        left = votes.confidence_N[np.setdiff1d(wrong, surest)]
        assert votes.confidence_N[surest].min() >= left.max(initial=0)
        assert set(surest) <= set(found.shown)


def test_no_more_images_are_shown_than_fit(content, monkeypatch):
    assert len(mistakes_of(content.groups[0]).shown) <= MAX_TILES
    monkeypatch.setattr("modelflow.report.mistakes.MAX_TILES", 5)
    assert len(mistakes_of(content.groups[0]).shown) == 5


def test_a_tie_goes_to_the_more_probable_class(content):
    (model,) = made_up(content, {"a": [[True] * 10, [False] * 10]}).models
    right, wrong = model.seeds
    for surer, expected in ((right, right.labels_N), (wrong, (right.labels_N + 1) % 10)):
        seeds = tuple(replace(seed, logits_NK=(1 + (seed is surer)) * seed.logits_NK) for seed in model.seeds)
        votes = vote(replace(model, seeds=seeds))
        assert (votes.predicted_N == expected).all()
        assert votes.wrong_N.tolist() == [1] * 10


# --- how it was made -------------------------------------------------------------------------------------------------


def test_the_facts_of_the_runs(content):
    facts = dict(how_made(content).facts)
    assert (facts["Data set"], facts["Seeds"], facts["Epochs"]) == ("digits", "42 and 43", "2")
    assert facts["Test images evaluated"] == "after every epoch"
    assert facts["Training images"] == "1,442"
    assert "torch" in facts["Versions"]
    assert facts["Recipe"] == "card (the settings of the course's model card, except those given)"
    assert facts["Trained by"] == "compiled step (machine code made for each architecture)"
    seconds = sum(run.seconds["training"] for run in content.runs)
    assert float(facts["Seconds of training, all runs together"]) == pytest.approx(seconds, rel=0.005)
    assert how_made(content).checksums == (("digits", "digits", content.runs[0].data.checksums["digits"]),)


def test_what_to_install_and_where_the_data_come_from(content):
    how, run = how_made(content), content.runs[0]
    assert how.made_with.startswith(f"ModelFlow {run.versions['modelflow']} ")
    assert how.made_with.endswith(f" on Python {platform.python_version()}")
    assert made_with([run.model_copy(update={"git_revision": "0123456789abcdef"})]) == (
        f"ModelFlow {run.versions['modelflow']} (revision 0123456789ab) on Python {platform.python_version()}"
    )
    sha256 = run.data.checksums["digits"]
    assert how.data == (f"digits comes with ModelFlow. SHA-256 {sha256}.",)
    html = render(content)
    assert f"These runs were made by {how.made_with}. In its source, <code>python -m pip install" in html
    assert f"<p>Data: <bdi>{how.data[0]}" in html


@pytest.mark.parametrize(
    ("name", "checksums", "words"),
    [
        ("fashion-mnist", {"a": "0", "b": "1"}, "is downloaded and checked unless it is on the machine. "),
        ("idx:my/images", {"a": "0", "b": "1"}, "which must hold the same files. The SHA-256 of its 2 files are"),
        ("TensorDataset", {}, "was given in Python and must be given again. No checksum was recorded."),
    ],
)
def test_the_origin_of_other_data_is_said(content, name, checksums, words):
    run = content.runs[0]
    data = run.data.model_copy(update={"name": name, "checksums": checksums})
    assert words in data_words(run.model_copy(update={"data": data}))


def test_versions_that_were_not_recorded_are_said(content):
    bare = content.runs[0].model_copy(update={"versions": {}, "git_revision": "0123456789abcdef+"})
    unknown = "of a version that was not recorded"
    assert made_with([bare]) == f"ModelFlow {unknown} (revision 0123456789ab with changes) on Python {unknown}"


def test_own_models_are_repeated_from_the_study_file(content):
    command, caution = repeat_command(content)
    assert command == f"modelflow run {(content.folder / 'study.json').resolve()} --results repeated"
    assert caution == ""


@pytest.mark.parametrize(
    ("margin", "words"), [(3, " --margin 3"), (100 * 4 / 355, ""), (None, "")], ids=["asked", "default", "before"]
)
def test_the_margin_is_repeated_where_it_was_asked_for(copied, margin, words):
    (copied / "study.json").unlink()  # else what was asked for before stays asked for
    write_asked(read_study(None, margin=margin), copied)
    command, _ = repeat_command(read_content(copied))
    assert command == f"modelflow run{words} --results repeated"


def test_other_seeds_than_those_of_the_study_file_are_said(copied):
    shutil.rmtree(copied / "wide" / "seeds")
    command, caution = repeat_command(read_content(copied))
    assert command
    assert caution == "study.json asks for seeds 42 and 43. These runs have seed 42 (wide)."


def test_runs_without_a_study_file_have_no_command(copied):
    (copied / "study.json").unlink()
    command, caution = repeat_command(read_content(copied))
    assert command == ""
    assert "run.json" in caution


def test_a_damaged_study_file_is_said(copied):
    (copied / "study.json").write_text('{"epochs": "<b>"}')
    command, caution = repeat_command(read_content(copied))
    assert command == ""
    assert "study.json cannot be read" in caution
