"""One look before the first step: what can be converted trains, what cannot is told, and nothing else is changed."""

import functools
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, Subset, TensorDataset

from modelflow import Architecture, GenericCNN, ModelFlow, Spec, load_dataset
from modelflow.data.batches import Batches
from modelflow.errors import DataError, ModelFlowError, RunError, UsageError
from modelflow.training import preflight


@pytest.fixture(scope="session")
def digits():
    """48 images of the digits 0 to 2, 8 x 8, and their labels."""
    data = load_dataset("digits")
    chosen = torch.nonzero(data.train_y_N < 3).flatten()[:48]
    return data.train_x_NCHW[chosen], data.train_y_N[chosen]


def linear(k=3):
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, k))


def generic(k=3):
    spec = Spec(in_channels=1, num_classes=k, input_size=8, cov_features=[2], fc_sizes=[5])
    return GenericCNN(spec)


def loaders(x, y, size=16):
    return DataLoader(TensorDataset(x, y), size, shuffle=True), DataLoader(TensorDataset(x, y), size)


@pytest.fixture
def flow_of(tmp_path):
    def make(train_loader, val_loader=None, model=None, name="run", **options):
        has_rate = isinstance(options.get("optimizer"), torch.optim.Optimizer) or "load_checkpoint_path" in options
        options = {"results_dir": tmp_path, "verbose": False, "lr": None if has_rate else 0.01} | options
        return ModelFlow(linear() if model is None else model, train_loader, val_loader, name, **options)

    return make


def weights(flow):
    return torch.cat([p.detach().float().flatten() for p in flow.model.parameters()])


SAME = {
    "labels N x 1": lambda x, y: (x, y[:, None]),
    "labels int32": lambda x, y: (x, y.int()),
    "labels uint8": lambda x, y: (x, y.to(torch.uint8)),
    "labels float32": lambda x, y: (x, y.float()),
    "labels one-hot": lambda x, y: (x, F.one_hot(y, 3)),
    "images float64": lambda x, y: (x.double(), y),
}


@pytest.mark.parametrize("given", SAME.values(), ids=SAME)
@pytest.mark.parametrize("model", [linear, generic])
def test_what_is_converted_trains_as_the_usual_kind_and_is_noted(flow_of, digits, model, given):
    usual = flow_of(*loaders(*digits), model())
    other = flow_of(*loaders(*given(*digits)), model(), "other")
    metrics = usual.run(epochs=2)
    assert other.run(epochs=2) == metrics
    assert torch.equal(weights(other), weights(usual))
    assert other.arch.val_losses == usual.arch.val_losses
    stored = json.loads((other.results_dir / "run.json").read_text())
    noted = {*stored["notes"]} - {*usual.notes}
    assert bool(noted) == ("uint8" not in str(given(*digits)[1].dtype))
    assert (*stored["notes"],) == (*other.notes,)
    assert stored["warnings"] == list(json.loads((usual.results_dir / "run.json").read_text())["warnings"])


def test_bytes_keep_their_values_in_training_and_in_predict(flow_of, digits):
    x = (digits[0] * 40 + 100).clamp(0, 255).to(torch.uint8)
    flow = flow_of(*loaders(x, digits[1]))
    metrics = flow.run(epochs=1)
    assert any("uint8" in note and "without scaling" in note for note in flow.notes)
    for images in (x, x.float()):
        assert np.mean(flow.arch.predict(images).argmax(1) == digits[1].numpy()) == metrics.accuracy


def cut(x, y, make):
    return [make(x[i : i + 16], y[i : i + 16]) for i in range(0, 48, 16)]


BATCHES = {
    "lists": lambda x, y: (x, y.tolist()),
    "arrays": lambda x, y: (x.numpy(), y.numpy()),
    "mappings": lambda x, y: {"image": x, "label": y},
    "three": lambda x, y: (x, y, ["file"] * len(y)),
}


