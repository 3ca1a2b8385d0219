"""MODEL_CARD.md: every number against the stored files, Hugging Face's reader, names that nobody should have given."""

import csv
import json
import math
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from markdown_it import MarkdownIt
from scipy import stats
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, log_loss, precision_recall_fscore_support
from statsmodels.stats.proportion import proportion_confint

from modelflow import cli
from modelflow.analysis.archive import read_content, read_seed
from modelflow.errors import DataError
from modelflow.export.c.device import needed
from modelflow.networks.description import read_spec
from modelflow.report import model_card
from modelflow.report.answer import headline
from modelflow.report.page import render
from modelflow.results.layout import read_run
from modelflow.results.settings import RunSettings, StudySettings, read_study, validated
from modelflow.studies.pages import write_pages
from modelflow.text import escaped, markdown_table, plain, shown

HOSTILE = [
    "</td><script>alert(1)</script>",
    "a | b || c",
    "![x](http://evil.example/x.png) [y](javascript:alert(1)) <img src=x>",
    "line\n---\n# heading\r\n- item\u2028next\x00\x1b[31m",
    "\u202egnp.exe\u2066 **bold** __bold__ _it_ ~~gone~~ `code` $x^2$",
    "https://evil.example www.evil.example a@b.example",
    "{{ 7 * 7 }} {% raw %} &lt;b&gt; \\ \\| !!python/object:os.system key: [value, 'quote\" # comment",
    "שלום あいう",
]


def study_card(folder):
    return model_card.study_card(read_content(folder))


def run_card(folder):
    return model_card.run_card(read_seed(folder))


def spec(channels):
    return {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [channels], "fc_sizes": [20]}


@pytest.fixture(scope="module")
def study(trained):
    """Two models with three seeds each, trained on the digits."""
    models = [{"name": "narrow_one", "spec": spec(3)}, {"name": "wide", "spec": spec(8)}]
    fields = {"dataset": "digits", "models": models, "epochs": 3, "seeds": [42, 43, 44], "lr": 3e-3}
    return trained(validated(StudySettings, fields, "test"))


@pytest.fixture
def copy(study, tmp_path):
    """A study that a test may change."""
    return shutil.copytree(study, tmp_path / "results")


def changed(folder, **changes):
    """The run whose run.json then says something else; a field with a dot goes into a part of it."""
    fields = json.loads((folder / "run.json").read_text())
    for name, value in changes.items():
        part, _, field = name.partition("__")
        fields[part] = fields[part] | {field: value} if field else value
    (folder / "run.json").write_text(json.dumps(fields))


def front(card):
    return yaml.safe_load(card.split("---\n")[1])


def section(card, heading):
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", card, re.S | re.M)[1]


