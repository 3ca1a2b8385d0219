"""Commands in surroundings that are not a terminal on one's own Linux: real processes, started as there."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelflow.errors import is_of_memory
from modelflow.io.process import MIN_ADDRESS_SPACE
from without_posix import SITECUSTOMIZE

MODELFLOW = [sys.executable, "-c", "from modelflow.cli import main; main()"]
NOTEBOOK = "module://a_notebook_that_is_not_here.backend"
SPEC = {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [4], "fc_sizes": [20]}
NOBODY = "import pwd\ndef none(uid): raise KeyError('getpwuid(): uid not found')\npwd.getpwuid = none\n"


def start(*arguments, cwd=None, site=None, without=(), program=MODELFLOW, **more):
    """A process of the command; `site` is what Python runs first, `without` are variables taken away."""
    environment = {name: value for name, value in os.environ.items() if name not in without}
    environment |= more.pop("env", {})
    if site is not None:
        folder = Path(cwd) / "site"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(site, "utf-8")
        environment["PYTHONPATH"] = os.pathsep.join([str(folder), environment.get("PYTHONPATH", "")])
    command = [*program, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment, **({"capture_output": True} | more), text=True, timeout=300, check=False
    )


@pytest.fixture
def study(tmp_path):
    """A study file of two models on the digits, in a folder of its own."""
    models = [{"name": name, "spec": SPEC | {"cov_features": [width]}} for name, width in (("narrow", 4), ("wide", 6))]
    (tmp_path / "study.json").write_text(json.dumps({"models": models, "dataset": "digits", "epochs": 1}))
    return tmp_path


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"], ids=["error stream", "all"])
def test_a_model_is_trained_with_closed_streams(study, closed):
    (study / "narrow.json").write_text(json.dumps(SPEC))
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *MODELFLOW]
    done = start("train", "narrow.json", "--dataset", "digits", "--epochs", "1", cwd=study, program=shell)
    assert done.returncode == 0
    assert (study / "results" / "narrow" / "MODEL_CARD.md").read_text().startswith("---")


def test_a_mistake_is_exit_code_2_with_closed_streams(study):
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *MODELFLOW]
    assert start("run", "nothing.json", cwd=study, program=shell).returncode == 2


SCRIPT = """
from modelflow import GenericCNN, ModelFlow, Spec, load_dataset
train, val, test = load_dataset("digits").held_out_loaders()
model = GenericCNN(Spec(in_channels=1, num_classes=10, input_size=8, cov_features=[2], fc_sizes=[5]))
ModelFlow(model, train, val, "net", test_loader=test).run(epochs=1)
"""


def test_a_script_trains_with_closed_streams(tmp_path):
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", SCRIPT]
    assert start(cwd=tmp_path, program=shell).returncode == 0
    assert (tmp_path / "results" / "net" / "run.json").is_file()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_a_failure_and_messages_that_cannot_are_none(unbuffered):
    env = {"PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = start("models", stdout=full, stderr=subprocess.PIPE, capture_output=False, env=env)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert "No space left on device" in done.stderr
        done = start("data", "verify", "digits", stdout=subprocess.PIPE, stderr=full, capture_output=False, env=env)
        assert (done.returncode, done.stdout.count("all files are sound")) == (0, 1)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_any_more_ends_without_a_word(unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    done = start(
        *("models",), stdout=writing, stderr=subprocess.PIPE, capture_output=False, env={"PYTHONUNBUFFERED": unbuffered}
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_backend_of_a_notebook_that_started_us_is_not_ours(study):
    done = start("run", "study.json", "--jobs", "2", cwd=study, env={"MPLBACKEND": NOTEBOOK})
    assert done.returncode == 0, done.stderr
    assert (study / "results" / "wide" / "losses.png").is_file()


@pytest.mark.parametrize(
    ("given", "left"), [(NOTEBOOK, "None"), ("svg", "'svg'"), ("module://matplotlib.backends.backend_svg", None)]
)
def test_a_script_keeps_its_backend_unless_it_is_not_there(given, left):
    code = "import modelflow.figures.losses, os; print(repr(os.environ.get('MPLBACKEND')))"
    done = start(env={"MPLBACKEND": given}, program=[sys.executable, "-c", code])
    assert (done.returncode, done.stdout.strip()) == (0, left or repr(given)), done.stderr


BAD = [b"xtick.labelsize: 1e9\nfont.family: nothing", b"figure.subplot.left: 0.99\nsavefig.dpi: 1", b"\xff\xfe"]


def test_a_matplotlibrc_in_the_current_folder_changes_no_picture(tmp_path):
    for number, content in enumerate([b"", *BAD]):
        (tmp_path / "matplotlibrc").write_bytes(content)
        done = start("data", "show", "digits", "--output", f"{number}.png", cwd=tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        assert "matplotlibrc" not in done.stderr
    assert len({(tmp_path / f"{number}.png").read_bytes() for number in range(1 + len(BAD))}) == 1


def test_a_user_without_home_and_name_trains_and_keeps_kernels_for_as_long_as_that(study):
    homeless = ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME", "MODELFLOW_KERNELS", "MPLCONFIGDIR")
    (study / "tmp").mkdir()
    more = {"site": NOBODY, "without": homeless, "env": {"TMPDIR": str(study / "tmp")}}
    done = start("run", "study.json", "--jobs", "1", cwd=study, **more)
    assert done.returncode == 0, done.stderr
    compilations = done.stderr.count("compiling its training step")
    assert compilations == 2  # one a model
    assert list((study / "tmp").glob("modelflow-*")) == []
    done = start("data", "verify", "fashion-mnist", "--data-dir", "nowhere", cwd=study, **more)
    assert (done.returncode, "Traceback" in done.stderr) in ((2, False), (0, False))  # Debian's package may be there


def test_who_has_no_home_is_asked_for_a_folder(monkeypatch):
    from modelflow.data import fetch
    from modelflow.data.known_sets import FASHION_MNIST

    def homeless(_name):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(fetch.pooch, "os_cache", homeless)
    monkeypatch.delenv(fetch.DATA_DIR_VARIABLE, raising=False)
    assert fetch.cache_folder(FASHION_MNIST) is None
    monkeypatch.setattr(fetch, "find", lambda *_: {})
    with pytest.raises(fetch.DataError, match=r"no home folder .*--data-dir or MODELFLOW_DATA_DIR"):
        fetch.fetch(FASHION_MNIST)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("could not create a primitive"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("can't start new thread"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        SystemError("error return without exception set"),
    ],
    ids=str,
)
def test_memory_runs_out_in_many_words(error):
    assert is_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), OSError(errno.ENOSPC, ""), ImportError("no x")]
)
def test_other_faults_are_none_of_memory(error):
    assert not is_of_memory(error)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
@pytest.mark.parametrize("mebibytes", [300, 800, 1100, 1900])
def test_too_little_memory_ends_without_a_traceback(study, mebibytes):
    limited = ["sh", "-c", f'ulimit -v {mebibytes * 1024}; exec "$@"', "sh", *MODELFLOW]
    done = start("run", "study.json", "--jobs", "1", cwd=study, program=limited)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "memory" in done.stderr.splitlines()[-1].lower()
    assert f"{mebibytes:,} MiB" in done.stderr or mebibytes == 300  # with which Python itself may not get so far


def test_with_the_memory_that_is_asked_for_a_study_is_trained(study):
    limited = ["sh", "-c", f'ulimit -v {MIN_ADDRESS_SPACE // 1024}; exec "$@"', "sh", *MODELFLOW]
    done = start("run", "study.json", "--jobs", "1", cwd=study, program=limited)
    assert done.returncode == 0, done.stderr


def test_without_the_names_of_posix_the_commands_work(study):
    def given(*arguments):
        done = start(*arguments, cwd=study, site=SITECUSTOMIZE)
        assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
        return done.stdout

    assert given("--help").startswith("Usage: modelflow")
    assert "generic_2" in given("models")
    assert "11,854" in given("trace", "generic_2")
    for jobs in ("1", "2"):
        assert "wide" in given("run", "study.json", "--jobs", jobs, "--results", f"results{jobs}")
    same = [(study / f"results{jobs}" / "narrow" / "model.safetensors").read_bytes() for jobs in ("1", "2")]
    assert same[0] == same[1]
    assert "narrow" in given("leaderboard", "results1")
    given("evaluate", "results1/narrow")
    given("report", "results1")
    (study / "narrow.json").write_text(json.dumps(SPEC))
    given("train", "narrow.json", "--dataset", "digits", "--epochs", "1", "--results", "results2", "--restart")
    assert (study / "results2" / "narrow.old-1" / "run.json").is_file()
    assert (study / "results2" / "narrow" / "run.json").is_file()


LOST = """
import os, signal, sys, time
from modelflow.io.signals import install_signal_handlers

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

signal.signal(signal.SIGINT, signal.default_int_handler)
install_signal_handlers()
deaf = Deaf()
try:
    del deaf
    for _ in range(300):
        time.sleep(0.1)
except KeyboardInterrupt:
    sys.exit("heard")
"""


def test_without_a_timer_of_posix_a_lost_interruption_is_heard_too(tmp_path):
    done = start(cwd=tmp_path, site=SITECUSTOMIZE, program=[sys.executable, "-c", LOST])
    assert (done.returncode, done.stderr) == (1, "heard\n")


def test_the_names_are_taken_away(tmp_path):
    """Else the tests above would show nothing."""
    code = "import modelflow.io.files as f, modelflow.io.signals as i; print(f.os.name, hasattr(f.os, 'O_NOFOLLOW'), "
    code += "hasattr(i.signal, 'SIGALRM'), hasattr(i.signal, 'SIGTERM'))"
    done = start(cwd=tmp_path, site=SITECUSTOMIZE, program=[sys.executable, "-c", code])
    assert done.stdout.split() == ["nt", "False", "False", "True"]
    assert hasattr(signal, "SIGALRM")