@pytest.mark.parametrize("make", BATCHES.values(), ids=BATCHES)
def test_batches_of_other_kinds_train_to_the_same_bytes(flow_of, digits, make):
    plain, other = (cut(*digits, kind) for kind in (lambda x, y: (x, y), make))
    flows = [flow_of(batches, batches, name=name) for name, batches in (("plain", plain), ("other", other))]
    for flow in flows:
        flow.find_best_lr(set_lr=False)
        flow.run(epochs=2)
    assert torch.equal(weights(flows[0]), weights(flows[1]))
    assert flows[0].arch.lr_search == flows[1].arch.lr_search


REFUSED = {
    "labels 1 to K": (lambda x, y: loaders(x, y + 1), {}, "Subtract 1 from them"),
    "labels from -1": (lambda x, y: loaders(x, y - 1), {}, "a label is -1, expected 0 to 2"),
    "labels in halves": (lambda x, y: loaders(x, y + 0.5), {}, "not whole numbers, expected one class per image"),
    "several labels": (lambda x, _: loaders(x, torch.ones(48, 3)), {}, r"shape \(16, 3\)"),
    "texts": (lambda x, y: [cut(x, y, lambda x, _: (x, ["cat"] * 16))] * 2, {}, "Number the classes"),
    "one output": (lambda x, y: loaders(x, y), {"model": lambda: linear(1)}, "expected images x classes"),
    "too few outputs": (lambda x, y: loaders(x, y), {"model": lambda: linear(2)}, "a label is 2, expected 0 to 1"),
    "height x width x channels": (lambda x, y: loaders(x.movedim(1, 3), y), {}, r"give x.permute\(0, 3, 1, 2\)"),
    "the same of a spec": (
        lambda x, y: loaders(x.movedim(1, 3), y),
        {"model": generic},
        r"takes images of 1x8x8, got 8x8x1.*give x.permute\(0, 3, 1, 2\)",
    ),
    "height x width": (lambda x, y: loaders(x[:, 0], y), {}, r"give x.unsqueeze\(1\)"),
    "not finite": (lambda x, y: loaders(x * np.nan, y), {}, "validation loader: its images have values that are not"),
    "a data set": (lambda x, y: [TensorDataset(x, y)] * 2, {}, r"is a data set, expected batches of it.*DataLoader"),
    "images and labels": (lambda x, y: [(x, y)] * 2, {}, "a batch is float32 48x1x8x8, expected images and labels"),
    "a name": (lambda *_: ["fashion-mnist"] * 2, {}, "expected an iterable of batches"),
    "no batches": (lambda x, y: ([], loaders(x, y)[1]), {}, "the training loader gave no batches"),
    "no batches to validate": (lambda x, y: (loaders(x, y)[0], []), {}, "the validation loader gave no batches"),
    "no validation loader": (lambda x, y: (loaders(x, y)[0], None), {}, "no validation loader to evaluate on"),
    "no reduction": (
        lambda x, y: loaders(x, y),
        {"loss_fn": nn.CrossEntropyLoss(reduction="none")},
        "expected a tensor of one number",
    ),
    "no gradient": (
        lambda x, y: loaders(x, y),
        {"loss_fn": lambda o, t: (o.argmax(1) != t).float().mean()},
        "the loss depends on no parameter that can be trained",
    ),
}


