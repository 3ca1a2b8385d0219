"""What tests share: the real Fashion-MNIST, small parts of it, a small real study, and single-threaded torch."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from torch import nn
from torch.utils.data import TensorDataset

from chromium import CHROMIUM, FLAGS
from modelflow import run_study
from modelflow.analysis.archive import read_content
from modelflow.compat.architecture import Architecture
from modelflow.data.batches import Batches
from modelflow.data.datasets import Dataset, load_dataset
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.results.settings import StudySettings, validated
from modelflow.training.optimizers import make_optimizer
from report_studies import MODELS, SEEDS

mpl.use("agg")
torch.set_num_threads(1)
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


MORE = (  # slower tests: those of make test-more
    "analysis/test_reading.py",
    "analysis/test_simulations.py",
    "cli/test_like.py",
    "cli/test_taking.py",
    "data/test_class_folders.py",
    "data/test_from_files_to_export.py",
    "demo",
    "export",
    "fuzz",
    "io/test_bounds.py",
    "io/test_process.py",
    "io/test_signals.py",
    "kernels/test_any_network.py",
    "kernels/test_network.py",
    "kernels/test_portable.py",
    "kernels/test_wasm.py",
    "report",
    "studies/engines",
    "studies/test_flow.py",
    "studies/test_metric.py",
    "studies/test_merge.py",
    "studies/test_models.py",
    "studies/test_models_of_code.py",
    "studies/test_notebook.py",
    "studies/test_plan.py",
    "studies/test_run.py",
    "studies/test_study.py",
    "studies/test_train.py",
    "test_card_revisited.py",
    "test_extending.py",
    "test_readme.py",
    "test_tutorials.py",
    "test_wheel.py",
    "torture",
    "training/test_compiled.py",
    "training/test_compiled_layers.py::test_an_epoch_of_each_style",
    "training/test_learning.py",
    "training/test_openmp.py",
    "training/test_preflight.py",
)


SLOW = (  # the slowest of them, each half a minute and more: those of make test-slow, run nightly and before a release
    "data/test_from_files_to_export.py::test_its_files_become_a_verdict_and_an_export[cifar",
    "data/test_from_files_to_export.py::test_its_files_become_a_verdict_and_an_export[mine",
    "data/test_from_files_to_export.py::test_its_files_become_a_verdict_and_an_export[my_images",
    "io/test_process.py::test_without_the_names_of_posix_the_commands_work",
    "kernels/test_network.py::test_random_specs_agree_with_pytorch_in_float64",
    "studies/test_models_of_code.py::test_machines_of_a_cluster_are_sent_the_code",
    "studies/engines/test_local.py::test_a_study_needs_no_guard[a daemonic",
    "studies/engines/test_local.py::test_a_study_needs_no_guard[standard",
    "studies/engines/test_ray.py::test_a_machine_with_other_data_is_given_no_run_and_named",
    "studies/engines/test_ray.py::test_a_run_begun_here_goes_on_there",
    "studies/engines/test_ray.py::test_after_the_head_was_lost_the_same_command_trains_the_rest",
    "studies/engines/test_ray.py::test_machines_unlike_this_one_are_given_no_run_and_named",
    "studies/engines/test_ray.py::test_runs_of_a_machine_that_is_lost_are_trained_elsewhere",
    "studies/engines/test_ray.py::test_sigterm_ends_with_1_and_says_what_is_kept",
    "studies/test_notebook.py::test_a_study_may_be_trained_in_a_thread_and_within_a_running_loop",
    "studies/test_notebook.py::test_an_interrupted_study_keeps_its_runs_and_resumes",
    "studies/test_notebook.py::test_it_works_on_after_autoreload",
    "studies/test_notebook.py::test_the_page_about_notebooks_runs_cell_by_cell",
    "studies/test_study.py::test_a_study_killed_again_and_again_ends_in_the_bytes_of_one_left_alone",
    "test_tutorials.py",
    "torture",
    "training/test_compiled.py::test_random_networks_in_both_notations_train_to_the_same_bytes",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the slower tests, so that `-m "not more and not slow"` leaves them out."""
    for item in items:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        name = f"{path}::{item.name}"
        if name.startswith(SLOW):
            item.add_marker("slow")
        elif name.startswith(MORE):
            item.add_marker("more")


