"""ModelFlow in a real notebook's kernel: what cells show, interruptions, threads, a running event loop, autoreload."""

import json
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel
from jupyter_client.session import Session

from report_studies import spec

SOURCE = Path(__file__).parents[2] / "src"
MODELS = {"narrow": spec(2), "wide": spec(8)}
PATIENCE = 120


class Kernel:
    """A kernel in a folder, which imports the package from `source`; each cell's outputs as messages."""

    def __init__(self, folder, source=SOURCE):
        Session.check_pid = False
        self.manager, self.client = start_new_kernel(kernel_name="python3", cwd=str(folder))
        self.run(f"import sys; sys.path.insert(0, {str(source)!r}); import modelflow as mf")

    def begin(self, code):
        return self.client.execute(code)

    def message(self, asked):
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") == asked:
                return message

    def outputs(self, asked):
        found = []
        while (message := self.message(asked))["content"].get("execution_state") != "idle":
            if message["msg_type"] in ("stream", "display_data", "update_display_data", "execute_result", "error"):
                found.append((message["msg_type"], message["content"]))
        return found

    def run(self, code):
        return self.outputs(self.begin(code))

    def value(self, code):
        """The data of a cell's value, which is all that it gives."""
        ((kind, content),) = self.run(code)
        assert kind == "execute_result", content
        return content["data"], content["metadata"]

    def end(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path):
    started = Kernel(tmp_path)
    yield started
    started.end()


def study(**changes):
    return {"dataset": "digits", "models": MODELS, "epochs": 2, "seeds": 2, "lr": 3e-3} | changes


def texts(outputs):
    return "".join(content.get("text", "") for kind, content in outputs if kind == "stream")


def test_a_study_is_told_of_in_its_cell_and_shows_its_leaderboard(kernel):
    outputs = kernel.run(f"mf.run_study({study()!r}, 'results', jobs=1)")
    kinds = [kind for kind, _ in outputs]
    assert kinds[0] == "display_data"
    assert kinds[-1] == "execute_result"
    assert set(kinds[1:-1]) == {"update_display_data"}
    html = [content["data"]["text/html"] for _, content in outputs]
    assert '<progress value="1.0000" max="1"></progress> 4 of 4 runs</p>' in html[-2]
    assert all(f"{name}, seed {seed}: accuracy " in html[-2] for name in MODELS for seed in (42, 43))
    assert "<table>" in html[-1]
    assert outputs[-1][1]["data"]["text/plain"].startswith("Test accuracy, mean ± half its 95 % interval over seeds")
    again = kernel.run(f"mf.run_study({study()!r}, 'results')")
    assert [kind for kind, _ in again] == ["execute_result"]


def test_a_run_and_its_figures_show_themselves_without_any_magic(kernel):
    assert "text/html" in kernel.value("mf.trace('generic_2')")[0]
    kernel.run(f"run = mf.train({{'name': 'narrow', 'spec': {MODELS['narrow']!r}}}, dataset='digits', epochs=2)")
    html = kernel.value("run")[0]["text/html"]
    assert 'src="data:image/png;base64,' in html
    data, size = kernel.value("run.figures['losses']")
    assert data["image/png"].startswith("iVBOR")
    assert size["image/png"]["width"] < 700
    data, size = kernel.value("from modelflow.figures.losses import plot_losses\nplot_losses([2.0], [2.1], 'loss')")
    assert data["image/png"].startswith("iVBOR")
    assert size["image/png"] == {"width": 614, "height": 384}
    flow = (
        "data = mf.load_dataset('digits'); flow = mf.ModelFlow(mf.GenericCNN(run.spec), *data.loaders(), verbose=False)"
    )
    kernel.run(f"{flow}; flow.train(1)")
    shown = kernel.run("flow.arch.plot_losses()")
    assert sum("image/png" in content["data"] for _, content in shown) == 1