@pytest.mark.parametrize(("given", "options", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_is_told_before_the_first_step(flow_of, digits, given, options, said):
    made = {name: value() if name == "model" else value for name, value in options.items()}
    flow = flow_of(*given(*digits), **made)
    before = weights(flow)
    with pytest.raises(ModelFlowError, match=said):
        flow.run(epochs=2)
    assert flow.arch.total_epochs == 0
    assert torch.equal(weights(flow), before)
    assert not (flow.results_dir / "model_checkpoint.pth").exists()


def test_a_refusal_leaves_the_finished_run(flow_of, digits):
    flow_of(*loaders(*digits)).run(epochs=1)
    bad = flow_of(loaders(digits[0].movedim(1, 3), digits[1])[0], loaders(*digits)[1])
    before = {path.name: path.read_bytes() for path in bad.results_dir.iterdir() if path.name != "filters_0.png"}
    with pytest.raises(DataError, match=r"epoch 1, step 1: images float32 16x8x8x1: .*permute"):
        bad.run(epochs=1)
    after = {path.name: path.read_bytes() for path in bad.results_dir.iterdir() if path.name != "filters_0.png"}
    assert after == before


def test_all_labels_in_memory_are_looked_at(flow_of, digits):
    x, y = digits
    wrong = y.clone()
    wrong[40] = 7
    sound = loaders(x, y)[1]
    for train_loader in (
        loaders(x, wrong)[0],
        Batches(x, wrong, 16),
        DataLoader(Subset(Subset(TensorDataset(x, wrong), range(48)), [0, 1, 40]), 1),
    ):
        with pytest.raises(DataError, match="the training loader: its labels go from 0 to 7, the model's outputs are"):
            flow_of(train_loader, sound).run(epochs=1)
    flow_of(DataLoader(Subset(TensorDataset(x, wrong), range(40)), 16), sound).run(epochs=1)
    ignored = torch.where(y == 2, -100, y)
    flow_of(loaders(x, ignored)[0], sound).run(epochs=1)


def test_test_images_are_looked_at_before_the_training(flow_of, digits):
    x, y = digits
    with pytest.raises(DataError, match=r"the test loader: images float32 16x8x8x1"):
        flow_of(*loaders(x, y), test_loader=loaders(x.movedim(1, 3), y)[1]).run(epochs=1)
    late = torch.where(torch.arange(48) == 47, 9, y)
    with pytest.raises(DataError, match="the test loader: its labels go from 0 to 9"):
        flow_of(*loaders(x, y), test_loader=loaders(x, late)[1]).run(epochs=1)


@pytest.mark.parametrize("make", [lambda x, y: loaders(x, y)[0], lambda x, y: Batches(x, y, 16, shuffle=True)])
@pytest.mark.parametrize("model", [lambda: linear(4), lambda: generic(4)])
def test_a_class_without_training_images_is_noted(flow_of, digits, make, model):
    x, y = digits
    flow = flow_of(make(x, y + 1), make(x, y + 1), model())
    flow.run(epochs=1)
    assert len([note for note in flow.notes if note.startswith("class 0 has no training image")]) == 1
    flow = flow_of(make(x, y), make(x, y), model())
    flow.run(epochs=1)
    assert not any("has no training image" in note for note in flow.notes)


def test_labels_that_the_loss_ignores_make_no_empty_class(flow_of, digits):
    x, y = digits
    y = torch.where(torch.arange(48) < 4, 200, y)
    flow = flow_of(*loaders(x, y)[:1], loaders(*digits)[1], loss_fn=nn.CrossEntropyLoss(ignore_index=200))
    flow.run(epochs=1)
    assert not any("training image" in note for note in flow.notes)


def test_a_misfit_in_a_later_batch_is_told_with_its_step(flow_of, digits):
    x, y = digits
    batches = [(x[:16], y[:16]), (x[16:32], y[16:32] + 7)]
    with pytest.raises(DataError, match=r"epoch 1, step 2: .*Target \d is out of bounds.*Fix the labels"):
        flow_of(batches, loaders(x, y)[1]).run(epochs=1)


def with_batch_norm():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


@pytest.mark.parametrize("make", [lambda x, y: loaders(x, y)[0], lambda x, y: Batches(x, y, 16, shuffle=True)])
def test_batch_norm_is_not_given_one_image(flow_of, digits, make):
    x, y = (part[:33] for part in digits)
    flow = flow_of(make(x, y), loaders(x, y)[1], with_batch_norm())
    with pytest.raises(UsageError, match=r"the last of an epoch, has one image.*drop_last=True, or another batch"):
        flow.run(epochs=1)
    assert not flow.arch.losses
    dropped = DataLoader(TensorDataset(x, y), 16, drop_last=True)
    flow_of(dropped, loaders(x, y)[1], with_batch_norm()).run(epochs=1)
    of_maps = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3))
    flow_of(make(x, y), loaders(x, y)[1], of_maps).run(epochs=1)