def tables(text):
    """The tables of a text, each a list of rows of cells."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.M)
    rows = [[re.split(r"(?<!\\) \| ", line[2:-2]) for line in block.splitlines()] for block in found]
    return [[table[0], *table[2:]] for table in rows]


def stored(folder):
    with np.load(folder / "predictions.npz") as archive:
        logits, labels = archive["logits"].astype(float), archive["labels"]
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True), labels


def test_the_evaluation_of_a_run_is_that_of_its_predictions(study):
    p, y = stored(study / "wide" / "seeds" / "43")
    predicted = p.argmax(1)
    rows = dict(tables(section(run_card(study / "wide" / "seeds" / "43"), "Evaluation"))[0])
    low, high = proportion_confint((predicted == y).sum(), len(y), method="wilson")
    span = f"{100 * accuracy_score(y, predicted):.2f} % ({100 * low:.2f} to {100 * high:.2f})"
    assert rows["accuracy"] == span
    assert rows["macro F1"] == f"{f1_score(y, predicted, average='macro'):.4f}"
    assert float(rows["loss, nats per image"]) == pytest.approx(log_loss(y, p, labels=range(10)), abs=1e-4)
    second = np.sort(p, 1)[:, -2]
    assert rows["top-2 accuracy"] == f"{100 * (p[np.arange(len(y)), y] >= second).mean():.2f} %"
    assert rows["test images"] == "355"


def test_the_lines_of_newer_records_stand_there_and_are_left_out_of_older_ones(copy):
    run = read_run(copy / "wide")
    rows = dict(tables(section(run_card(copy / "wide"), "Evaluation"))[0])
    assert rows[f"accuracy on {run.validation.images} held-out images"] == f"{100 * run.validation.accuracy:.2f} %"
    assert rows["milliseconds for 1 image"] == f"{run.latency_ms['1']:g}"
    assert rows["milliseconds for 64 images"] == f"{run.latency_ms['64']:g}"
    assert int(rows["bytes of model.safetensors"].replace(",", "")) == (copy / "wide/model.safetensors").stat().st_size
    older = {"validation": None, "test_reads": None, "latency_ms": {}, "bytes_on_disk": None, "bytes_on_device": {}}
    changed(copy / "wide", **older, metrics__brier=None, metrics__calibration_error=None, metrics__top2_accuracy=None)
    of_older = dict(tables(section(run_card(copy / "wide"), "Evaluation"))[0])
    assert of_older.items() <= rows.items()
    assert set(rows) - set(of_older) == {key for key in rows if re.match(r"accuracy on|milliseconds|bytes", key)}


def test_the_calibration_is_that_of_the_predictions(study):
    p, y = stored(study / "narrow_one")
    text = section(run_card(study / "narrow_one"), "Calibration")
    (of_model, bins) = tables(text)
    confidence, right = p.max(1), p.argmax(1) == y
    which = np.clip(np.ceil(confidence * 15).astype(int) - 1, 0, 14)
    error = sum(abs((confidence - right)[which == b].sum()) for b in range(15)) / len(y)
    brier = sum(brier_score_loss(y == k, p[:, k]) for k in range(10))
    over = 100 * (confidence - right).mean()
    assert of_model[1] == ["narrow_one", f"{brier:.4f}", f"{100 * error:.2f} points", f"{over:+.2f}"]
    filled = [b for b in range(15) if (which == b).any()]
    assert [row[1:] for row in bins[1:]] == [
        [
            str((which == b).sum()),
            f"{100 * confidence[which == b].mean():.2f} %",
            f"{100 * right[which == b].mean():.2f} %",
        ]
        for b in filled
    ]


def test_the_figures_by_class_are_those_of_scikit_learn(study):
    p, y = stored(study / "wide")
    rows = tables(section(run_card(study / "wide"), "Per class"))[0][1:]
    figures = precision_recall_fscore_support(y, p.argmax(1), labels=range(10), zero_division=0)
    assert rows == [[str(k), *(f"{one[k]:.4f}" for one in figures[:3]), str(figures[3][k])] for k in range(10)]
    with (study / "wide" / "classification_report.csv").open() as file:
        assert [row[0] for row in rows] == [line["class"] for line in csv.DictReader(file)][:10]


def test_a_study_has_mean_spread_and_intervals_over_its_seeds_best_first(study):
    card = study_card(study)
    rows = tables(section(card, "Evaluation"))[0][1:]
    assert [row[0] for row in rows] == ["wide", "narrow_one"]
    for name, seeds, accuracy, interval, another, of_two, f1, loss in rows:
        runs = [stored(study / name / place) for place in (".", "seeds/43", "seeds/44")]
        shares = [accuracy_score(y, p.argmax(1)) for p, y in runs]
        mean, sd = np.mean(shares), np.std(shares, ddof=1)
        t = stats.t(2).ppf(0.975)
        assert (seeds, accuracy) == ("3", f"{100 * mean:.2f} % ± {100 * sd:.2f}")
        assert span(interval) == pytest.approx(
            [100 * (mean + s * t * sd / math.sqrt(3)) for s in (-1, 1)], abs=0.005001
        )
        assert span(another) == pytest.approx(
            [100 * (mean + s * t * sd * math.sqrt(4 / 3)) for s in (-1, 1)], abs=0.005001
        )
        assert float(f1) == pytest.approx(
            np.mean([f1_score(y, p.argmax(1), average="macro") for p, y in runs]), abs=5.1e-5
        )
        assert float(loss) == pytest.approx(np.mean([log_loss(y, p, labels=range(10)) for p, y in runs]), abs=1e-4)
        likely = [(p[np.arange(len(y)), y] >= np.sort(p, 1)[:, -2]).mean() for p, y in runs]
        assert of_two == f"{100 * np.mean(likely):.2f} %"


def test_a_study_has_what_each_model_costs(study):
    rows = tables(section(study_card(study), "Training"))[-1]
    for name, parameters, macs, size, flash, ram, seconds, one, many in rows[1:]:
        runs = [read_run(study / name / place) for place in (".", "seeds/43", "seeds/44")]
        costs = (runs[0].parameters, runs[0].macs, (study / name / "model.safetensors").stat().st_size)
        assert tuple(int(cost.replace(",", "")) for cost in (parameters, macs, size)) == costs
        on_device = needed(read_spec(study / name / "spec.json"), int8=True)
        assert (flash, ram) == (f"{on_device.flash:,}", f"{on_device.ram:,}")
        assert float(seconds) == pytest.approx(np.mean([run.seconds["training"] for run in runs]), abs=0.051)
        for batch, least in (("1", one), ("64", many)):
            assert float(least) == pytest.approx(min(run.latency_ms[batch] for run in runs), rel=0.005)


def span(text):
    return [float(end) for end in text.split(" to ")]


def test_the_verdicts_are_those_of_the_comparison(study):
    from modelflow.analysis.comparison import compare_folders

    lines = re.findall(r"^- (.*)$", section(study_card(study), "Evaluation"), re.M)
    assert lines == [escaped(verdict.words) for verdict in compare_folders([study]).verdicts]
    assert len(lines) == 1
    assert "wide" in lines[0]


def test_one_seed_each_is_said_of_runs_and_not_of_models(copy):
    for name in ("wide", "narrow_one"):
        shutil.rmtree(copy / name / "seeds")
    card = study_card(copy)
    assert "this run of wide" in section(card, "Evaluation")
    assert "One seed of wide, narrow_one: " in card
    assert "compares these runs, not the models" in card


def test_missing_predictions_are_said_and_the_rest_stands(copy):
    for path in copy.rglob("predictions.npz"):
        path.unlink()
    for card in (study_card(copy), run_card(copy / "wide")):
        assert "unknown, since the predictions are not in the folder" in section(card, "Per class")
        assert ModelCard(card).data.eval_results
    assert "The models are not compared: " in study_card(copy)
    assert (
        tables(section(study_card(copy), "Calibration"))[0][1][1]
        == f"{np.mean([read_run(f.parent).metrics.brier for f in (copy / 'wide').rglob('run.json')]):.4f}"
    )


def test_the_protocol_is_stated_in_words(copy):
    held = section(run_card(copy / "wide"), "Data")
    assert "of the training images were held out" in held
    assert "The test images were evaluated once, at the end of the run" in held
    changed(copy / "wide", protocol="card", settings__protocol="card", test_reads=None)
    assert "the test images also served as validation" in section(run_card(copy / "wide"), "Data")
    assert "the test images also served as validation" in section(study_card(copy), "Data").lower()
    changed(copy / "wide", protocol="held-out", settings__protocol="held-out", test_reads=3)
    card = run_card(copy / "wide")
    assert "The test images were evaluated 3 times, for reasons" in section(card, "Data")
    assert "The test images were evaluated 3 times, for reasons" in section(card, "Limits")
    assert "once" not in section(card, "Data") + section(card, "Evaluation") + section(card, "Limits")
    assert "Nothing was chosen" not in card
    changed(copy / "wide", protocol="held-out", settings__protocol="held-out", test_reads=None)
    assert "unknown how often the test images were evaluated" in section(run_card(copy / "wide"), "Data")
    assert "Nothing was chosen" not in run_card(copy / "wide")
    changed(copy / "wide", protocol="mine", settings__protocol="mine")
    assert "unknown how validation and test images were kept apart" in section(run_card(copy / "wide"), "Data")


def test_a_study_says_everywhere_the_same_of_how_often_the_test_images_were_evaluated(copy):
    def said(card):
        return {name: section(card, name).lower() for name in ("Data", "Evaluation", "Limits")}

    once = "the test images were evaluated once, at the end of each run"
    assert once in said(study_card(copy))["Data"]
    assert once in said(study_card(copy))["Evaluation"]
    changed(copy / "wide" / "seeds" / "43", test_reads=2)
    for text in said(study_card(copy)).values():
        assert text.count("the test images were evaluated up to 2 times, for reasons") == 1
        assert "once" not in text
        assert "nothing was chosen" not in text
    for folder in (copy / "wide", copy / "narrow_one"):
        for run in (folder, *(folder / "seeds").iterdir()):
            changed(run, test_reads=None)
    for text in (*said(study_card(copy)).values(), render(read_content(copy)).lower()):
        assert "unknown how often the test images were evaluated" in text
        assert "evaluated once" not in text


def test_the_summary_is_the_headline_of_the_report(study, copy):
    (group,) = read_content(study).groups
    card = study_card(study)
    assert escaped(headline(group)) in card
    assert "Highest mean accuracy: wide, with " in card
    assert "The most accurate is" not in card
    assert "p-value of a difference of 1.13 points (4 of 355 test images) or more is below 5 %" in section(
        card, "Evaluation"
    )
    for name in ("wide", "narrow_one"):
        shutil.rmtree(copy / name / "seeds")
    assert "One run of each model cannot tell which of the two is the most accurate." in study_card(copy)


def test_models_by_other_protocols_are_apart_in_every_table(copy):
    for folder in (copy / "wide", *(copy / "wide" / "seeds").iterdir()):
        changed(folder, protocol="card", settings__protocol="card", test_reads=None)
    card = study_card(copy)
    assert "The models are not compared" not in card
    for name in ("Evaluation", "Calibration", "Per class"):
        text = section(card, name)
        assert text.index("digits, 355 test images, protocol held-out") != text.index("355 test images, protocol card:")
        assert len(tables(text)) == 2
    assert re.search(r"^On digits, 355 test images, protocol card: wide has ", card, re.M)
    names = {entry["name"]: [m["name"] for m in entry["results"][0]["metrics"]] for entry in front(card)["model-index"]}
    assert names["wide"][0] == "Accuracy (test images also validated on), the mean of 3 seeds"
    assert names["narrow_one"][0] == "Accuracy, the mean of 3 seeds"
    assert "(test images also validated on)" in run_card(copy / "wide").split("## What it is")[0]


def test_two_seeds_of_several_models_are_noticed_in_the_summary(copy):
    for seed in ("43", "44"):
        changed(copy / "wide" / "seeds" / seed, model_name="widest")
    shutil.copytree(copy / "wide", copy / "w", ignore=lambda folder, _: ["44"] if folder.endswith("seeds") else [])
    changed(copy / "w" / "seeds" / "43", model_name="wide", seed=45)
    summary = study_card(copy).split("## What it is")[0]
    assert "Two and three seeds of each model are too few for a family of 3 pairs" in summary


def test_what_cannot_be_read_is_named_among_the_limits(copy):
    (copy / "wide" / "seeds" / "44" / "run.json").write_text("{")
    assert "Left out, wide/seeds/44: " in section(study_card(copy), "Limits")


def test_what_a_record_does_not_say_is_not_known(copy):
    run = read_run(copy / "wide")
    settings = dict(tables(section(run_card(copy / "wide"), "Training"))[0])
    assert settings["validation images"] == f"{run.data.validation_images:,}"
    changed(copy / "wide", engine="", protocol="card", settings__protocol="card")
    settings = dict(tables(section(run_card(copy / "wide"), "Training"))[0])
    assert settings["trained by"].startswith("not known on ")
    assert settings["validation images"] == "none held out"


def test_data_and_training_are_those_of_the_record(study):
    run, card = read_run(study / "wide"), run_card(study / "wide")
    facts, checksums = tables(section(card, "Data"))
    assert facts[0] == ["data", "digits"]
    assert dict(facts)["training images"] == f"{run.data.training_images:,}"
    assert dict(facts)["test images"] == "355"
    assert dict(checksums[1:]) == run.data.checksums
    settings = dict(tables(section(card, "Training"))[0])
    assert (settings["epochs"], settings["seed"], settings["batch size"]) == ("3", "42", "16")
    assert settings["processor"] == run.processor
    assert f"torch {run.versions['torch']}" in settings["versions"]
    assert settings["seconds of training"] == f"{run.seconds['training']:.1f}"


@pytest.mark.parametrize("make", [lambda study: study_card(study), lambda study: run_card(study / "wide")])
def test_hugging_face_reads_it(study, make):
    """What can be checked without network: the metadata, and each model's results there and back."""
    card = ModelCard(make(study))
    assert card.data.library_name == "modelflow"
    assert card.data.pipeline_tag == "image-classification"
    for entry in front(make(study))["model-index"]:
        name, results = model_index_to_eval_results([entry])
        assert eval_results_to_model_index(name, results) == [entry]
        assert {one.task_type for one in results} == {"image-classification"}
        by_type = {one.metric_type: one.metric_value for one in results}
        seeds = [".", "seeds/43", "seeds/44"] if len(results[0].metric_name) > len("Accuracy") else ["."]
        runs = [read_run(study / name / place).metrics for place in seeds]
        assert by_type == pytest.approx(
            {
                "accuracy": np.mean([run.accuracy for run in runs]),
                "f1": np.mean([run.macro_f1 for run in runs]),
                "loss": np.mean([run.loss for run in runs]),
            }
        )


