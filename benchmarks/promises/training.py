"""What is measured around the compiled step: its overhead, runs side by side, evaluation, and how costs grow."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from promises.measure import (
    EPOCH,
    FEWER,
    LR,
    SEED,
    TESTS,
    Bare,
    Row,
    Scope,
    first_images,
    interleaved,
    summary,
    tell,
    timed,
)

from modelflow.compat.architecture import Architecture
from modelflow.kernels.layout import layout
from modelflow.kernels.network import Network
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.networks.trace import trace
from modelflow.results.settings import read_study
from modelflow.studies.engines.local import run_plans
from modelflow.studies.flow import ModelFlow
from modelflow.studies.plan import Event, plans
from modelflow.training.compiled import CompiledStep

BATCHES = (16, 64)
CARD_EPOCHS = 10
TENTH = 10
ROUND_SECONDS = 0.6  # a round of short epochs is several of them
TOGETHER = ("cnn2_5", "generic_1", "generic_3")
TOGETHER_SECONDS = 2.0
PATIENCE = 600.0
GROWING = "generic_2"
SHARES = (1 / 12, 1 / 6, 1 / 3, 2 / 3, 1)  # of 60,000 images: 5,000, 10,000, 20,000, 40,000 and all
EPOCHS, SEEDS, REPEATS = (1, 2, 4, 8), (1, 2, 4), 3


def overhead(scope: Scope) -> Iterator[Row]:
    """What training by `ModelFlow` adds to its step: ten epochs by the default protocol.

    A twelfth of the images is held out and evaluated after each epoch; progress is told of, states and the checkpoint
    are written; range test, test images, pictures and tables are not in it. The step is what one call of the kernels
    takes, about a second's worth, parameters brought into their order and back. By one thread, as runs side by side,
    `evaluation_percent` and `outside_percent` (neither step nor evaluation) are of the same seconds as the step. By two,
    as a run alone, the second thread evaluates while the first trains on; what that adds is against the step by one
    thread in the same round, so that where both get in each other's way it counts, or by two where the step is shared.
    """
    step, evaluation = Clock(), Clock()
    with (
        patch.object(Network, "train", step.around(Network.train)),
        patch.object(Network, "logits", evaluation.around(Network.logits)),
    ):
        for model in scope.models:
            for batch in BATCHES:
                for row in _overhead(scope, model, batch, step, evaluation):
                    yield {"model": model, "batch": batch} | row


class Clock:
    """The seconds spent within some function, whoever calls it."""

    def __init__(self) -> None:
        self.inside = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its seconds counted."""

        @wraps(function)
        def counted(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.inside += time.perf_counter() - start

        return counted


def _overhead(scope: Scope, model: str, batch: int, step: Clock, evaluation: Clock) -> Iterator[Row]:
    loaders = first_images(scope.images).held_out_loaders(batch)
    flow, spent = _flow(scope, model, loaders[:2]), {threads: [] for threads in (1, 2)}
    train = _told(flow.arch, lambda: flow.train(CARD_EPOCHS))

    def by(threads: int) -> float:
        flow.arch.threads = lambda: threads
        before = step.inside, evaluation.inside
        seconds = train()
        spent[threads].append((seconds, step.inside - before[0], evaluation.inside - before[1]))
        return seconds

    interleaved(scope.few if model in FEWER else scope.rounds, {threads: partial(by, threads) for threads in spent})
    whole, bare, evaluated = np.array([spent[1][1:], spent[2][1:]]).transpose(2, 0, 1)  # each: threads x rounds
    shared = layout(trace(preset(model)), 1).has_large
    sizes = {"images": loaders[0].images, "held_out": loaders[1].images, "epochs": CARD_EPOCHS}
    yield sizes | {
        "threads": 1,
        "step_us_an_image": summary(bare[0] / loaders[0].images / CARD_EPOCHS * 1e6),
        "evaluation_percent": summary(evaluated[0] / bare[0] * 100),
        "outside_percent": summary((whole[0] - evaluated[0]) / bare[0] * 100 - 100),
        "added_percent": summary(whole[0] / bare[0] * 100 - 100),
    }
    yield sizes | {"threads": 2, "added_percent": summary(whole[1] / bare[int(shared)] * 100 - 100)}


def _flow(scope: Scope, model: str, loaders: Any) -> ModelFlow:
    flow = ModelFlow(GenericCNN(preset(model), SEED), *loaders, model, lr=LR, seed=SEED, verbose=False)
    flow.results_dir = scope.folder / model
    return flow


def _told(arch: Architecture, train: Callable[[], None]) -> Callable[[], float]:
    """The seconds of `train`, which tells of each epoch as a run of a study does: into a queue between processes."""
    events, steps = multiprocessing.get_context("spawn").Queue(), len(arch.train_loader)

    def told(epoch: int, step: int, loss: float) -> None:
        if step == steps:
            events.put(Event("a model, seed 42", epoch - 1 + step / steps, epoch, loss))

    def run() -> float:
        seconds = timed(train)()
        while not events.empty():
            events.get()
        return seconds

    arch.on_step = told
    return run


def steady(scope: Scope) -> Iterator[Row]:
    """A run's tenth epoch, with its evaluation, against its second: whether steps grow slower as a training goes on.

    By each engine, on one thread; by autograd, and of generic_3, on a tenth of the images, which are still 375 steps.
    """
    for model in scope.models:
        for engine, kind in (("compiled step", GenericCNN), ("autograd", ByAutograd)):
            count = scope.images // (FEWER.get(model, 1) if kind is GenericCNN else TENTH)
            loaders = first_images(count).held_out_loaders(BATCHES[0])[:2]
            rounds = scope.few if model in FEWER or kind is ByAutograd else scope.rounds
            taken = np.array([_epochs_of_a_run(model, kind, loaders) for _ in range(rounds)])
            yield {
                "model": model,
                "engine": engine,
                "images": loaders[0].images,
                "second_us_an_image": summary(taken[:, 1] / loaders[0].images * 1e6),
                "tenth_us_an_image": summary(taken[:, -1] / loaders[0].images * 1e6),
                "tenth_of_second": summary(taken[:, -1] / taken[:, 1]),
            }


class ByAutograd(GenericCNN):
    """The same network, which the compiled step does not take."""

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        return super().forward(x_NCHW)


def _epochs_of_a_run(model: str, kind: type[GenericCNN], loaders: Any) -> Any:
    """The seconds of each of a new run's ten epochs."""
    arch = Architecture(
        network := kind(preset(model), SEED), torch.nn.CrossEntropyLoss(), _adam(network), verbose=False
    )
    arch.set_loaders(*loaders)
    arch.threads = lambda: 1
    ends = [time.perf_counter()]
    for _ in range(CARD_EPOCHS):
        arch.train(1, seed=SEED)
        ends.append(time.perf_counter())
    return np.diff(ends)


def _adam(network: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), LR, fused=True)