class Drawn(BatchSampler):
    """Sixteen images, drawn anew each time from generators of its own, and one alone."""

    def __init__(self, own=None, last=1):
        self.own, self.generator = np.random.default_rng(1), own
        self.last, self.data = last, None

    def __len__(self):
        return 2

    def __iter__(self):
        order = self.own.permutation(torch.randperm(33, generator=self.generator)).tolist()
        yield order[:16]
        yield order[: self.last]


SAMPLERS = {
    "torch's": lambda: BatchSampler(RandomSampler(range(33), generator=torch.Generator().manual_seed(1)), 16, False),
    "torch's, in order": lambda: BatchSampler(range(33), 16, False),
    "of one's own": Drawn,
    "with a generator": lambda: Drawn(torch.Generator().manual_seed(1)),
    "a list": lambda: [list(range(16)), [16], list(range(17, 33))],
    "of ones": lambda: BatchSampler(range(33), 1, True),
}
NONE_ALONE = {
    "torch's": lambda: BatchSampler(RandomSampler(range(33)), 16, True),
    "of one's own": lambda: Drawn(last=2),
    "a list": lambda: [list(range(16)), list(range(16, 33))],
}


def with_batch_norm_of_maps():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3))


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_a_batch_of_one_by_a_batch_sampler_is_told_before_the_first_step(flow_of, digits, make):
    x, y = digits
    stepped = []
    flow = flow_of(DataLoader(TensorDataset(x, y), batch_sampler=make()), loaders(x, y)[1], with_batch_norm())
    flow.arch.on_step = lambda *_: stepped.append(1)
    with pytest.raises(UsageError, match=r"has one image, too few for batch norm. .*batch_sampler drop_last=True"):
        flow.run(epochs=1)
    assert not stepped


@pytest.mark.parametrize(
    ("norm", "make"),
    [
        *((with_batch_norm, make) for make in NONE_ALONE.values()),
        *((with_batch_norm_of_maps, make) for name, make in SAMPLERS.items() if name != "of ones"),
    ],
)
def test_looking_at_a_batch_sampler_leaves_it_as_it_was(flow_of, digits, norm, make):
    x, y = digits
    trained = []
    for model, name in ((norm, "norm"), (linear, "linear")):
        sampler = make()
        flow = flow_of(DataLoader(TensorDataset(x, y), batch_sampler=sampler), loaders(x, y)[1], model(), name)
        torch.manual_seed(5)
        flow.run(epochs=1)
        trained.append(([*sampler], torch.rand(1)))
    assert trained[0] == trained[1]


def test_a_batch_sampler_without_an_end_is_not_waited_for(digits):
    class Endless:
        def __iter__(self):
            while True:
                yield [0]

    x, y = digits
    loader = DataLoader(TensorDataset(x, y), batch_sampler=Endless())
    assert preflight._with_one_alone(loader) is None


def test_a_generator_is_gone_through_once(flow_of, digits):
    x, y = digits
    sound = loaders(x, y)[1]

    class Spent(IterableDataset):
        def __init__(self):
            self.left = iter(list(zip(x, y, strict=True)))

        def __iter__(self):
            return self.left

    class AnewEachTime:
        def __iter__(self):
            self.left = iter(cut(x, y, lambda x, y: (x, y)))
            return self

        def __next__(self):
            return next(self.left)

    for spent in (iter(cut(x, y, lambda x, y: (x, y))), iter(sound), DataLoader(Spent(), 16)):
        flow = flow_of(spent, sound)
        with pytest.raises(UsageError, match=r"the training loader is a .*, empty after one pass of 2"):
            flow.run(epochs=2)
        flow.run(epochs=1)
        assert len(flow.arch.losses) == 1
        with pytest.raises(UsageError, match=r"the validation loader is a .*, empty after one pass of 2"):
            flow_of(sound, spent).run(epochs=1)
    flow_of(AnewEachTime(), AnewEachTime()).run(epochs=2)


MODELS = {
    "a class": (lambda: GenericCNN, "model is the class GenericCNN, expected a module"),
    "a name": (lambda: "generic_2", "model is 'generic_2', expected a module"),
    "nothing trainable": (lambda: linear().requires_grad_(False), "no parameter of the model can be trained"),
    "no parameters": (lambda: nn.Flatten(), "Flatten has no parameters"),
    "lazy layers": (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), r"Call model\(x\) with one batch first"),
    "no values": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3, device="meta")), "on the device meta"),
}


