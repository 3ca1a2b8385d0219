"""Where a model trains. There is no accelerator here: what torch says of devices is replaced by answers of others."""

import itertools

import pytest
import torch

from modelflow import GenericCNN, ModelFlow, trace
from modelflow.data.batches import Batches
from modelflow.errors import UsageError
from modelflow.training.devices import Choice, check_device, choose_device, devices_here, in_words, reason_for_cuda

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)
MACHINES = (
    {"cpu": 1},
    {"cpu": 1, "cuda": 2},
    {"cpu": 1, "mps": 1},
    {"cpu": 1, "xpu": 1},
    {"cpu": 1, "cuda": 1, "xpu": 2},
)
INPUTS = list(itertools.product(MACHINES, (CPU, CUDA), ("", "the loss")))


@pytest.mark.parametrize(("here", "given", "unsupported_reason"), INPUTS)
def test_every_choice_without_a_wish(here, given, unsupported_reason):
    choice = choose_device(None, given, unsupported_reason, here)
    if given == CUDA:
        assert choice == (CUDA, "the model was already there")
    elif unsupported_reason and "cuda" in here:  # and never mps or xpu
        assert choice == (torch.device("cuda"), "the loss")
    else:
        assert choice.device == CPU


@pytest.mark.parametrize(("here", "given", "unsupported_reason"), INPUTS)
@pytest.mark.parametrize("asked", ["cpu", "cuda", "CUDA:1", "mps", "xpu:1", torch.device("cuda"), "cuda:7"])
def test_what_is_asked_for_is_taken_or_refused(here, given, unsupported_reason, asked):
    device = torch.device(str(asked).lower())
    if (device.index or 0) < here.get(device.type, 0):
        assert choose_device(asked, given, unsupported_reason, here) == (device, "asked for")
    else:
        with pytest.raises(UsageError, match=r"device '.*': torch sees cpu.* on this machine. Name one of these"):
            choose_device(asked, given, unsupported_reason, here)


@pytest.mark.parametrize("asked", ["gpu", "", "cuda:x", "meta", "cuda:-1", "0", "tpu", "vulkan"])
def test_unknown_devices_are_refused_with_those_that_are_known(asked):
    for here in (None, MACHINES[1]):
        with pytest.raises(UsageError, match=r"device '.*': expected cpu, cuda, cuda:N, mps, xpu or xpu:N"):
            check_device(asked, here)


def test_a_known_device_of_another_machine_is_fine_where_that_machine_trains():
    assert check_device("cuda:3") == torch.device("cuda", 3)
    assert check_device(2, {"cpu": 1, "cuda": 4}) == torch.device("cuda", 2)


def test_the_record_says_what_was_chosen_where_there_was_a_choice():
    def words(asked, unsupported_reason, here):
        return in_words(choose_device(asked, CPU, unsupported_reason, here), asked is not None, here)

    assert words(None, "", MACHINES[0]) == words(None, "the loss", MACHINES[0]) == []
    assert words("cpu", "", MACHINES[0]) == ["device cpu: asked for"]
    (said,) = words(None, "", MACHINES[1])
    assert said == "device cpu: the compiled step covers the run (also available with device= or --device: cuda)"
    assert words("cuda:1", "", MACHINES[1]) == ["device cuda:1: asked for"]


def test_what_torch_sees_is_counted(monkeypatch):
    assert devices_here()["cpu"] == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices_here()["cuda"] == 2


def test_reason_for_cuda_trains_what_the_compiled_step_cannot_or_takes_longer_for():
    assert reason_for_cuda("the loss", 0) == "the compiled step does not cover the run: the loss"
    assert reason_for_cuda("", 16 * 1_000_000) == ""
    assert reason_for_cuda("", 64 * 1_000_000) == "its steps of 64 million multiply-accumulates are faster there"


def test_of_networks_of_today_large_steps_are_cudas_and_no_step_of_the_cards_family(fashion, monkeypatch):
    reasons = []
    monkeypatch.setattr("modelflow.studies.parts.devices_here", lambda: {"cpu": 1, "cuda": 1})
    monkeypatch.setattr(
        "modelflow.studies.parts.choose_device", lambda _a, _g, reason, _h: reasons.append(reason) or Choice(CPU, "")
    )
    for network, batch in (("generic_3", 64), ("c8 m2 c16 gap fc", 16), ("c8 m2 c16 gap fc", 512)):
        loader = Batches(fashion.train_x_NCHW[:512], fashion.train_y_N[:512], batch, shuffle=True)
        ModelFlow(GenericCNN(network), loader, loader, verbose=False)
    assert reasons[:2] == ["", ""]
    millions = 512 * trace("c8 m2 c16 gap fc").macs / 1e6
    assert reasons[2] == f"its steps of {millions:.0f} million multiply-accumulates are faster there"