def evaluation_share(scope: Scope) -> Iterator[Row]:
    """Evaluating 10,000 images against the step's 60,000: its kernel, after each epoch, and at the end."""
    for model in scope.models:
        for batch in BATCHES:
            data = scope.data(model)
            bare, tests = Bare(model, batch, data), data.loaders(batch)[1]
            network = GenericCNN(preset(model), SEED)
            adam = _adam(network)
            step, arch = (
                CompiledStep(network, torch.nn.CrossEntropyLoss(), adam, None),
                Architecture(network, torch.nn.CrossEntropyLoss(), adam),
            )
            contenders = {
                "kernel": timed(bare.evaluate),
                "after_each_epoch": timed(lambda step=step, tests=tests: step.mean_loss(tests)),
                "at_the_end": timed(lambda arch=arch, tests=tests: arch.predictions(tests)),
            }
            repeats = bare.epochs_in(ROUND_SECONDS)
            taken = interleaved(scope.rounds, contenders | {"epoch": timed(bare.train)}, repeats)
            scale = (TESTS / len(bare.tests)) / (EPOCH / len(bare.labels))
            shares = {f"{name}_share": summary(taken[name] / taken["epoch"] * scale) for name in contenders}
            yield {"model": model, "batch": batch, "images": len(bare.labels)} | shares


def side_by_side(scope: Scope) -> Iterator[Row]:
    """Two processes that train at once against the same two one after the other: `ModelFlow`, its states and checkpoint."""
    for model in (model for model in TOGETHER if model in scope.models):
        epochs = Bare(model, BATCHES[0], scope.data(model)).epochs_in(TOGETHER_SECONDS)
        with _workers(scope, model, epochs) as pipes:
            rounds = [(sum(_train(pipe) for pipe in pipes), _train(*pipes)) for _ in range(scope.rounds + 1)]
        apart, together = np.array(rounds[1:]).T
        yield {
            "model": model,
            "epochs": epochs,
            "one_after_the_other_seconds": summary(apart),
            "at_once_seconds": summary(together),
            "speedup": summary(apart / together),
        }


@contextmanager
def _workers(scope: Scope, model: str, epochs: int) -> Iterator[list[Any]]:
    """Pipes to two processes, started as a study starts them, that train when they are told to."""
    context = multiprocessing.get_context("spawn")
    barrier, pairs = context.Barrier(2), [context.Pipe() for _ in range(2)]
    apart = [replace(scope, folder=scope.folder / f"side {i}") for i in range(2)]
    processes = [
        context.Process(target=_work, args=(own, model, epochs, end, barrier))
        for own, (_, end) in zip(apart, pairs, strict=True)
    ]
    for process in processes:
        process.start()
    for _, end in pairs:
        end.close()
    try:
        yield [pipe for pipe, _ in pairs]
    finally:
        for pipe, _ in pairs:
            pipe.close()
        for process in processes:
            process.join()