def test_fashion_mnist_is_linked_and_other_data_are_not(copy):
    assert "datasets" not in front(run_card(copy / "wide"))
    changed(copy / "wide", data__name="fashion-mnist")
    assert front(run_card(copy / "wide"))["datasets"] == ["zalando-datasets/fashion_mnist"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_neither_break_the_front_matter_nor_add_markup(copy, name):
    folder = copy / "wide"
    confusion = list(csv.reader((folder / "confusion_matrix.csv").open()))
    with (folder / "confusion_matrix.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[confusion[0][0], name, *confusion[0][2:]], *confusion[1:]])
    given, in_class = json.loads((folder / "run.json").read_text()), name
    name = "".join(character for character in name if character.isprintable() or ord(character) > 0x9F)  # else refused
    changes = {"processor": name, "warnings": [name], "notes": [name], "protocol": name, "git_revision": name}
    changes |= {"settings": given["settings"] | {"optimizer": name, name: name}, "versions": {name: name}}
    changed(folder, **changes, data=given["data"] | {"name": name, "checksums": {name: name}})
    harmless = sum(
        token.type in ("table_open", "heading_open", "bullet_list_open")
        for token in tokens(run_card(copy / "narrow_one"))
    )
    for card in (run_card(folder), study_card(copy)):
        assert front(card)["tags"] == ["image-classification", "cnn", "pytorch", "modelflow"]
        named = [entry["results"][0]["dataset"]["name"] for entry in front(card)["model-index"]]
        assert plain(name) in named
        assert ModelCard(card).data.eval_results
        kinds = {token.type for token in flat(tokens(card))}
        assert not kinds & {"html_block", "html_inline", "link_open", "image", "em_open", "s_open", "code_inline"}
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x09\x0b-\x1f\ud800-\udfff]", card)
        cells = [token.content for token in tokens(card) if token.type == "inline"]
        assert any(plain(name) in unescaped(cell) for cell in cells)
        assert any(plain(shown(in_class)) == unescaped(cell) for cell in cells)
    kinds = [token.type for token in tokens(run_card(folder))]
    assert sum(kind in ("table_open", "heading_open", "bullet_list_open") for kind in kinds) == harmless


def tokens(card):
    body = card.split("\n---\n", 1)[1]
    return MarkdownIt("commonmark", {"linkify": True}).enable(["table", "strikethrough"]).parse(body)


def flat(found):
    return [child for token in found for child in (token, *(token.children or ()))]


def unescaped(text):
    """What a reader sees of inline Markdown."""
    (token,) = MarkdownIt("commonmark").enable(["table"]).parseInline(text)
    return "".join(child.content for child in token.children)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a|b", r"a\|b"),
        ("<b> & c", "&lt;b&gt; &amp; c"),
        ("conv_layers.0", "conv_layers.0"),
        ("_a_ *b*", r"\_a\_ \*b\*"),
        ("see https://x.example or WWW.x.example", r"see https\://x.example or WWW\.x.example"),
        ("a\n\tb\u202e\u200b\ud800", "a b"),
        (0.5, "0.5"),
    ],
)
def test_a_value_is_shown_as_it_stands(name, shown):
    assert escaped(name) == shown


