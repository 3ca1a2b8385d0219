"""The compiled step against the best-tuned eager PyTorch, interleaved; medians of the ratios a round, with their range.

    python bench_step.py [--rounds 7] [--batches 16 64 256] [--models generic_2 ...] [--json out.json]

Tuned PyTorch is, in each round, the fastest of 1 or 2 threads x channels_last or not, each with fused Adam,
pre-normalised tensors in memory and index_select by a shuffled order; ours is one thread, a call as the training loop
makes it (packing and unpacking of the parameters included). Both do the same number of updates of the same model on the same images.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from modelflow.kernels.network import Settings, State, compiled
from modelflow.models.build import GenericCNN
from modelflow.presets import CARD, preset
from modelflow.shapes import trace

IMAGES = {16: 1600, 64: 3200, 256: 6400}
EVALUATED = 2000


class Torch:
    """One eager loop."""

    def __init__(self, name, threads, layout, x, y):  # type: ignore[no-untyped-def]
        self.threads = threads
        self.model = GenericCNN(preset(name)).to(memory_format=layout)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 3e-4, fused=True)
        self.x, self.y = x.to(memory_format=layout), y

    def train(self, order, batch):  # type: ignore[no-untyped-def]
        torch.set_num_threads(self.threads)
        self.model.train()
        start = time.perf_counter()
        for i in range(0, len(order), batch):
            chosen = order[i : i + batch]
            loss = F.cross_entropy(self.model(self.x.index_select(0, chosen)), self.y.index_select(0, chosen))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - start

    def evaluate(self):  # type: ignore[no-untyped-def]
        torch.set_num_threads(self.threads)
        self.model.eval()
        start = time.perf_counter()
        with torch.inference_mode():
            for i in range(0, EVALUATED, 1000):
                self.model(self.x[i : i + 1000])
        return time.perf_counter() - start


def measure(name, batches, rounds, threads_tried):  # type: ignore[no-untyped-def]
    x, y = torch.randn(6400, 1, 28, 28), torch.randint(0, 10, (6400,))
    network = compiled(trace(preset(name)), print)
    flat = torch.cat([p.detach().ravel() for p in GenericCNN(preset(name)).parameters()]).numpy().copy()
    state = State(flat, np.zeros_like(flat), np.zeros_like(flat))
    loops = [
        Torch(name, threads, layout, x, y)
        for threads in threads_tried
        for layout in (torch.contiguous_format, torch.channels_last)
    ]
    images, labels = x.numpy(), y.numpy()
    rows = []
    for batch in batches:
        count = IMAGES[batch] // (4 if name == "generic_3" and batch < 256 else 1)
        order = torch.randperm(6400)[:count]
        ours, theirs, evaluation, torch_evaluation = [], [], [], []
        for round_number in range(rounds + 1):
            start = time.perf_counter()
            network.train(images, labels, order.numpy(), batch, state, Settings(lr=3e-4), round_number)
            mine = time.perf_counter() - start
            others = [loop.train(order, batch) for loop in loops]
            start = time.perf_counter()
            network.logits(images[:EVALUATED], flat)
            seen = time.perf_counter() - start
            torch_seen = min(loop.evaluate() for loop in loops)
            if round_number:  # the first one warms up
                ours.append(mine / count * 1e6)
                theirs.append([t / count * 1e6 for t in others])
                evaluation.append(seen / EVALUATED * 1e6)
                torch_evaluation.append(torch_seen / EVALUATED * 1e6)
        ratios = [min(t) / m for t, m in zip(theirs, ours, strict=True)]
        row = {
            "model": name,
            "batch": batch,
            "rounds": rounds,
            "ours_us": statistics.median(ours),
            "ours_best_us": min(ours),
            "torch_us": [statistics.median(c) for c in zip(*theirs, strict=True)],
            "torch_best_us": min(min(t) for t in theirs),
            "ratio": statistics.median(ratios),
            "ratio_range": [min(ratios), max(ratios)],
            "ratio_of_bests": min(min(t) for t in theirs) / min(ours),
            "evaluation_us": statistics.median(evaluation),
            "evaluation_share": statistics.median(
                e * 10_000 / (m * 60_000) for e, m in zip(evaluation, ours, strict=True)
            ),
            "evaluation_ratio": statistics.median(t / e for t, e in zip(torch_evaluation, evaluation, strict=True)),
            "load": os.getloadavg()[0],
        }
        rows.append(row)
        print(
            f"{name:10s} batch {batch:3d}: ours {row['ours_us']:7.2f} (best {row['ours_best_us']:7.2f}) us/image, PyTorch "
            + "/".join(f"{t:.0f}" for t in row["torch_us"])
            + f" (best {row['torch_best_us']:.0f}): {row['ratio']:.1f}x [{min(ratios):.1f}, {max(ratios):.1f}], bests "
            f"{row['ratio_of_bests']:.1f}x; evaluation {row['evaluation_us']:.2f} us/image, {row['evaluation_share']:.3f} of an "
            f"epoch, {row['evaluation_ratio']:.1f}x PyTorch; load {row['load']:.1f}",
            flush=True,
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="*", default=[16, 64, 256])
    parser.add_argument("--models", nargs="*", default=list(CARD))
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2], help="of PyTorch")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    table = [
        row
        for name in arguments.models
        for row in measure(name, arguments.batches, arguments.rounds, arguments.threads)
    ]
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(table, indent=1))