def _work(scope: Scope, model: str, epochs: int, pipe: Any, barrier: Any) -> None:
    torch.set_num_threads(1)  # as a run of a study: torch's other thread would spin on the core of the other run
    flow = _flow(scope, model, scope.data(model).loaders(BATCHES[0]))
    flow.arch.threads = lambda: 1  # as a study trains runs side by side
    with suppress(EOFError):  # the end, when the other side closes the pipe
        while True:
            if pipe.recv() > 1:
                barrier.wait(PATIENCE)
            start = time.perf_counter()
            flow.train(epochs)
            pipe.send((start, time.perf_counter()))


def _train(*pipes: Any) -> float:
    """Seconds from the first start to the last end of the processes at these pipes."""
    for pipe in pipes:
        pipe.send(len(pipes))
    starts, ends = zip(*(pipe.recv() for pipe in pipes), strict=True)
    return max(ends) - min(starts)


def linearity(scope: Scope) -> Iterator[Row]:
    """How costs grow with images, epochs, runs, and the size of the network; a straight line through the medians."""
    yield _line("images", "s", _against_images(scope))
    yield _line("epochs", "s", _against_epochs(scope))
    yield _line("runs, one after the other", "s", _against_runs(scope))
    yield from _against_size(scope)


def _against_images(scope: Scope) -> dict[int, Any]:
    counts = [round(scope.images * share) for share in SHARES]
    flows = {count: _flow(scope, GROWING, first_images(count).loaders()) for count in counts}
    contenders = {count: _told(flow.arch, lambda flow=flow: flow.train(1)) for count, flow in flows.items()}
    return interleaved(scope.rounds, contenders, REPEATS)


def _against_epochs(scope: Scope) -> dict[int, Any]:
    flow = _flow(scope, GROWING, first_images(scope.images // 3).loaders())
    return interleaved(scope.rounds, {n: _told(flow.arch, lambda n=n: flow.train(n)) for n in EPOCHS})


def _against_runs(scope: Scope) -> dict[int, Any]:
    def train(runs: int) -> None:
        study = read_study(None, models=[GROWING], seeds=list(range(SEED, SEED + runs)), epochs=1)
        anew = Path(tempfile.mkdtemp(dir=scope.folder))  # what is finished would not be trained again
        for planned, outcome in run_plans(plans(study, anew), lambda _event: None, 1):
            tell(f"  {planned.title}: accuracy {outcome.metrics.accuracy:.2%}")

    return interleaved(scope.few, {n: timed(lambda n=n: train(n)) for n in SEEDS})


def _line(against: str, unit: str, taken: dict[int, Any]) -> Row:
    sizes, medians = np.array(list(taken)), np.array([np.median(values) for values in taken.values()])
    slope, begin = np.polyfit(sizes, medians, 1)
    fitted = slope * sizes + begin
    return {
        "cost": f"{GROWING}: {unit} against {against}",
        "points": {f"{size:,}": summary(values) for size, values in taken.items()},
        "each": slope,
        "fixed": begin,
        "r_squared": f"{1 - np.var(medians - fitted) / np.var(medians):.5f}",
        "largest_residual_percent": _largest(medians, fitted),
    }


def _largest(values: Any, fitted: Any) -> float:
    return float(np.abs(fitted / values - 1).max() * 100)


def _against_size(scope: Scope) -> Iterator[Row]:
    """us an image of one call of the step, fitted by what costs: relative residuals, as sizes differ a hundredfold."""
    bares = {model: Bare(model, BATCHES[0], scope.data(model)) for model in scope.models}
    repeats = {model: bare.epochs_in(ROUND_SECONDS / 2) for model, bare in bares.items()}
    points, sizes = {}, []
    for model, bare in bares.items():
        taken = interleaved(scope.rounds, {"step": timed(bare.train)}, repeats[model])["step"]
        points[model] = summary(taken / len(bare.labels) * 1e6)
        traced = trace(preset(model))
        sizes.append((1, traced.macs, traced.parameters / BATCHES[0]))
    costs = np.array([point["median"] for point in points.values()])
    for name, columns in (("MACs", 2), ("MACs and parameters an image", 3)):
        by = np.array(sizes, float)[:, :columns]
        factors, *_ = np.linalg.lstsq(by / costs[:, None], np.ones(len(costs)), rcond=None)
        fitted = by @ factors
        yield {
            "cost": f"the presets, batch {BATCHES[0]}: us an image against {name}",
            "points": points,
            "each": " and ".join(f"{factor * 1e3:.3g} ns" for factor in factors[1:]),
            "fixed": factors[0],
            "r_squared": f"{1 - np.var(costs - fitted) / np.var(costs) if len(costs) > 1 else 1:.5f}",
            "largest_residual_percent": _largest(costs, fitted),
        }