@pytest.fixture(scope="session")
def fashion() -> Dataset:
    """The whole data set, fetched once if it is nowhere on this machine."""
    return load_dataset("fashion-mnist")


@pytest.fixture
def few_loaders(fashion: Dataset) -> tuple[Batches, Batches]:
    """Training batches of 2,000 images and validation batches of 1,000, new for each test."""
    train = Batches(fashion.train_x_NCHW[:2000], fashion.train_y_N[:2000], 16, shuffle=True)
    return train, Batches(fashion.test_x_NCHW[:1000], fashion.test_y_N[:1000], 500)


@pytest.fixture(scope="session")
def images(fashion):
    """The first 1,000 training images with their labels."""
    return TensorDataset(fashion.train_x_NCHW[:1000], fashion.train_y_N[:1000])


@pytest.fixture(scope="session")
def unseen(fashion):
    """The first 500 test images with their labels."""
    return TensorDataset(fashion.test_x_NCHW[:500], fashion.test_y_N[:500])


@pytest.fixture
def make_arch(images, unseen):
    """Makes generic_2 (or another model) with its optimizer and batches of 30 shuffled images, the last one of 10."""

    def make(model=None, optimizer="adam", lr=1e-3, seed=42, **loaders):
        model = GenericCNN(preset("generic_2"), seed) if model is None else model
        optimizer = make_optimizer(optimizer, model.parameters(), lr) if isinstance(optimizer, str) else optimizer
        arch = Architecture(model, nn.CrossEntropyLoss(), optimizer, verbose=False)
        train_loader = loaders.get("train_loader", Batches(*images.tensors, 30, shuffle=True))
        arch.set_loaders(train_loader, loaders.get("val_loader", Batches(*unseen.tensors, 200)))
        return arch

    return make


@pytest.fixture
def snapshot():
    """What training changes, for comparison: weights, buffers, gradients, modes, the optimizer, and random states."""

    def of(arch):
        states = {f"model.{name}": value for name, value in arch.model.state_dict().items()}
        states |= {f"gradient.{name}": p.grad for name, p in arch.model.named_parameters()}
        states |= {f"mode.{name}": module.training for name, module in arch.model.named_modules()}
        optimizer = arch.optimizer.state_dict()
        states["groups"] = optimizer["param_groups"]
        for number, kept in optimizer["state"].items():
            states |= {f"optimizer.{number}.{name}": value for name, value in kept.items()}
        states |= {"torch": torch.get_rng_state(), "numpy": np.random.get_state()[1]}
        return {
            name: bytes(value.numpy().tobytes()) if isinstance(value, torch.Tensor) else repr(value)
            for name, value in states.items()
        }

    return of


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Callable[[StudySettings], Path]:
    """The results of a study, trained once for the tests of all processes, which must not change them."""
    top = tmp_path_factory.getbasetemp()
    top = top.parent if "PYTEST_XDIST_WORKER" in os.environ else top

    def once(study: StudySettings) -> Path:
        place = top / f"trained-{hashlib.sha256(study.model_dump_json().encode()).hexdigest()[:16]}"
        with FileLock(f"{place}.lock"):
            if not (place / "done").exists():
                run_study(study, place / "results", jobs=1, verbose=False)
                (place / "done").touch()
        return place / "results"

    return once


@pytest.fixture(scope="session")
def results(trained) -> Path:
    """Two models with two seeds each on the digits, by the protocol card."""
    fields = {"dataset": "digits", "protocol": "card", "models": MODELS, "epochs": 2, "seeds": SEEDS, "lr": 3e-3}
    return trained(validated(StudySettings, fields, "test"))


@pytest.fixture(scope="session")
def content(results):
    return read_content(results)


@pytest.fixture
def copied(results, tmp_path) -> Path:
    """A copy of the study that a test may change."""
    return Path(shutil.copytree(results, tmp_path / "results"))


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test installs it")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Opens a page in a context of its own, offline; afterwards nothing may have gone wrong or been asked for."""
    contexts, wrong = [], []

    def open_(path, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda one: one.url.startswith(("file:", "data:")) or wrong.append(f"request: {one.url}"))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=true]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []
