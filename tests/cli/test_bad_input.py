"""Bad input at every command: exit code 2, a message that names what and where, no traceback, nothing written or lost.

Each case runs in a folder of its own that holds a finished run (`results/net`) and the files below; afterwards every
file there has the same bytes as before.
"""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelflow.cli import run_command

MODELFLOW = [sys.executable, "-c", "from modelflow.cli import main; main()"]
SPEC = {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [4], "fc_sizes": [20]}


def spec(**changes):
    return json.dumps(SPEC | changes)


FILES = {
    "net.json": spec(),
    "unknown_key.json": spec(kernel_sizes=[3]),
    "wrong_length.json": spec(amnt_cov_layers=2),
    "text_for_number.json": spec(input_size="8"),
    "true_for_number.json": spec(num_classes=True),
    "negative.json": spec(fc_sizes=[-20]),
    "dropout.json": spec(p=1),
    "nan.json": spec(p=float("nan")),
    "null.json": spec(p=None),
    "too_deep.json": spec(amnt_cov_layers=4, cov_features=[4] * 4),
    "too_large.json": spec(fc_sizes=[1 << 20, 1 << 20]),
    "huge_number.json": spec(input_size=10**400),
    "three_classes.json": spec(num_classes=3),
    "size_28.json": spec(input_size=28),
    "two_channels.json": spec(in_channels=2),
    "twice.json": '{"in_channels": 1, "in_channels": 2, "num_classes": 10}',
    "list.json": "[1, 2]",
    "cut.json": spec()[:-5],
    "empty.json": "",
    "code.json": '{"in_channels": __import__("os").getpid(), "num_classes": 10}',
    "deep.json": "[" * 50_000,
    "binary.json": "\x00\x01\x02",
    "my net.json": spec(),
    "<img onerror>.json": spec(),
    "x" * 150 + ".json": spec(),
    "python.yaml": "!!python/object/apply:os.getpid []",
    "twice.yaml": "in_channels: 1\nin_channels: 2\nnum_classes: 10\n",
    "laughs.yaml": "a: &a [1, 1]\nb: &b [*a, *a]\nin_channels: *b\n",
    "small.study.yaml": "models: [net.json]\ndataset: digits",
    "unknown.study.yaml": "epoch: 1",
    "words.study.yaml": "just words",
    "epochs.study.yaml": "epochs: many",
    "no_models.study.yaml": "models: []",
    "same_name.study.yaml": "models: [net.json, {name: net, spec: {in_channels: 1, num_classes: 10}}]",
    "hostile_name.study.yaml": "models: [{name: ../../x, spec: {in_channels: 1, num_classes: 10}}]",
    "number_name.study.yaml": "models: [{name: 3, spec: {in_channels: 1, num_classes: 10}}]",
    "missing_spec.study.yaml": "models: [none.json]",
    "bad_spec.study.yaml": "models: [{name: x, spec: {in_channels: 0, num_classes: 10}}]",
    "data.study.yaml": "dataset: imagenet",
    "file": "not a folder",
    "picture.png": "not a picture",
    "idx/train-images-idx3-ubyte": "cut",
    "idx/train-labels-idx1-ubyte": "cut",
    "idx/t10k-images-idx3-ubyte": "cut",
    "idx/t10k-labels-idx1-ubyte": "cut",
    "empty_folder/.keep": "",
}

DIGITS = "--dataset digits --epochs 1"

