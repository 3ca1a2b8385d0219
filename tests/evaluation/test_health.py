"""Dead runs are called dead, living ones are not; dead units are counted."""

import numpy as np
import pytest
import torch
from torch import nn

from modelflow.compat.architecture import Architecture
from modelflow.data.batches import Batches
from modelflow.evaluation.health import dead_units, likely_cause, prediction_warnings, unit_warnings
from modelflow.evaluation.signs import is_sign_of_death
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.results.records import Run
from modelflow.studies.measured import NOT_TRAINED
from modelflow.training.cross_entropy import cross_entropy
from modelflow.training.optimizers import make_optimizer
from modelflow.training.predict import predict

NAMES = tuple("abcdefghij")


@pytest.fixture
def warnings_of(fashion):
    """Trains generic_2 on 3,000 images with an optimizer and learning rate; the warnings of its health."""

    def train(optimizer, lr, epochs=2):
        model = GenericCNN(preset("generic_2"), 42)
        arch = Architecture(
            model, nn.CrossEntropyLoss(), make_optimizer(optimizer, model.parameters(), lr), verbose=False
        )
        arch.set_loaders(Batches(fashion.train_x_NCHW[:3000], fashion.train_y_N[:3000], 16, shuffle=True))
        arch.train(epochs)
        logits_NK, y_N = predict(model, Batches(fashion.test_x_NCHW[:1000], fashion.test_y_N[:1000], 500), "cpu")
        dead = dead_units(model, fashion.test_x_NCHW[:1000])
        loss = cross_entropy(logits_NK, y_N)
        return prediction_warnings(logits_NK.argmax(1), y_N, loss, fashion.class_names) + unit_warnings(dead)

    return train


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 10.0), ("adam", 1.0)])
def test_a_run_that_a_learning_rate_has_killed_is_called_so(warnings_of, optimizer, lr):
    warnings = warnings_of(optimizer, lr)
    assert any("of the images are called '" in warning for warning in warnings)
    assert any("is no better than guessing (2." in warning for warning in warnings)
    assert any("units never fire" in warning for warning in warnings)
    assert all(map(is_sign_of_death, warnings))
    assert all("The likely cause is a high learning rate: try one" in warning for warning in warnings)


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 3e-4), ("adam", 5e-3), ("sgd", 0.05)])
def test_a_healthy_run_is_not(warnings_of, optimizer, lr):
    assert warnings_of(optimizer, lr) == []