@pytest.mark.parametrize(("make", "said"), MODELS.values(), ids=MODELS)
def test_models_that_cannot_be_trained_are_refused(flow_of, digits, make, said):
    with pytest.raises(UsageError, match=said):
        flow_of(*loaders(*digits), make()).run(epochs=1)


OPTIMIZERS = {
    "LBFGS": (lambda model: torch.optim.LBFGS(model.parameters()), "LBFGS needs the loss several times per step"),
    "a number": (lambda _: 5, "optimizer = 5: expected a name"),
    "what makes none": (lambda _: dict, "optimizer = <class 'dict'>: "),
}


@pytest.mark.parametrize(("make", "said"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers_that_cannot_be_used_are_refused(flow_of, digits, make, said):
    model = linear()
    with pytest.raises(UsageError, match=said):
        flow_of(*loaders(*digits), model, optimizer=make(model)).run(epochs=1)


def test_an_optimizer_is_made_of_its_class_or_its_name(flow_of, digits):
    made = [
        flow_of(*loaders(*digits), optimizer=given).optimizer
        for given in (torch.optim.AdamW, "AdamW", functools.partial(torch.optim.SGD, momentum=0.9))
    ]
    assert [type(one).__name__ for one in made] == ["AdamW", "AdamW", "SGD"]
    assert [one.param_groups[0]["lr"] for one in made] == [0.01] * 3
    model = linear()
    arch = Architecture(model, nn.CrossEntropyLoss(), torch.optim.Adam, verbose=False)
    arch.set_loaders(*loaders(*digits))
    with pytest.raises(UsageError, match=r"optimizer is .*Adam.*Create one: torch.optim.Adam\(model.parameters\(\)\)"):
        arch.train(1)


def test_a_scheduler_that_nobody_calls_is_noted(flow_of, digits):
    model = linear()
    optimizer = torch.optim.Adam(model.parameters())
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    flow = flow_of(*loaders(*digits), model, optimizer=optimizer)
    flow.run(epochs=1)
    assert any("a scheduler of torch holds the optimizer" in note for note in flow.notes)


ARGUMENTS = {
    "lr as a text": ({"lr": "1e-3"}, r"lr = '1e-3': must be a number. Write 0\.001"),
    "lr below 0": ({"lr": -1}, "lr = -1: must be a finite number greater than 0"),
    "no seed": ({"seed": None}, "seed = None: must be a whole number"),
    "a seed below 0": ({"seed": -1}, "seed = -1: must be 0 or more"),
    "a huge seed": ({"seed": 2**63}, "must be less than 9,223,372,036,854,775,808"),
    "no such device": ({"device": "gpu"}, "device 'gpu': expected cpu"),
    "the device holds no values": ({"device": "meta"}, "device 'meta': expected cpu"),
    "names as a text": ({"class_names": "cat"}, "class_names = 'cat'"),
    "no folder": ({"results_dir": None}, "results_dir = None"),
    "a loss by name": ({"loss_fn": "cross_entropy"}, "loss_fn = 'cross_entropy'"),
}


@pytest.mark.parametrize(("options", "said"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_that_cannot_be_are_refused_at_the_door(flow_of, digits, options, said):
    with pytest.raises(UsageError, match=said):
        flow_of(*loaders(*digits), **options)


@pytest.mark.parametrize("epochs", ["1", 1.0, None, True, -1])
def test_epochs_that_cannot_be_are_refused(flow_of, digits, epochs):
    with pytest.raises(UsageError, match=r"n_epochs = "):
        flow_of(*loaders(*digits)).run(epochs=epochs)


def test_numbers_of_numpy_become_pythons_and_the_checkpoint_can_be_read(flow_of, digits):
    numbers = {"lr": np.float32(0.01), "seed": np.int64(7)}
    flow = flow_of(*loaders(*digits), generic(), **numbers)
    flow.run(epochs=np.int64(1))
    assert (type(flow.seed), type(flow.settings["lr"])) == (int, float)
    model = generic()
    own = torch.optim.Adam(model.parameters(), lr=np.float32(0.01), betas=(np.float64(0.9), np.float64(0.99)))
    other = flow_of(*loaders(*digits), model, "own", optimizer=own)
    other.run(epochs=1)
    (group,) = own.param_groups  # which states of a training keep too
    assert (type(group["lr"]), [type(beta) for beta in group["betas"]]) == (float, [float, float])
    other.arch.losses = [np.float32(loss) for loss in other.arch.losses]
    other.save_checkpoint()
    for made in (flow, other):
        path = made.results_dir / "model_checkpoint.pth"
        read = flow_of(*loaders(*digits), generic(), "read", load_checkpoint_path=path)
        assert read.arch.total_epochs == 1
        assert read.optimizer.param_groups[0]["lr"] == float(np.float32(0.01))


def test_a_class_index_and_too_many_known_names(flow_of, digits):
    flow = flow_of(*loaders(*digits), class_names={"two": 2, "zero": 0, "one": 1})
    assert flow.class_names == flow.arch.class_names == ("zero", "one", "two")
    arch = Architecture(
        linear(), nn.CrossEntropyLoss(), torch.optim.Adam(linear().parameters()), False, {"b": 1, "a": 0}
    )
    assert arch.class_names == ("a", "b")
    known = TensorDataset(*digits)
    known.classes = [f"digit {k}" for k in range(10)]
    flow = flow_of(DataLoader(Subset(known, range(32)), 16), DataLoader(Subset(known, range(48)), 16))
    flow.run(epochs=1)
    header = (flow.results_dir / "confusion_matrix.csv").read_text().splitlines()[0]
    assert header.split(",")[1:] == ["digit 0", "digit 1", "digit 2"]


def test_probabilities_are_said_to_be_none_of_logits(flow_of, digits):
    def told(*layers, **options):
        flow = flow_of(*loaders(*digits), nn.Sequential(linear(), *layers), **options)
        flow.run(epochs=1)
        run = json.loads((flow.results_dir / "run.json").read_text())
        return [note for note in run["notes"] if note.startswith("warning: ")]

    def of_probabilities(p, t):
        return F.nll_loss(p.log(), t)

    (warning,) = told(nn.Softmax(1), loss_fn=of_probabilities)
    assert "probabilities" in warning
    assert "loss, Brier score and calibration" in warning
    (warning,) = told(nn.Sigmoid())
    assert "ends with a sigmoid" in warning
    assert told(nn.LogSoftmax(1), loss_fn=nn.NLLLoss()) == told() == []


def test_gradients_that_are_switched_off_are_on_in_training(flow_of, digits):
    expected = flow_of(*loaders(*digits), generic())
    expected.find_best_lr(set_lr=False)
    expected.run(epochs=2)
    model, batches = generic(), loaders(*digits)
    for off in (torch.no_grad, torch.inference_mode):
        model = generic()
        with off():
            flow = flow_of(*batches, model, off.__name__)
            flow.find_best_lr(set_lr=False)
            flow.run(epochs=1)
            assert not torch.is_grad_enabled()
        flow.run(epochs=1)
        assert torch.equal(weights(flow), weights(expected))
    with torch.inference_mode():
        built = linear()
    with pytest.raises(UsageError, match=r"built within torch.inference_mode\(\)"):
        flow_of(*batches, built)


def test_another_default_kind_of_number_is_taken(flow_of, digits):
    before = flow_of(*loaders(*digits), generic())
    before.run(epochs=1)
    batches, same = loaders(*digits), generic()
    torch.set_default_dtype(torch.float64)
    try:
        doubled = flow_of(*batches, generic(), "doubled")
        doubled.find_best_lr(set_lr=False)
        doubled.run(epochs=1)
        later = flow_of(*batches, same, "later")
        later.run(epochs=1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert doubled.model.fc_layers[0].weight.dtype == torch.float64
    assert any("images are float32, weights float64" in note for note in doubled.notes)
    assert torch.equal(weights(later), weights(before))


def test_a_look_leaves_no_trace(flow_of, digits):
    """A train loader that counts, a model that counts, and global generators."""

    class Counted(DataLoader):
        begun = 0

        def __iter__(self):
            Counted.begun += 1
            return super().__iter__()

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside, self.passes = nn.Sequential(nn.Dropout(0.5), with_batch_norm()), []

        def forward(self, x):
            self.passes.append((self.training, len(x)))
            return self.inside(x)

    x, y = digits
    flow = flow_of(Counted(TensorDataset(x, y), 16, shuffle=True), loaders(x, y)[1], Counting())
    torch.manual_seed(5)
    np.random.seed(5)
    flow.train(2)
    assert (Counted.begun, flow.model.passes) == (2, ([(True, 16)] * 3 + [(False, 16)] * 3) * 2)
    drawn = torch.rand(1), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    assert drawn == (torch.rand(1), np.random.rand())


def test_when_the_evaluation_fails_the_weights_are_kept_and_named(flow_of, digits):
    x, y = digits
    test = [(x[:16], y[:16]), (x[16:32], y[16:32] + 7)]
    flow = flow_of(*loaders(x, y), test_loader=test)
    with pytest.raises(RunError, match=r"expected 0 to 2.*The weights are kept: .*skip_train=True") as caught:
        flow.run(epochs=1)
    assert flow.arch.total_epochs == 1
    left = flow.results_dir / "model_checkpoint.pth"
    assert str(left) in str(caught.value)
    assert (flow.results_dir / "model.safetensors").is_file()
    again = flow_of(*loaders(x, y), load_checkpoint_path=left)
    again.run(skip_train=True)
    assert torch.equal(weights(again), weights(flow))


def test_what_an_odd_model_does_not_let_draw_is_noted(flow_of, digits):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 2, 3), nn.Linear(72, 3)

        def forward(self, x):
            if torch.is_inference_mode_enabled() or len(x) == 10:
                raise KeyError("not so")
            return self.fc(self.conv(x).relu().flatten(1))

    flow = flow_of(*loaders(*digits), Odd())
    metrics = flow.run(epochs=1)
    run = json.loads((flow.results_dir / "run.json").read_text())
    assert run["metrics"]["accuracy"] == metrics.accuracy
    assert [note.partition(":")[0] for note in run["notes"][1:]] == [
        "intermediate_outputs.png was not made",
        "latency_ms was not made",
    ]


def test_a_model_with_several_outputs_trains_to_its_pictures(flow_of, digits):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = linear()

        def forward(self, x):
            return self.inside(x), x

    flow = flow_of(*loaders(*digits), Two(), loss_fn=lambda outputs, y: F.cross_entropy(outputs[0], y))
    plain = flow_of(*loaders(*digits), name="plain")
    assert flow.run(epochs=2) == plain.run(epochs=2)
    assert (flow.results_dir / "intermediate_outputs.png").is_file()
    maps = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1))
    flow_of(*loaders(*digits), maps, "maps").run(epochs=1)


def test_a_layer_by_its_name_alone(flow_of, digits):
    flow = flow_of(*loaders(*digits), generic())
    flow.run(layers="conv_layers.0", epochs=1)
    assert list(flow.arch.visualization) == ["conv_layers.0"]
    flow.arch.attach_hooks("fc_layers.0")
    flow.arch.predict(digits[0])
    flow.arch.remove_hooks()
    assert flow.arch.visualize_outputs("fc_layers.0").axes


def test_too_little_training_is_called_so(flow_of, digits):
    def said(**options):
        flow = flow_of(*(Batches(*digits, 16) for _ in range(2)), generic(), **options)
        flow.run(epochs=1)
        return json.loads((flow.results_dir / "run.json").read_text())["warnings"]

    assert said(lr=1e-5)
    assert all("too little training, 3 updates at learning rate 1e-05" in warning for warning in said(lr=1e-5))
    died = said(lr=10.0)
    assert any("units never fire" in warning for warning in died)
    assert all("a high learning rate" in warning for warning in died)
