"""What stands behind `ModelFlow`, each alone: what a run is made of, its training, its evaluation."""

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn

from modelflow import ModelFlow, load_dataset
from modelflow.errors import DataError, SpecError, UsageError
from modelflow.networks.build import GenericCNN
from modelflow.results.layout import CHECKPOINT, RUN, WEIGHTS, read_run
from modelflow.results.settings import read_study
from modelflow.studies.autosave import Autosave
from modelflow.studies.delegation import Delegated, Shown
from modelflow.studies.parts import OWN_WEIGHTS, Parts
from modelflow.studies.plan import plans
from modelflow.studies.run import make_flow, make_parts
from modelflow.studies.run_evaluation import evaluate
from modelflow.studies.run_training import RunTraining

SPEC = {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [4], "fc_sizes": [10]}


def network():
    return GenericCNN(SPEC, seed=3)


@pytest.fixture
def parts_of(tmp_path):
    """Makes what a run over the digits is made of, in a folder of its name."""

    def make(name="alone", model=None, **options):
        loaders = load_dataset("digits").loaders(16, 7)
        model = network() if model is None else model
        return Parts(model, *loaders, name, tmp_path / name, **{"verbose": False} | options)

    return make


@pytest.fixture
def flow_of(tmp_path):
    def make(name="flow", model=None, **options):
        loaders = load_dataset("digits").loaders(16, 7)
        options = {"results_dir": tmp_path, "verbose": False} | options
        return ModelFlow(network() if model is None else model, *loaders, name, **options)

    return make


def test_parts_alone_train_and_evaluate_to_the_bytes_of_a_flow(parts_of, flow_of):
    parts, flow = parts_of(lr=3e-3), flow_of(lr=3e-3)
    RunTraining(parts).train(2)
    metrics = evaluate(parts)
    flow.train(2)
    assert flow.evaluate() == metrics
    assert metrics.accuracy > 0.5
    for name in (WEIGHTS, CHECKPOINT, "predictions.npz", "history.csv"):
        assert (parts.folder.path / name).read_bytes() == (flow.results_dir / name).read_bytes(), name
    changing = {"model_name", "started", "seconds", "latency_ms", "files"}
    records = [read_run(place).model_dump(exclude=changing) for place in (parts.folder.path, flow.results_dir)]
    assert records[0] == records[1]


def test_settings_and_notes_that_are_given_are_those_of_the_record(parts_of):
    settings = {"dataset": "digits", "batch_size": 16, "lr": 3e-4, "optimizer": "adam", "schedule": "one-cycle"}
    parts = parts_of(settings=dict(settings), notes=["the data were found in a drawer"])
    assert parts.schedule == "one-cycle"
    RunTraining(parts).train(1)
    evaluate(parts)
    run = read_run(parts.folder.path)
    assert (run.settings, run.notes) == (settings, ("the data were found in a drawer",))


def test_what_parts_note_of_a_module_comes_before_what_is_given(parts_of):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    parts = parts_of(model=module, device="cpu", notes=["given"])
    assert parts.notes == [OWN_WEIGHTS, "device cpu: asked for", "given"]
    assert parts.spec is None
    assert parts.network == [None, parts.module_sha256]
    assert parts_of().network == [parts_of().spec, None]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"lr": -1}, UsageError, "lr = -1"),
        ({"seed": 0.5}, UsageError, "seed = 0.5"),
        ({"optimizer": "adma"}, UsageError, "optimizer 'adma'"),
        ({"schedule": "linear"}, UsageError, "schedule"),
        ({"loss_fn": "cross_entropy"}, UsageError, "loss_fn = 'cross_entropy'"),
        ({"device": "gpu"}, UsageError, "device 'gpu'"),
        ({"class_names": "abc"}, UsageError, "class_names = 'abc'"),
        ({"name": "../x"}, SpecError, r"model name '\.\./x'"),
    ],
)
def test_parts_are_checked_when_they_are_made(parts_of, options, error, said):
    with pytest.raises(error, match=said):
        parts_of(**options)


def test_parts_that_cannot_be_trained_leave_no_folder(parts_of):
    parts = parts_of(class_names=["one"])
    with pytest.raises(UsageError, match="class_names has 1 entry"):
        RunTraining(parts).train(1)
    assert not parts.folder.path.exists()


def test_a_training_alone_loads_a_checkpoint_with_its_options_or_keeps_its_own(parts_of):
    first = parts_of("first", lr=1e-2)
    RunTraining(first).train(1)
    checkpoint = first.folder.path / CHECKPOINT
    for lr, keeps, expected in ((None, False, 1e-2), (0.5, False, 0.5), (None, True, 1e-4)):
        parts = parts_of("second", lr=1e-4)
        RunTraining(parts).load(checkpoint, lr, keeps_options=keeps)
        assert (parts.lr, parts.settings["lr"], parts.arch.total_epochs) == (expected, expected, 1)
        assert all(map(torch.equal, parts.model.parameters(), first.model.parameters()))
    (checkpoint.parent / "half.pth").write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"half\.pth"):
        RunTraining(parts).load(checkpoint.parent / "half.pth", None, keeps_options=False)