@pytest.fixture
def hand_made():
    """Two hidden layers: 2 of 4 channels and 1 of 3 units are dead by their bias."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 3), nn.ReLU(), nn.Linear(3, 2)
    )
    with torch.no_grad():
        for layer, dead in ((model[0], [0, 2]), (model[3], [1])):
            layer.bias.fill_(1e4)
            layer.bias[dead] = -1e9
        model[5].bias.fill_(-1e9)
    return model


def test_dead_units_are_counted_in_hidden_layers(hand_made, fashion):
    hand_made[3].eval()
    assert dead_units(hand_made, fashion.test_x_NCHW[:50]) == {"0": (2, 4), "3": (1, 3)}
    assert [module.training for module in hand_made] == [True, True, True, False, True, True]
    assert not any(module._forward_hooks for module in hand_made.modules())


def test_a_unit_that_fires_for_one_image_alone_is_alive():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 2), nn.ReLU(), nn.Linear(2, 2))
    x_NCHW = torch.zeros(100, 1, 28, 28)
    x_NCHW[63, 0, 3, 3] = 1.0
    with torch.no_grad():
        model[1].weight.fill_(1.0)
        model[1].bias.copy_(torch.tensor([-0.5, -1.5]))
    assert dead_units(model, x_NCHW) == {"1": (1, 2)}


def test_hooks_come_off_when_the_forward_raises(hand_made):
    with pytest.raises(RuntimeError):
        dead_units(hand_made, torch.zeros(2, 1, 9, 9))
    assert hand_made.training
    assert not any(module._forward_hooks for module in hand_made.modules())


def test_half_of_a_layer_is_a_warning_and_less_is_none():
    assert unit_warnings({"fc": (4, 9), "conv": (0, 1)}) == []
    (warning,) = unit_warnings({"fc": (5, 9)})
    assert warning.startswith("fc: 5 of 9 units never fire. The likely cause")


def even(n=1000):
    return np.arange(n) % 10


def test_one_class_for_nearly_all_images_is_a_warning_unless_nearly_all_are_of_it():
    predicted_N = np.where(np.arange(1000) < 960, 7, even())
    (warning,) = prediction_warnings(predicted_N, even(), 0.5, NAMES)
    assert warning.startswith("96% of the images are called 'h'")
    assert is_sign_of_death(warning)
    assert prediction_warnings(np.where(np.arange(1000) < 900, 7, even()), even(), 0.5, NAMES) == []
    assert prediction_warnings(np.full(1000, 7), predicted_N, 0.05, NAMES) == []


def shuffled(labels_N):
    return np.random.default_rng(0).permutation(labels_N)


@pytest.mark.parametrize(("loss", "warned"), [(2.30, True), (2.27, True), (2.2, False), (np.inf, True)])
def test_a_loss_like_guessing_is_a_warning(loss, warned):
    assert bool(prediction_warnings(shuffled(even()), even(), loss, NAMES)) == warned


def test_an_overconfident_model_that_is_mostly_right_is_not_dead():
    predicted_N = np.where(np.arange(1000) < 700, even(), shuffled(even()))
    assert prediction_warnings(predicted_N, even(), 5.0, NAMES) == []


def test_guessing_knows_how_frequent_the_classes_are():
    y_N = (np.arange(1000) < 100).astype(int)
    (warning,) = prediction_warnings(shuffled(y_N), y_N, 0.33, NAMES[:2])
    assert warning.startswith("the loss 0.330 is no better than guessing (0.325)")
    assert prediction_warnings(shuffled(y_N), y_N, 0.31, NAMES[:2]) == []


GUESS = float(np.log(10))
CAUSES = {
    "a few updates": (([2.3], 4, 3e-4, 2.31, False), "too little training, 4 updates at learning rate 0.0003"),
    "weights that hardly moved": (([2.3], 900, 1e-5, 2.31, True), "too little training, 900 updates"),
    "a loss that falls": (([2.5, 2.3, 2.2], 9000, 3e-4, 2.26, False), "too little training, 9,000 updates"),
    "a loss that falls, of a stream": (([2.5, 2.3], None, 3e-4, 2.26, False), "too little training, 2 epochs"),
    "units that died": (([2.31, 2.303], 3000, 3e-2, 2.303, True), "high learning rate"),
    "a loss that grew": (([50.0, 2.31], 3000, 3e-2, 2.303, False), "high learning rate"),
    "a loss that is huge": (([2.31], 3000, 3e-2, 80.0, False), "high learning rate"),
    "constant, nothing else": (([2.303, 2.303], 9000, 3e-4, 2.303, False), "The cause is not clear"),
    "learnt, but not these": (([1.5, 0.1], 9000, 3e-4, 6.0, False), "The training loss is 0.100, so these images"),
    "another loss": (([], 9000, 3e-4, 2.303, False), "The cause is not clear"),
}


@pytest.mark.parametrize(("evidence", "said"), CAUSES.values(), ids=CAUSES)
def test_the_likely_cause_follows_the_evidence(evidence, said):
    losses, updates, lr, loss, dead = evidence
    assert said in likely_cause(losses, updates, lr, loss, GUESS, dead)


def test_warnings_begin_as_ever_whatever_the_cause():
    one_class = prediction_warnings(np.full(1000, 7), even(), 2.31, NAMES, "because")
    assert one_class == [
        "100% of the images are called 'h'. because",
        "the loss 2.310 is no better than guessing (2.303). because",
    ]
    assert unit_warnings({"fc": (5, 9)}, "because") == ["fc: 5 of 9 units never fire. because"]


def test_images_of_a_single_class_say_nothing_about_the_loss():
    assert prediction_warnings(np.zeros(50, int), np.zeros(50, int), 0.01, NAMES) == []


def test_a_run_with_any_of_these_warnings_has_died_and_one_with_others_has_not():
    found = prediction_warnings(np.full(1000, 7), even(), 2.31, NAMES) + unit_warnings({"fc": (5, 9)})
    assert [Run.model_construct(warnings=(warning,)).died for warning in found] == [True] * 3
    assert not Run.model_construct(warnings=()).died
    assert not Run.model_construct(warnings=(NOT_TRAINED, "another warning")).died