# the arguments, and words that the message must hold
SPECS = {
    "trace nope": ["MODEL 'nope'", "generic_2"],
    "trace generic2": ["Did you mean 'generic_2'?"],
    "trace ''": ["MODEL ''"],
    "trace ../x": ["../x: no such file"],
    "trace none.json": ["none.json: no such file"],
    "trace empty_folder/": ["empty_folder: not a file"],
    f"trace {'x' * 300}": ["MODEL 'xxx", "no such preset"],
    f"trace {'x' * 300}.json": ["model name 'xxx", "up to 100 letters"],
    f"trace {'x' * 150}.json": ["model name 'xxx"],
    "trace 'my net.json'": ["model name 'my net'", "letters, digits"],
    "trace '<img onerror>.json'": ["model name '<img onerror>'"],
    "trace unknown_key.json": ["unknown_key.json", "unknown key 'kernel_sizes'", "Did you mean 'cov_kernel_sizes'?"],
    "trace wrong_length.json": ["wrong_length.json", "cov_features = [4] has 1 entries, expected 2", "Add 1."],
    "trace text_for_number.json": ["input_size = '8': expected a whole number. Write 8"],
    "trace true_for_number.json": ["num_classes = True: expected a whole number"],
    "trace negative.json": ["fc_sizes[0] = -20: expected at least 1"],
    "trace dropout.json": ["p = 1: expected less than 1"],
    "trace nan.json": ["p = nan: expected"],
    "trace null.json": ["p = None: expected a number"],
    "trace too_deep.json": ["max_pool_layers.1: max_pool_sizes[1] = 2: its input 4x1x1 is smaller", "drop block 2"],
    "trace too_large.json": ["expected at most 200,000,000", "--max-parameters"],
    "trace huge_number.json": ["input_size = 1000", "expected at most 1048576"],
    "trace twice.json": ["twice.json", "the key 'in_channels' appears twice"],
    "trace list.json": ["list.json: expected an object of fields", "[1, 2]"],
    "trace cut.json": ["cut.json: not readable as JSON", "line 1"],
    "trace empty.json": ["empty.json: the file is empty"],
    "trace code.json": ["code.json", "__import__"],
    "trace deep.json": ["deep.json", "nested too deeply"],
    "trace binary.json": ["binary.json: not readable as JSON"],
    "trace python.yaml": ["python.yaml: not readable as YAML"],
    "trace twice.yaml": ["twice.yaml", "appears twice"],
    "trace laughs.yaml": ["laughs.yaml", "line 2: the alias '*a' is not supported. Write the value out"],
    "trace generic_2 --max-parameters 11853": ["11,854 parameters, expected at most 11,853"],
    "trace generic_2 --max-parameters 0": ["--max-parameters", "0 is not in the range"],
    "trace generic_2 --svg empty_folder": ["--svg", "empty_folder"],
    "trace": ["Missing argument 'MODEL'"],
    "trace 'c16 x24 fc'": ["MODEL 'c16 x24 fc'", "'x24': no layer begins so", "Write items such as c16"],
    "trace 'c16 s24q4 fc'": ["'s24q4': 'q4' is no mark of it", "expected one of k2, /2, p2, e2, +valid"],
    "trace 'c16 gap3 fc'": ["layers[1]: pool", "takes whole maps"],
    "trace 'c16 (c24 fc'": ["a bracket is not closed. Add )"],
    "trace 's24+conv gap fc'": ["'s24+conv': +conv is of a residual's shortcut. Write s24r+conv."],
    "trace 'c16k9999 fc'": ["parameters, expected at most", "layers.0 alone"],
    "run 'c16 gap fc'": ["is a model, expected a study file", "modelflow train 'c16 gap fc'"],
    "trace size_28.json --dataset digits": ["size_28: input_size = 28", "have 8"],
    "trace cnn2_3 --dataset digits": ["pool2: max_pool_sizes[1] = 2", "3x1x1 is smaller"],
    "trace generic_2 --dataset imagenet": ["'imagenet'", "digits"],
    "trace net.json --unheard": ["No such option", "--unheard"],
    "unheard": ["No such command 'unheard'"],
}
TRAINING = {
    f"train net.json {DIGITS} --lr 0": ["options: lr = 0.0: expected more than 0"],
    f"train net.json {DIGITS} --lr -1": ["lr = -1.0"],
    f"train net.json {DIGITS} --lr nan": ["lr = nan"],
    f"train net.json {DIGITS} --lr inf": ["lr = inf"],
    f"train net.json {DIGITS} --ema 1": ["options: ema = 1.0: expected less than 1"],
    f"train net.json {DIGITS} --ema 0": ["ema = 0.0: expected more than 0"],
    f"train net.json {DIGITS} --ema much": ["--ema", "'much' is not a valid float"],
    f"train net.json {DIGITS} --ema 0.9": ["results/net holds a run with other settings: ema was left out, now 0.9"],
    f"train net.json {DIGITS} --shift -1": ["options: shift = -1: expected at least 0"],
    f"train net.json {DIGITS} --shift 8 --results new": ["shift = 8: the images of digits are 8x8. Give at most 7."],
    f"train net.json {DIGITS} --cutout 512": ["options: cutout = 512: expected less than 512"],
    f"train net.json {DIGITS} --flip": ["results/net holds a run with other settings: flip was False, now True"],
    f"train net.json {DIGITS} --lr fast": ["--lr", "'fast' is not a valid float"],
    "train net.json --dataset digits --epochs 0": ["epochs = 0: expected at least 1"],
    "train net.json --dataset digits --epochs 1.5": ["--epochs", "'1.5' is not a valid integer"],
    "train net.json --dataset digits --epochs 1000000000000": ["epochs = 1000000000000: expected at most 100000"],
    f"train net.json {DIGITS} --batch-size 0": ["batch_size = 0: expected at least 1"],
    f"train net.json {DIGITS} --seed -1": ["seeds[0] = -1: expected at least 0"],
    f"train net.json {DIGITS} --seed {2**40}": [f"seeds[0] = {2**40}"],
    f"train net.json {DIGITS} --optimizer lion": ["--optimizer", "'lion' is not one of"],
    f"train net.json {DIGITS} --max-parameters 10": ["net: ", "expected at most 10"],
    "train net.json --results other --dataset imagenet": ["'imagenet'", "digits", "fashion-mnist"],
    "train net.json --results other --dataset ''": ["''", "digits"],
    "train net.json --results other --dataset idx:nowhere": ["nowhere: no such folder"],
    "train net.json --results other --dataset idx:idx": ["idx/train-images-idx3-ubyte"],
    "train net.json --results other --dataset idx:empty_folder": ["empty_folder: no file train-images"],
    "train net.json --results other --dataset idx:file": ["file: cannot be read as a folder"],
    f"train net.json {DIGITS} --data-dir file": ["--data-dir", "'file' is a file"],
    f"train net.json {DIGITS} --results file": ["--results", "'file' is a file"],
    f"train net.json {DIGITS} --results file/below": ["--results file/below: cannot be created", "Give another folder"],
    f"train net.json {DIGITS} --results /proc/none": ["--results /proc/none: cannot be created"],
    f"train three_classes.json {DIGITS}": ["three_classes: num_classes = 3", "10 classes"],
    f"train size_28.json {DIGITS}": ["size_28: input_size = 28", "have 8"],
    f"train two_channels.json {DIGITS}": ["two_channels: in_channels = 2"],
    f"train net.json {DIGITS} --lr 0.1": ["results/net holds a run with other settings: lr was", "--restart"],
    "run none.yaml": ["none.yaml: no such file"],
    "run generic_2": ["STUDY generic_2: is a model", "modelflow train generic_2"],
    f"run {DIGITS} --seed 1 --results . --restart": ["cnn2_3 for images of 1x8x8: pool2: max_pool_sizes[1] = 2"],
    "run small.study.yaml --results . --restart": ["--restart: . contains your current folder"],
    "run empty_folder": ["empty_folder: not a file"],
    "run picture.png": ["picture.png", "'not a picture': expected settings"],
    "run unknown.study.yaml": ["unknown.study.yaml: unknown key 'epoch'. Did you mean 'epochs'?"],
    "run words.study.yaml": ["words.study.yaml: 'just words'"],
    "run epochs.study.yaml": ["epochs.study.yaml: epochs = 'many': expected a whole number"],
    "run no_models.study.yaml": ["models = []"],
    "run same_name.study.yaml": ["'net' appears twice"],
    "run hostile_name.study.yaml": ["model name '../../x'"],
    "run number_name.study.yaml": ["model name 3"],
    "run missing_spec.study.yaml": ["none.json: no such file"],
    "run bad_spec.study.yaml": ["models: x: in_channels = 0"],
    "run data.study.yaml": ["'imagenet'"],
    f"run {DIGITS} --seeds x": ["--seeds 'x': expected a number of seeds"],
    f"run {DIGITS} --seeds 1,1": ["seeds: 1 appears twice"],
    f"run {DIGITS} --seeds 0": ["--seeds '0': expected 1 to 10000"],
    f"run {DIGITS} --seeds {'9' * 5000}": ["--seeds '999"],
    f"run {DIGITS} --seed 1 --seeds 2": ["give only one"],
    f"run {DIGITS} --jobs 0": ["--jobs", "0 is not in the range"],
    f"run {DIGITS}": ["cnn2_3 for images of 1x8x8: pool2: max_pool_sizes[1] = 2", "3x1x1 is smaller"],
}
LOOKING = {
    "lr-find net.json --dataset digits --start-lr 0.1 --end-lr 0.01": ["end_lr = 0.01", "0.1"],
    "lr-find net.json --dataset digits --num-iter 0": ["num_iter = 0"],
    "lr-find net.json --dataset digits --num-iter -5": ["num_iter = -5"],
    "lr-find net.json --dataset digits --end-lr nan": ["end_lr = nan"],
    "lr-find net.json --dataset digits --end-lr inf": ["end_lr = inf"],
    "lr-find net.json --dataset digits --start-lr 0": ["lr = 0.0: expected more than 0"],
    "lr-find net.json --dataset digits --results file/below": ["--results file/below: cannot be created"],
    "lr-find nope": ["MODEL 'nope'"],
    "evaluate none": ["none: no run.json there"],
    "evaluate file": ["file: no run.json there"],
    "evaluate empty_folder": ["empty_folder: no run.json there"],
    "evaluate results/net --data-dir file": ["--data-dir"],
    "inspect none": ["none: no run.json there"],
    "inspect results/net --layer conv9": ["layer 'conv9'", "conv_layers.0"],
    "inspect results/net --layer ''": ["layer ''"],
    "predict none picture.png": ["none: no run.json there"],
    "predict results/net picture.png": ["picture.png: ", "PNG", "1 of 1 images could not be read"],
    "predict results/net missing.png": ["missing.png: no such file"],
    "predict results/net empty_folder": ["empty_folder: no image in this folder"],
    "export results/net --to nothing": ["--to", "'nothing' is not one of"],
    "export results/net --to pt2 --output results": ["results: exists, and is no earlier export"],
    "export results/net --to pt2 --output file": ["--output", "is a file"],
    "leaderboard none": ["none: no finished run in it"],
    "leaderboard empty_folder": ["empty_folder: no finished run in it"],
    "leaderboard file": ["'file' is a file"],
    "data verify imagenet": ["'imagenet'", "digits"],
    "data verify idx:": ["'idx:'"],
    "data verify idx:idx": ["idx/train-images-idx3-ubyte"],
    "data verify empty_folder": ["empty_folder: no data set is recognised there"],
    "data fetch idx:nowhere": ["nowhere: no such folder"],
    "data show idx:idx": ["idx/train-images-idx3-ubyte"],
    "data show digits --output empty_folder": ["--output", "is a directory"],
    "data unheard": ["No such command 'unheard'"],
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with a finished run of the digits, made by the command itself."""
    where = tmp_path_factory.mktemp("trained")
    (where / "net.json").write_text(spec())
    assert run_command(["train", str(where / "net.json"), *DIGITS.split(), "--results", str(where / "results")]) == 0
    return where / "results"


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """The folder that a command is given in."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "latin1.json").write_bytes(b'{"in_channels": "\xe9"}')
    shutil.copytree(trained, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(here, capsys, command, words, code=2):
    before = contents(here)
    assert run_command(shlex.split(command)) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert [word for word in words if word not in captured.err] == []
    assert "rror: " in captured.err
    assert len(captured.err) < 1500
    assert contents(here) == before


@pytest.mark.parametrize("command", SPECS, ids=lambda command: command[:40])
def test_bad_specs(here, capsys, command):
    refused(here, capsys, command, SPECS[command])


@pytest.mark.parametrize("command", TRAINING, ids=lambda command: command[:70])
def test_bad_studies_and_settings(here, capsys, command):
    refused(here, capsys, command, TRAINING[command])


@pytest.mark.parametrize("command", LOOKING, ids=lambda command: command[:70])
def test_bad_things_to_look_at(here, capsys, command):
    refused(here, capsys, command, LOOKING[command])


def test_an_unknown_layer_is_noticed_before_anything_is_drawn(here, capsys):
    (here / "results" / "net" / "filters_conv_layers.0.png").unlink()
    refused(here, capsys, "inspect results/net --layer conv9", ["layer 'conv9'"])


def test_text_that_is_not_utf_8(here, capsys):
    refused(here, capsys, "trace latin1.json", ["latin1.json: not a text file in UTF-8"])


def with_fields(**changes):
    """A change to run.json: fields replaced, those below the top by a dotted name."""

    def change(run):
        fields = json.loads((run / "run.json").read_text())
        for name, value in changes.items():
            *above, last = name.split("__")
            place = fields
            for part in above:
                place = place[part]
            place[last] = value
        (run / "run.json").write_text(json.dumps(fields))

    return change


def replaced(name, content):
    def change(run):
        (run / name).unlink()
        if content is not None:
            (run / name).write_bytes(content)

    return change


def a_folder_for(name):
    def change(run):
        (run / name).unlink()
        (run / name).mkdir()

    return change


def cut(name):
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[:500])


DAMAGED = {
    "run.json is a folder": (a_folder_for("run.json"), ["results/net: no run.json there"]),
    "run.json is missing": (replaced("run.json", None), ["results/net: no run.json there"]),
    "run.json is empty": (replaced("run.json", b""), ["results/net/run.json"]),
    "run.json is cut": (cut("run.json"), ["results/net/run.json"]),
    "run.json is no JSON": (replaced("run.json", b"hello"), ["results/net/run.json", "Invalid JSON"]),
    "run.json is a list": (replaced("run.json", b"[]"), ["results/net/run.json"]),
    "run.json is binary": (replaced("run.json", bytes(range(256))), ["results/net/run.json"]),
    "run.json is nested": (replaced("run.json", b'{"a":' * 100_000), ["results/net/run.json"]),
    "run.json is huge": (replaced("run.json", b" " * (5 << 20)), ["results/net/run.json: larger than"]),
    "wrong type": (with_fields(seed="x"), ["results/net/run.json", "seed"]),
    "unknown key": (with_fields(sede=1), ["unknown key 'sede'. Did you mean 'seed'?"]),
    "a huge seed": (with_fields(seed=10**400), ["results/net/run.json: seed = 1000", "expected at least 0"]),
    "a negative seed": (with_fields(seed=-1), ["results/net/run.json: seed = -1: expected at least 0"]),
    "huge numbers": (with_fields(parameters=10**400), ["results/net/run.json: parameters = 1000"]),
    "infinite numbers": (with_fields(metrics__loss=1e999), ["results/net/run.json: metrics.loss = inf"]),
    "hostile name": (with_fields(model_name="../../x"), ["model name '../../x'"]),
    "markup in the name": (with_fields(model_name="<img onerror>"), ["model name '<img onerror>'"]),
    "no name": (with_fields(model_name=""), ["model name ''"]),
    "a long name": (with_fields(model_name="x" * 300), ["model name 'xxx"]),
    "a share above 1": (with_fields(metrics__accuracy=7), ["metrics.accuracy = 7"]),
    "no date": (with_fields(started="never"), ["'never'"]),
}
ALTERED = ["model_checkpoint.pth: its SHA-256 differs from run.json"]
UNREADABLE_MODEL = {
    "a spec of another shape": (with_fields(spec__fc_sizes=[21]), ["model.safetensors", "fc_layers.0.weight"]),
    "a spec that is none": (with_fields(spec__in_channels=0), ["results/net/run.json: spec: in_channels = 0"]),
    "a spec that cannot be built": (with_fields(spec__cov_kernel_sizes=[9]), ["cov_kernel_sizes[0] = 9"]),
    "settings that are none": (with_fields(settings__lr=-1), ["results/net/run.json: settings: lr = -1"]),
    "an unknown setting": (with_fields(settings__q=1), ["settings: unknown key 'q'"]),
    "unknown data": (with_fields(settings__dataset="imagenet"), ["'imagenet'"]),
    "data that are gone": (with_fields(settings__dataset="idx:gone"), ["its images idx:gone are not in"]),
    "no checkpoint": (replaced("model_checkpoint.pth", None), ["model_checkpoint.pth: no such file"]),
    "an empty checkpoint": (
        replaced("model_checkpoint.pth", b""),
        ALTERED,
    ),
    "a cut checkpoint": (cut("model_checkpoint.pth"), ALTERED),
    "a checkpoint that is a folder": (a_folder_for("model_checkpoint.pth"), ["model_checkpoint.pth: not a file"]),
    "text for a checkpoint": (
        replaced("model_checkpoint.pth", b"hello"),
        ALTERED,
    ),
}


@pytest.mark.parametrize("command", ["evaluate results/net", "inspect results/net", f"train net.json {DIGITS}"])
@pytest.mark.parametrize("damage", [key for key in DAMAGED if "is a folder" not in key and "missing" not in key])
def test_damaged_records(here, capsys, command, damage):
    change, words = DAMAGED[damage]
    change(here / "results" / "net")
    refused(here, capsys, command, words)


@pytest.mark.parametrize("damage", ["run.json is a folder", "run.json is missing"])
def test_missing_records(here, capsys, damage):
    change, words = DAMAGED[damage]
    change(here / "results" / "net")
    refused(here, capsys, "evaluate results/net", words)
    refused(here, capsys, "leaderboard results", ["results: no finished run in it"])


@pytest.mark.parametrize("damage", [key for key in DAMAGED if "is a folder" not in key and "missing" not in key])
def test_damaged_records_in_a_leaderboard(here, capsys, damage):
    change, words = DAMAGED[damage]
    change(here / "results" / "net")
    refused(here, capsys, "leaderboard results", words)


@pytest.mark.parametrize("command", ["evaluate results/net", "inspect results/net"])
@pytest.mark.parametrize("damage", UNREADABLE_MODEL)
def test_models_that_cannot_be_read_back(here, capsys, command, damage):
    change, words = UNREADABLE_MODEL[damage]
    change(here / "results" / "net")
    refused(here, capsys, command, words)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("trace unknown_key.json", ["unknown_key.json"]),
        ("train net.json --dataset digits --epochs 0", ["epochs = 0"]),
        ("evaluate empty_folder", ["empty_folder"]),
        (b"trace \xff\x1b[31m.json", ["model name"]),
    ],
    ids=["trace", "train", "evaluate", "undecodable"],
)
def test_the_same_in_a_process_of_its_own(here, command, words):
    before = contents(here)
    arguments = command.split(b" ", 1) if isinstance(command, bytes) else shlex.split(command)
    done = subprocess.run([*MODELFLOW, *arguments], capture_output=True, check=False)
    told = done.stderr.decode()
    assert (done.returncode, done.stdout) == (2, b"")
    assert told.startswith("Error: ")
    assert "Traceback" not in told
    assert "\x1b" not in told
    assert all(word in told for word in words)
    assert contents(here) == before


def test_at_least_fifty_different_bad_inputs_are_thrown():
    assert len({*SPECS, *TRAINING, *LOOKING}) + len(DAMAGED) + len(UNREADABLE_MODEL) >= 50


def test_the_check_notices_what_was_written(here, capsys):
    with pytest.raises(AssertionError):
        refused(here, capsys, "trace generic_2 --svg net.svg", [], code=0)
    assert Path("net.svg").is_file()