def test_an_interrupted_study_keeps_its_runs_and_resumes(kernel, tmp_path):
    cell = f"rows = mf.run_study({study(epochs=200, seeds=3)!r}, 'results', jobs=2)"
    asked = kernel.begin(cell)
    while ", seed 4" not in str(kernel.message(asked)["content"].get("data", {}).get("text/plain", "")):
        pass
    kernel.manager.interrupt_kernel()
    outputs = kernel.outputs(asked)
    assert outputs[-1][1]["ename"] == "KeyboardInterrupt"
    told = texts(outputs)
    assert "of 6 runs are finished and kept" in told
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("run.json")}
    assert 1 <= len(finished) < 6
    time.sleep(1)
    assert set((tmp_path / "results").rglob("run.json")) == set(finished)  # nobody trains on
    again = kernel.run(f"{cell}\nlen(rows), sum(row.seeds for row in rows)")
    assert again[-1][1]["data"]["text/plain"] == "(2, 6)"
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_an_interrupted_training_resumes_in_the_middle(kernel, tmp_path):
    cell = "run = mf.train('generic_2', dataset='digits', epochs=4000)"
    asked = kernel.begin(cell)
    while not list(tmp_path.glob("results/generic_2/training/state-*.pth")):
        time.sleep(0.2)
    kernel.manager.interrupt_kernel()
    outputs = kernel.outputs(asked)
    assert outputs[-1][1]["ename"] == "KeyboardInterrupt"
    assert "interrupted, will resume: generic_2, seed 42" in texts(outputs)
    asked = kernel.begin(cell)
    while "resum" not in str(kernel.message(asked)["content"].get("data", {}).get("text/html", "")):
        pass
    kernel.manager.interrupt_kernel()
    assert kernel.outputs(asked)[-1][1]["ename"] == "KeyboardInterrupt"


def test_a_study_may_be_trained_in_a_thread_and_within_a_running_loop(kernel):
    kernel.run(
        f"import asyncio, threading\nstudy = {study(seeds=1)!r}\nfound = []\n"
        "thread = threading.Thread(target=lambda: found.append(mf.run_study(study, 'in_a_thread', jobs=2)))\n"
        "thread.start(); thread.join()"
    )
    assert kernel.value("len(found[0])")[0]["text/plain"] == "2"
    kernel.run("found = await asyncio.to_thread(mf.run_study, study, 'in_a_task', jobs=1, verbose=False)")
    assert kernel.value("len(found)")[0]["text/plain"] == "2"
    kernel.run("async def train():\n    return mf.run_study(study, 'in_the_loop', jobs=1)\nfound = await train()")
    assert kernel.value("len(found)")[0]["text/plain"] == "2"


def test_it_works_on_after_autoreload_has_loaded_its_modules_again(tmp_path):
    source = tmp_path / "src"
    shutil.copytree(SOURCE / "modelflow", source / "modelflow")
    kernel = Kernel(tmp_path, source)
    try:
        kernel.run("%load_ext autoreload\n%autoreload 2")
        kernel.run(f"first = mf.run_study({study(seeds=1)!r}, 'results', jobs=1)")
        for name in ("report/leaderboard.py", "io/faces/face.py", "studies/study.py", "errors.py", "__init__.py"):
            path = source / "modelflow" / name
            path.write_text(path.read_text() + "\n# changed\n")
        kernel.run(f"second = mf.run_study({study()!r}, 'results', jobs=1)")
        assert kernel.value("len(second), second[0].seeds")[0]["text/plain"] == "(2, 2)"
        assert "<table>" in kernel.value("second")[0]["text/html"]
        assert "<table>" in kernel.value("first")[0]["text/html"]
        assert "<table>" in kernel.value("mf.compare('results')")[0]["text/html"]
        error = kernel.run("mf.train('nope')")[-1][1]
        assert error["ename"] == "UsageError"
    finally:
        kernel.end()


def test_a_command_in_a_cell_writes_lines_without_escape_codes(kernel, tmp_path):
    (tmp_path / "study.json").write_text(json.dumps(study(seeds=1)))
    command = f"{sys.executable} -m modelflow"
    told = texts(
        kernel.run(f"import os; os.environ['PYTHONPATH'] = {str(SOURCE)!r}\n!{command} run study.json --jobs 1")
    )
    assert "\x1b" not in told
    lines = told.replace("\r", "").splitlines()
    assert lines[0] == "loading the data, then training 2 runs …"
    assert sum("accuracy" in line and "of training" in line for line in lines) == 2
    assert "\x1b" not in texts(kernel.run(f"!{command} leaderboard results"))
    assert texts(kernel.run(f"!{command} nonsense")).count("\x1b") == 0


def test_the_page_about_notebooks_runs_cell_by_cell(kernel):
    page = (SOURCE.parent / "docs" / "how-to" / "notebook.md").read_text("utf-8")
    cells = re.findall(r"^```python\n(.*?)^```$", page, re.S | re.M)
    assert len(cells) == 5
    for cell in cells:
        outputs = kernel.run(cell.replace('"epochs": 10, "seeds": 5', '"epochs": 1, "seeds": 2'))
        assert outputs
        assert not [content for kind, content in outputs if kind == "error"]
        assert "stderr" not in [content.get("name") for _, content in outputs]
