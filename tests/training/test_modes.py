"""Modes for a while: put back in whichever way a block ends."""

import threading
from contextlib import contextmanager, suppress

import pytest
import torch
from torch import nn

from modelflow.training.modes import as_written, evaluating, one_thread


def test_each_submodule_has_its_own_mode_again():
    model = nn.Sequential(nn.Dropout(), nn.Dropout())
    model[1].eval()
    with suppress(KeyError), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module.training for module in model.modules()] == [True, True, False]


@pytest.mark.parametrize("first_out", [0, 1])
def test_a_model_in_eval_mode_for_two_stays_in_it_until_both_are_done(first_out):
    model = nn.Sequential(nn.Dropout(), nn.Dropout())
    model[1].eval()
    blocks = [evaluating(model), evaluating(model[0])]
    for block in blocks:
        block.__enter__()
    blocks.pop(first_out).__exit__(None, None, None)
    assert not model[0].training
    blocks.pop().__exit__(None, None, None)
    assert [module.training for module in model.modules()] == [True, True, False]


@contextmanager
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_a_new_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join(60)
    return found[0]


def test_torch_has_its_threads_again():
    with three_threads():
        with suppress(KeyError), one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 3


def test_other_threads_have_all_of_torchs_threads_meanwhile_and_afterwards():
    with three_threads():
        with one_thread():
            assert in_a_new_thread(torch.get_num_threads) == 3
        assert in_a_new_thread(torch.get_num_threads) == 3


class Within(threading.Thread):
    """A thread that is within `one_thread` until it is let go."""

    def __init__(self):
        super().__init__()
        self.entered, self.leave, self.found = threading.Event(), threading.Event(), []
        self.start()
        self.entered.wait(60)

    def run(self):
        with one_thread():
            self.found.append(torch.get_num_threads())
            self.entered.set()
            self.leave.wait(60)
        self.found.append(torch.get_num_threads())

    def let_go(self):
        self.leave.set()
        self.join(60)
        return self.found


@pytest.mark.parametrize("first_out", [0, 1])
def test_threads_within_at_once_each_have_their_own_number_again_whichever_ends_first(first_out):
    with three_threads():
        within = [Within(), Within()]
        assert within.pop(first_out).let_go() == [1, 3]
        assert in_a_new_thread(torch.get_num_threads) == 3
        assert within.pop().let_go() == [1, 3]
        assert in_a_new_thread(torch.get_num_threads) == torch.get_num_threads() == 3


@pytest.mark.parametrize("first_out", [0, 1])
def test_code_is_compiled_again_after_the_last_of_two_blocks_whichever_ends_first(first_out):
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    def compiles():
        before = len(graphs)
        torch._dynamo.reset()
        torch.compile(lambda x: x + 1, backend=backend)(torch.zeros(2))
        return len(graphs) > before

    assert compiles()
    blocks = [as_written(), as_written()]
    for block in blocks:
        block.__enter__()
    assert not compiles()
    blocks.pop(first_out).__exit__(None, None, None)
    assert not compiles()
    blocks.pop().__exit__(None, None, None)
    assert compiles()