def test_a_table_aligns_its_figures():
    assert markdown_table([["model", "x|y"], ["a", 1]]) == "| model | x\\|y |\n| --- | ---: |\n| a | 1 |\n"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"epochs": 7, "batch_size": 32, "optimizer": "adamw"},
        {"schedule": "one-cycle", "epochs": 60, "batch_size": 64, "lr": 0.002, "recipe": "best"},
        {"schedule": "one-cycle"},
        {"recipe": "best", "epochs": 60, "batch_size": 64, "lr": 0.002, "schedule": "constant"},
        {"recipe": "modern", "epochs": 3},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "label_smoothing": 0.1, "class_weights": "balanced"},
        {"protocol": "card", "find_best_lr": True},
        {"ema": 0.999},
        {"shift": 2, "flip": True, "cutout": 8},
        {"shift": 1},
        {"dataset": "idx:my folder; rm -rf /", "validation_images": 100},
    ],
)
def test_the_command_asks_for_the_settings_of_the_run(copy, changes):
    asked = RunSettings(**{"dataset": "digits", "lr": 3e-3} | changes)
    changed(copy / "wide", settings=asked.model_dump())
    words = shlex.split(command(run_card(copy / "wide")))
    with cli.cli.commands["train"].make_context("train", words[2:]) as context:
        given = {name: value for name, value in context.params.items() if value is not None}
    assert (given.pop("model"), given.pop("seed")) == (str(copy / "wide" / "spec.json"), 42)
    for name in ("results", "restart", "as_json"):
        given.pop(name)
    as_asked = RunSettings(**given).model_dump() | {"recipe": asked.recipe}
    assert as_asked == asked.model_dump()


