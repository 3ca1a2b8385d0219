"""The commands: help with an example everywhere, exit codes, JSON and tables, start-up without torch."""

import json
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
from fcntl import ioctl

import click
import pytest

from modelflow.analysis.leaderboard import LeaderboardRow, leaderboard
from modelflow.cli import cli, run_command, terminal
from modelflow.cli.options import RECIPE_HELP
from modelflow.networks.resolve import CARD
from modelflow.report.comparison import compare
from modelflow.report.leaderboard import leaderboard_of
from modelflow.results.layout import read_run
from modelflow.results.settings import RunSettings

MODELFLOW = [sys.executable, "-c", "from modelflow.cli import main; main()"]
SPEC = {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [4], "fc_sizes": [20]}


def commands(group=cli, path=()):
    """Every command and group as the words that call it."""
    yield list(path)
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield [*path, name]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A finished study of two models with two seeds on the digits, made by the command itself."""
    where = tmp_path_factory.mktemp("cli")
    (where / "narrow.json").write_text(json.dumps(SPEC))
    models = ["narrow.json", {"name": "wide", "spec": SPEC | {"cov_features": [8]}}]
    (where / "study.yaml").write_text(json.dumps({"models": models, "dataset": "digits", "epochs": 1, "lr": 3e-3}))
    arguments = ["run", str(where / "study.yaml"), "--seeds", "2", "--jobs", "1", "--results", str(where / "results")]
    assert run_command(arguments) == 0
    return where / "results"


def printed(capsys, *arguments):
    """What a command that succeeds prints on its output."""
    return both_printed(capsys, *arguments)[0]


def both_printed(capsys, *arguments):
    """What a command that succeeds prints, on its output and on the error stream, where progress is shown."""
    assert run_command([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured


def in_a_terminal(*arguments, columns=80, tmp_path=None):
    """What a command shows in a terminal of so many columns, without the escape sequences."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")} | {"TERM": "xterm"}
    process = subprocess.Popen(
        [*MODELFLOW, *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=tmp_path
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert process.wait() == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "")


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help_with_an_example(capsys, path, flag):
    text = printed(capsys, *path, flag)
    assert text.startswith(f"Usage: {' '.join(['modelflow', *path])}")
    examples = re.findall(r"^ +(modelflow .*)$", text.partition("Examples:")[2], re.M)
    assert examples
    assert all(line.startswith(" ".join(["modelflow", *path])) for line in examples)


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_the_examples_name_options_and_arguments_that_exist(capsys, path):
    text = printed(capsys, *path, "--help")
    for line in re.findall(r"^ +modelflow (.*)$", text.partition("Examples:")[2], re.M):
        words = shlex.split(line)
        command, context = cli, click.Context(cli, info_name="modelflow")
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        assert command.make_context("example", words, parent=context, resilient_parsing=False)


def test_the_list_of_commands_is_not_cut_short(capsys):
    for path in ([], ["data"]):
        assert "..." not in printed(capsys, *path, "--help").partition("Commands:")[2]


def test_the_version_is_told(capsys):
    assert re.match(r"modelflow, version \d", printed(capsys, "--version"))


def test_models_lists_the_presets(capsys):
    rows = json.loads(printed(capsys, "models", "--json"))
    assert [row["model"] for row in rows] == list(CARD)
    assert [row["parameters"] for row in rows] == [4424, 7090, 9828, 7090, 14748, 11854, 2955014]
    assert rows[5]["blocks"] == [{"kernel_size": 5, "channels": 4, "pool_size": 2}]
    assert rows[5]["macs"] == 69_320
    text = printed(capsys, "models")
    assert all(name in text for name in CARD)


def test_trace_shows_every_layer_as_json_table_and_drawing(capsys, tmp_path):
    data = json.loads(printed(capsys, "trace", "generic_2", "--json"))
    assert (data["model"], data["parameters"], data["macs"]) == ("generic_2", 11_854, 69_320)
    assert [layer["name"] for layer in data["layers"]][:2] == ["conv_layers.0", "max_pool_layers.0"]
    text = printed(capsys, "trace", "generic_2", "--svg", tmp_path / "a" / "net.svg")
    assert all(word in text for word in ("4x24x24", "57,600", "11,854", "activation bytes"))
    assert (tmp_path / "a" / "net.svg").read_text().startswith("<svg")


def test_trace_shows_the_layers_before_the_one_that_breaks(capsys):
    assert run_command(["trace", "c4 (c4/2 c8)r fc", "--dataset", "digits"]) == 2
    told = capsys.readouterr()
    shown = [line.split()[:2] for line in told.out.splitlines() if "layers." in line]
    assert shown == [["layers.0", "4x8x8"], ["layers.1.body.0", "4x4x4"], ["layers.1.body.1", "8x4x4"]]
    assert told.err.startswith("Error: layers.1: the layers of the residual turn 4x8x8 into 8x4x4")
    assert run_command(["trace", "m2 c4k9+valid fc", "--dataset", "digits", "--json"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("Error: layers.1: its input 1x4x4 is smaller than the kernel 9x9")


def test_diff_says_in_what_two_networks_differ(capsys):
    told = printed(capsys, "diff", "c16 m2 gap fc", "c16/2 gap fc", "--dataset", "digits")
    assert told.startswith("A: c16-m2-gap-fc: c16 m2 gap fc\nB: c16-2-gap-fc: c16/2 gap fc\n")
    assert re.search(r"^~ +c16 +c16/2 +176 +9,216 → 2,304 +4,096 → 1,024$", told, re.M)
    assert "B has stride 2 where A pools (layers.0). B has 74 % fewer MACs" in told
    data = json.loads(printed(capsys, "diff", "generic_0", "generic_2", "--json"))
    assert (data["a"]["model"], data["b"]["short_form"]) == ("generic_0", "+valid-bn c4k5 m2 fc20drop0.3 fc")
    assert (data["a"]["parameters"], data["b"]["macs"]) == (7_090, 69_320)
    assert data["layers"][0]["b"]["parameters"] == 104
    assert not data["layers"][0]["same"]
    assert run_command(["diff", "generic_0", "c4k30+valid fc"]) == 2
    assert "Error: B: layers.0: its input 1x28x28 is smaller than the kernel 30x30" in capsys.readouterr().err


def test_a_short_form_is_a_model(capsys, tmp_path, monkeypatch):
    data = json.loads(printed(capsys, "trace", "c4 s6/2 gap fc", "--json", "--dataset", "digits"))
    assert (data["model"], data["short_form"], data["parameters"]) == ("c4-s6-2-gap-fc", "c4 s6/2 gap fc", 194)
    assert printed(capsys, "trace", "c4 gap fc").startswith("c4-gap-fc: c4 gap fc\n")
    assert printed(capsys, "trace", "generic_2").startswith("generic_2: +valid-bn c4k5 m2 fc20drop0.3 fc\n")
    assert "+valid-bn c4k5 m2 fc20drop0.3 fc" in printed(capsys, "models")
    assert json.loads(printed(capsys, "models", "--json"))[5]["short_form"] == "+valid-bn c4k5 m2 fc20drop0.3 fc"
    monkeypatch.chdir(tmp_path)
    printed(capsys, "train", "c4/2 gap fc", "--dataset", "digits", "--epochs", "1", "--results", "r")
    run = read_run(tmp_path / "r" / "c4-2-gap-fc")
    assert run.spec["layers"][0] == {"conv": 4, "stride": 2, "padding": "same", "norm": "batch", "activation": "relu"}
    assert printed(capsys, "evaluate", "r/c4-2-gap-fc").startswith("accuracy ")
    assert run_command(["run", "c4/2 gap fc"]) == 2
    assert "For one model: modelflow train 'c4/2 gap fc'" in capsys.readouterr().err


def test_trace_says_what_it_assumes_where_a_file_leaves_it_out(capsys, tmp_path):
    (tmp_path / "net.yaml").write_text("layers: [{conv: 4}, {linear: classes}]")
    told = both_printed(capsys, "trace", tmp_path / "net.yaml", "--json")
    assert told.err.startswith("note: images of 1x28x28 and 10 classes are assumed where ")
    assert json.loads(told.out)["input_shape"] == [1, 28, 28]
    told = both_printed(capsys, "trace", tmp_path / "net.yaml", "--dataset", "digits", "--json")
    assert (json.loads(told.out)["input_shape"], told.err) == ([1, 8, 8], "")
    assert both_printed(capsys, "trace", "generic_2").err == ""


def test_trace_reads_a_file(capsys, tmp_path):
    (tmp_path / "net.yaml").write_text(json.dumps(SPEC))
    assert json.loads(printed(capsys, "trace", tmp_path / "net.yaml", "--json"))["model"] == "net"


@pytest.mark.parametrize("command", ["models", "models --json", "trace generic_2", "trace generic_2 --json", "--help"])
def test_looking_at_architectures_leaves_torch_and_numpy_unimported(command):
    code = (
        "import sys; from modelflow.cli import run_command; "
        f"code = run_command({command.split()!r}); "
        "heavy = {'torch', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules); "
        "sys.exit(code or ', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_needs_neither_pydantic_nor_rich():
    code = "import sys; from modelflow.cli import run_command; run_command(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "rich", "yaml"} & set(done.stdout.split())


def test_a_study_is_trained_compared_and_kept(capsys, results):
    assert {path.name for path in results.iterdir()} >= {"narrow", "wide", "study.json", "leaderboard.csv"}
    assert [read_run(results / "narrow" / f).seed for f in ("", "seeds/43")] == [42, 43]
    rows = json.loads(printed(capsys, "leaderboard", results, "--json"))
    assert {(row["model"], row["seeds"]) for row in rows} == {("narrow", 2), ("wide", 2)}
    study = results.parent / "study.yaml"
    shown = both_printed(capsys, "run", study, "--seeds", "2", "--results", results)
    assert "4 of 4 runs are already finished" in shown.err
    assert "wide" in shown.out.splitlines()[-2]
    assert f"Report: {results / 'report.html'}" in shown.out
    assert (results / "MODEL_CARD.md").is_file()
    assert (results / "narrow" / "seeds" / "43" / "MODEL_CARD.md").is_file()
    written = printed(capsys, "report", results)
    assert f"Report: {results / 'report.html'}" in written
    assert re.match(r"(narrow|wide) has the highest mean accuracy, [\d.]+ % over two seeds\. The seeds are", written)
    assert "2 seeds are too few for 1 pair: it takes 3" in written
    assert json.loads(printed(capsys, "run", study, "--seeds", "2", "--results", results, "--json")) == rows


def test_train_makes_one_run_and_restart_keeps_the_old_one(capsys, results, tmp_path):
    spec, where = results.parent / "narrow.json", tmp_path / "new" / "folder"
    arguments = ("train", spec, "--dataset", "digits", "--epochs", "1", "--results", where)
    told = both_printed(capsys, *arguments).err
    assert re.search(r"^narrow, seed 42: accuracy \d+\.\d\d% \(protocol held-out\) after \d+ s of training", told, re.M)
    assert "1 of 1 runs are already finished" in both_printed(capsys, *arguments).err
    assert (
        f"{where / 'narrow'} is kept as {where / 'narrow.old-1'}" in both_printed(capsys, *arguments, "--restart").err
    )
    assert [row.seeds for row in leaderboard(where)] == [1]


def test_a_run_that_autograd_trained_says_so(capsys, results, tmp_path):
    arguments = ("train", results.parent / "narrow.json", "--dataset", "digits", "--epochs", "1", "--results", tmp_path)
    shown = both_printed(capsys, *arguments, "--optimizer", "rmsprop", "--recipe", "best").err
    assert re.search(r"training by autograd: the optimizer is RMSprop", shown)
    assert read_run(tmp_path / "narrow").settings["schedule"] == "one-cycle"


def test_images_are_augmented_where_asked_by_options_or_a_study_file(capsys, results, tmp_path):
    arguments = ("train", results.parent / "narrow.json", "--dataset", "digits", "--epochs", "1", "--results", tmp_path)
    shown = both_printed(capsys, *arguments, "--shift", "1", "--flip", "--cutout", "3").err
    assert "autograd" not in shown
    settings = read_run(tmp_path / "narrow").settings
    assert (settings["shift"], settings["flip"], settings["cutout"]) == (1, True, 3)
    assert "--shift 1 --flip --cutout 3" in (tmp_path / "narrow" / "MODEL_CARD.md").read_text()
    fields = {"models": [str(results.parent / "narrow.json")], "dataset": "digits", "epochs": 1, "shift": 1}
    (tmp_path / "study.yaml").write_text(json.dumps(fields | {"flip": True, "cutout": 3}))
    told = both_printed(capsys, "run", tmp_path / "study.yaml", "--results", tmp_path).err
    assert "1 of 1 runs are already finished" in told
    report = (tmp_path / "report.html").read_text()
    assert "augmentation.shift 1, augmentation.flip True, augmentation.cutout 3" in report


def test_weights_are_averaged_where_asked_by_an_option_or_a_study_file(capsys, results, tmp_path):
    arguments = ("train", results.parent / "narrow.json", "--dataset", "digits", "--epochs", "1", "--results", tmp_path)
    shown = both_printed(capsys, *arguments, "--ema", "0.9").err
    assert "autograd" not in shown
    assert read_run(tmp_path / "narrow").settings["ema"] == 0.9
    assert "--ema 0.9" in (tmp_path / "narrow" / "MODEL_CARD.md").read_text()
    fields = {"models": [str(results.parent / "narrow.json")], "dataset": "digits", "epochs": 1, "ema": 0.9}
    (tmp_path / "study.yaml").write_text(json.dumps(fields))
    told = both_printed(capsys, "run", tmp_path / "study.yaml", "--results", tmp_path).err
    assert "1 of 1 runs are already finished" in told
    assert read_run(results / "narrow").settings["ema"] is None
    assert "ema" not in printed(capsys, "leaderboard", results)


def test_restart_with_data_that_are_missing_moves_nothing(capsys, results, tmp_path):
    copy = shutil.copytree(results, tmp_path / "results")
    arguments = ["run", str(results.parent / "study.yaml"), "--dataset", f"idx:{tmp_path / 'none'}", "--restart"]
    assert run_command([*arguments, "--results", str(copy)]) == 2
    assert (copy / "narrow" / "run.json").is_file()
    assert "none: no such folder" in capsys.readouterr().err


def test_more_validation_images_than_there_are_end_before_any_training(capsys, results, tmp_path):
    arguments = [
        "run",
        str(results.parent / "study.yaml"),
        "--validation-images",
        "1442",
        "--results",
        str(tmp_path / "r"),
    ]
    assert run_command(arguments) == 2
    said = capsys.readouterr().err
    assert re.search(r"validation_images = 1,442: digits has 1,4\d\d training images. Hold out fewer", said)
    assert not (tmp_path / "r").exists()


def test_evaluate_and_inspect_a_run(capsys, results, tmp_path):
    run = shutil.copytree(results / "narrow", tmp_path / "narrow")
    before = read_run(run).metrics
    assert json.loads(printed(capsys, "evaluate", run, "--json")) == before.model_dump()
    assert re.match(r"accuracy \d+\.\d\d% \(protocol held-out\), ", printed(capsys, "evaluate", run))
    assert "test images were evaluated 3 times" in (run / "MODEL_CARD.md").read_text()
    (run / "intermediate_outputs.png").unlink()
    assert "filters_conv_layers.0.png" in printed(capsys, "inspect", run, "--layer", "fc_layers.0")
    assert (run / "intermediate_outputs.png").is_file()


def test_lr_find_suggests_a_rate_and_draws_the_curve(capsys, results, tmp_path):
    spec = results.parent / "narrow.json"
    arguments = ("lr-find", spec, "--dataset", "digits", "--start-lr", "1e-4", "--results", tmp_path)
    found = json.loads(printed(capsys, *arguments, "--json"))
    assert 1e-4 < found["suggestion"] < 1
    assert (tmp_path / "narrow" / "lr_finder.png").is_file()


def test_data_commands_say_what_they_do_and_what_is_there(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert json.loads(printed(capsys, "data", "verify", "digits", "--json"))[0]["ok"] is True
    assert "all files are sound" in printed(capsys, "data", "fetch", "digits")
    assert json.loads(printed(capsys, "data", "show", "digits", "--json"))["training_images"] == 1442
    assert (tmp_path / "digits_classes.png").is_file()
    assert run_command(["data", "show", "digits", "--output", "d.png"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "reading digits …\n"
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in captured.out


@pytest.mark.parametrize("command", ["models", "trace generic_3", "leaderboard RESULTS", "data show digits"])
def test_nothing_is_wider_than_a_terminal_of_80_columns(command, results, tmp_path):
    arguments = [results if word == "RESULTS" else word for word in command.split()]
    lines = in_a_terminal(*arguments, tmp_path=tmp_path).splitlines()
    wide = [line for line in lines if len(line) > 80 and not line.startswith("Picture: ")]
    assert len(lines) > 4
    assert wide == []


def test_the_table_of_the_card_fits_80_columns_and_keeps_its_figures(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "WIDTH_OF_A_FILE", 80)
    figures = {
        "seeds": 1,
        "accuracy": 0.8,
        "accuracy_least": 0.8,
        "accuracy_greatest": 0.8,
        "accuracy_low": 0.792,
        "accuracy_high": 0.808,
        "macro_f1": 0.7654,
        "loss": 0.5,
        "parameters": 2_955_014,
        "macs": 1,
    }
    figures |= dict.fromkeys(("validation_accuracy", "top2_accuracy", "brier", "calibration_error"))
    figures |= dict.fromkeys(("latency_ms_1", "latency_ms_64", "bytes_on_disk"))
    figures |= dict.fromkeys(("flash_bytes", "ram_bytes", "int8_flash_bytes", "int8_ram_bytes"))
    rows = [
        LeaderboardRow(
            name,
            card.group,
            **figures,
            seconds=1,
            card_accuracy=card.accuracy,
            card_macro_f1=0.1234,
            data="fashion-mnist",
            protocol="card",
            warnings=int(name == "cnn2_3"),
        )
        for name, card in CARD.items()
    ]
    terminal.leaderboard_table(rows)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    lines = [line for line in text.splitlines() if "2,955,014" in line]
    assert [line.split()[0] for line in lines] == list(CARD)
    assert lines[0].startswith("cnn2_3 † ")
    assert [line.split()[-2:] for line in lines] == [[f"{card.accuracy:.2%}", "0.1234"] for card in CARD.values()]
    assert all(word in text for word in ("(GerenicCNN", "Featurizer", "Classifier)", "Variation", "† a run looks dead"))


def test_a_table_shows_cells_as_they_are(capsys):
    terminal.table(("model", "n"), [("[red]a[/red] :smile:", "1")], "[b]title")
    text = capsys.readouterr().out
    assert "[red]a[/red] :smile:" in text
    assert "[b]title" in text


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), 1, "\nError: interrupted\n"),
        (PermissionError(13, "Permission denied", "results/x"), 1, "Error: results/x: Permission denied\n"),
        (OSError(28, "No space left on device"), 1, "Error: the system: No space left on device\n"),
    ],
)
def test_what_the_environment_does_ends_with_1_and_a_line(capsys, monkeypatch, error, code, told):
    def fails(_model, _folder=None, data=None):  # noqa: ARG001
        raise error

    monkeypatch.setattr("modelflow.networks.resolve.resolve", fails)
    assert run_command(["trace", "generic_2"]) == code
    assert capsys.readouterr().err == told


def test_a_reader_who_has_seen_enough_is_no_error():
    process = subprocess.Popen(
        [*MODELFLOW, "trace", "generic_3", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 1)
    process.stderr.close()


def test_errors_are_plain_text_where_the_error_stream_is_no_terminal(capsys):
    assert run_command(["trace", "nope"]) == 2
    assert capsys.readouterr().err.startswith("Error: MODEL 'nope': no such preset")


def test_the_help_says_what_the_recipes_are():
    for settings in (RunSettings(), RunSettings(recipe="best"), RunSettings(recipe="modern")):
        told = f"{settings.epochs} epochs, batch size {settings.batch_size}, "
        assert told in RECIPE_HELP
        assert f"{settings.lr:g}" in RECIPE_HELP.split(told)[1].split(". ")[0]


def test_the_package_is_a_command_too():
    done = subprocess.run([sys.executable, "-m", "modelflow", "models"], capture_output=True, text=True, check=True)
    assert "generic_2" in done.stdout


def test_a_pair_picked_out_of_a_study_is_said_to_be_one(capsys, results):
    shutil.copytree(results / "wide", results / "widest")
    try:
        pair = both_printed(capsys, "compare", results / "narrow", results / "wide")[1]
        single = [results / name / "seeds" / "43" for name in ("narrow", "wide")]
        seeds = both_printed(capsys, "compare", *single)[1]
        whole = both_printed(capsys, "compare", results / "narrow", results / "wide", results / "widest")[1]
    finally:
        shutil.rmtree(results / "widest")
    assert f"1 more model in {results.resolve()}" in pair
    assert "more model" not in whole
    assert "more model" not in seeds


def test_tables_for_papers_and_pages_are_those_of_python(capsys, results):
    assert printed(capsys, "leaderboard", results, "--latex") == leaderboard_of(results).to_latex()
    assert printed(capsys, "leaderboard", results, "--markdown") == (results / "leaderboard.md").read_text()
    assert printed(capsys, "leaderboard", results, "--sort", "parameters", "--latex").count(r"\midrule") == 1
    assert printed(capsys, "compare", results, "--latex") == compare(results).to_latex()
    assert printed(capsys, "compare", results, "--markdown") == compare(results).to_markdown()


def test_a_comparison_begins_with_its_headline(capsys, results):
    lines = printed(capsys, "compare", results).splitlines()
    assert lines[0] == compare(results).headline
    assert lines.count(lines[0]) == 1


def test_no_escape_codes_where_no_terminal_is_whatever_the_surroundings_ask_for(results):
    environment = os.environ | {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TERM": "xterm-color"}
    for arguments in (["leaderboard", results], ["compare", results], ["trace", "nope"]):
        done = subprocess.run([*MODELFLOW, *map(str, arguments)], env=environment, capture_output=True, check=False)
        assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "SPEC"], "is a spec, expected a study. To train it: modelflow train"),
        (["train", "SPEC", "--dataset", "digits", "--batch-size", "5000"], "batch_size = 5,000: more than the 1,322"),
        (["compare", "nowhere"], "compare nowhere: no such folder"),
        (["compare", "RESULTS", "--margin", "0.5"], "worth at least 4 of the 355 test images. Give 1.13 or more"),
        (["run", "STUDY", "--margin", "0.5"], "worth at least 4 of the 355 test images. Give 1.13 or more"),
        (["run", "STUDY", "--margin", "-1"], "margin = -1.0: expected"),
        (["run", "--device", "gpu"], "device 'gpu': expected cpu, cuda, cuda:N, mps, xpu or xpu:N"),
        (["run", "--device", "gpu", "--engine", "ray"], "device 'gpu': expected cpu, cuda, cuda:N, mps, xpu or xpu:N"),
        (["run", "--device", "cuda", "--engine", "ray"], "--engine ray trains on processors"),
        (["train", "SPEC", "--device", "cuda:99"], "device 'cuda:99': torch sees cpu"),
        (["lr-find", "SPEC", "--dataset", "digits", "--device", "cuda:99"], "device 'cuda:99': torch sees cpu"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(capsys, results, tmp_path, arguments, message):
    paths = {"SPEC": results.parent / "narrow.json", "STUDY": results.parent / "study.yaml", "RESULTS": results}
    given = [str(paths.get(part, part)) for part in arguments]
    where = [] if arguments[0] == "compare" else ["--results", str(tmp_path / "results")]
    assert run_command([*given, *where]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_margin_is_kept_by_the_study_and_may_be_tried_by_compare(capsys, results, tmp_path):
    copy = shutil.copytree(results, tmp_path / "results")
    assert "Margin: 1.13 points (4 of 355 test images)." in printed(capsys, "compare", copy)
    assert "Margin: 5 points." in printed(capsys, "compare", copy, "--margin", "5")
    asked = ["run", str(results.parent / "study.yaml"), "--seeds", "2", "--jobs", "1", "--results", str(copy)]
    again = [*asked, "--margin", "5"]
    assert run_command(again) == 2
    said = capsys.readouterr().err
    assert "study.json keeps 1.13 points" in said
    assert f"modelflow compare {copy} --margin 5" in said
    printed(capsys, *again, "--restart")
    assert "Margin: 5 points." in printed(capsys, "compare", copy)
    assert "--margin 5" not in (results / "report.html").read_text()