def test_a_training_alone_resumes(parts_of, monkeypatch):
    monkeypatch.setattr("modelflow.studies.autosave.SECONDS_BETWEEN_STATES", 0)
    monkeypatch.setattr("modelflow.studies.autosave.SHARE_OF_SAVING", 1e9)

    def end(epoch, step, _loss):
        if (epoch, step) >= (2, 1):
            raise KeyboardInterrupt

    whole, broken, fixed = parts_of("whole"), parts_of("broken"), parts_of("broken")
    RunTraining(whole).train(3)
    broken.arch.on_step = end
    with pytest.raises(KeyboardInterrupt):
        RunTraining(broken).train(3)
    training = RunTraining(fixed)
    assert training.resume().startswith("resuming after epoch 1")
    training.train(3)
    assert fixed.arch.losses == whole.arch.losses
    stored = [(parts.folder.path / CHECKPOINT).read_bytes() for parts in (fixed, whole)]
    assert stored[0] == stored[1]


def test_the_parts_of_a_studys_run_are_made_with_all_that_it_knows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").write_text("a file where results go that nobody asked for")
    study = read_study(None, models=[{"name": "a", "spec": SPEC}], seeds=[42, 43], dataset="digits", schedule="cosine")
    plan = plans(study, tmp_path / "r", device="cpu")[1]
    parts = make_parts(plan)
    assert (parts.folder.path, parts.seed, parts.model_name) == (tmp_path / "r/a/seeds/43", 43, "a")
    assert parts.settings == plan.settings.model_dump()
    assert (parts.schedule, parts.verbose, parts.notes) == ("cosine", False, ["device cpu: asked for"])
    flow = make_flow(plan)
    assert (flow.results_dir, flow.settings, flow.notes) == (parts.folder.path, parts.settings, parts.notes)


def test_every_attribute_of_a_flow_is_that_of_its_parts(flow_of):
    flow = flow_of()
    named = {name for name, kind in vars(ModelFlow).items() if isinstance(kind, Shown)}
    of_parts = {name for name, kind in vars(Parts).items() if isinstance(kind, property)} - {"spec", "module_sha256"}
    assert named >= of_parts
    for name in of_parts:
        assert inspect.getdoc(vars(ModelFlow)[name]) == inspect.getdoc(vars(Parts)[name])
        settable = vars(Parts)[name].fset is not None
        assert isinstance(vars(ModelFlow)[name], Delegated) == settable
    for name in named:
        value = getattr(flow, name)
        if isinstance(vars(ModelFlow)[name], Delegated):
            setattr(flow, name, value)
        else:
            with pytest.raises(AttributeError, match=f"ModelFlow.{name}: cannot be set"):
                setattr(flow, name, value)


def test_what_is_set_of_a_flow_is_used_by_its_training(flow_of):
    flow = flow_of()
    flow._saved_at = -1e9  # a state is due at the first pause
    flow.seconds = {"training": 100.0}
    flow.train(1)
    assert flow.seconds["training"] > 100
    assert list((flow.results_dir / "training").glob("state-*.pth"))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda flow: pickle.loads(pickle.dumps(flow))])
def test_a_copy_of_a_flow_trains_by_itself(flow_of, copied):
    flow = flow_of()
    flow.train(1)
    other = copied(flow)
    other.train(1)
    assert (flow.arch.total_epochs, other.arch.total_epochs) == (1, 2)
    assert not torch.equal(next(flow.model.parameters()), next(other.model.parameters()))
    flow.train(1)
    assert flow.arch.losses == other.arch.losses
    with pytest.raises(AttributeError, match=r"ModelFlow\.epochs"):
        other.epochs = 3


def test_an_attribute_error_of_a_part_is_told_as_it_is(flow_of, monkeypatch):
    flow = flow_of()

    def broken(_loader):
        raise AttributeError("a loader of its own kind")

    monkeypatch.setattr("modelflow.studies.parts.loader_options", broken)
    with pytest.raises(AttributeError, match="a loader of its own kind"):
        flow.train_loader = flow.train_loader


def test_a_state_is_due_again_after_a_while(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    autosave = Autosave()
    assert not autosave.is_due()
    clock[0] = 5.0
    assert autosave.is_due()
    autosave.save(tmp_path, lambda: clock.append(clock.pop() + 0.1) or {"epoch": 1, "midway": None})
    clock[0] += 5.0
    assert not autosave.is_due()  # saving took 0.1 s, and takes at most a hundredth of the time
    clock[0] += 5.0
    assert autosave.is_due()


def test_an_evaluation_marks_its_folder_finished(parts_of):
    parts = parts_of()
    evaluate(parts)
    assert (parts.folder.path / RUN).is_file()
    assert not parts.history.seconds.keys() - {"evaluation"}