def command(card):
    return re.search(r"```sh\n(.*)\n```", card)[1]


def test_the_command_of_a_preset_names_it(copy):
    from modelflow.networks.resolve import preset

    changed(copy / "wide", model_name="generic_2", spec=preset("generic_2").model_dump(mode="json"))
    assert command(run_card(copy / "wide")).startswith("modelflow train generic_2 --seed 42 ")


def test_the_command_of_a_study_trains_the_same_again(study, tmp_path, monkeypatch):
    monkeypatch.chdir(study.parent)
    words = shlex.split(command(study_card(study)))
    assert read_study(words[2]).seeds == [42, 43, 44]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.cli, [*words[1:], "--seed", "42"])
    assert done.exit_code == 0, done.output
    for name in ("wide", "narrow_one"):
        assert (tmp_path / "repeated" / name / "model.safetensors").read_bytes() == (
            study / name / "model.safetensors"
        ).read_bytes()


def test_the_report_writes_the_cards_of_its_runs_anew(copy):
    (copy / "wide" / "MODEL_CARD.md").unlink()
    changed(copy / "wide" / "seeds" / "43", test_reads=2)
    write_pages(copy)
    for folder in (copy / "wide", copy / "wide" / "seeds" / "43"):
        assert (folder / "MODEL_CARD.md").read_text().startswith(run_card(folder).partition("## Files")[0])
    assert "The test images were evaluated 2 times" in (copy / "wide" / "seeds" / "43" / "MODEL_CARD.md").read_text()


def test_a_run_made_in_python_says_so(copy):
    changed(copy / "wide", spec=None, settings={"lr": 0.1, "loss_fn": "<b>MyLoss"}, macs=None)
    card = run_card(copy / "wide")
    assert "a module without a spec" in card
    assert "No command repeats it: the run was made in Python" in card
    assert "```sh" not in card
    assert "&lt;b&gt;MyLoss" in card


def test_the_files_listed_are_those_of_the_folder(study):
    for card, folder in ((study_card(study), study), (run_card(study / "wide"), study / "wide")):
        listed = [row[0].rstrip("/") for row in tables(section(card, "Files"))[0][1:]]
        assert listed == sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="no finished run"):
        study_card(tmp_path)
    with pytest.raises(DataError, match=r"no run\.json"):
        run_card(tmp_path)


def test_torch_stays_unimported(study):
    code = (
        "import sys; from pathlib import Path; from modelflow.report.model_card import run_card, study_card; "
        "from modelflow.analysis.archive import read_content, read_seed; "
        f"run_card(read_seed(Path({str(study / 'wide')!r}))); study_card(read_content({str(study)!r})); "
        "sys.exit(3 if 'torch' in sys.modules else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_card_names_the_options_that_were_given_alone(copy):
    unset = RunSettings(dataset="digits", lr=3e-3)
    changed(copy / "wide", settings=unset.model_dump())
    told = section(run_card(copy / "wide"), "Training")
    names = ("momentum", "nesterov", "weight decay", "smoothing", "class weights", "| ema |", "shift", "flip", "cutout")
    assert not [name for name in names if name in told]
    given = unset.model_copy(
        update={"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0, "ema": 0.999, "shift": 2}
    )
    of_parts = {"optimizer.momentum": 0.9, "optimizer.dampening": 0.1}
    changed(copy / "wide", settings=given.model_dump() | of_parts)
    told = section(run_card(copy / "wide"), "Training")
    assert "| momentum | 0.9 |" in told
    assert "| weight decay | 0.0 |" in told
    assert "| ema | 0.999 |" in told
    assert "| shift | 2 |" in told
    assert "optimizer.momentum" not in told
    assert "| optimizer.dampening | 0.1 |" in told
    assert "nesterov" not in told
