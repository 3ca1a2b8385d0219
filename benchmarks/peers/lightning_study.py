"""The card's study under Lightning: `python -m peers.lightning_study RESULTS EPOCHS THREADS.json SECONDS.json TRAINER`.

Each model is trained by Lightning with a validation pass each epoch; TRAINER is `usual`, with a progress bar, a CSV logger
and a checkpoint each epoch, as ours has them too, or `barebones`, with none of these, Lightning's fastest. The learning rate range test, all pictures and all
tables are ModelFlow's own, so that both studies leave the same files. SECONDS.json gets each model's training seconds.
"""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from modelflow.errors import RunError
from modelflow.results.settings import read_study
from modelflow.studies.pages import write_study
from modelflow.studies.plan import Plan
from modelflow.studies.resolved import resolved
from modelflow.studies.run import SEARCH_FROM, make_flow
from peers import lightning as quiet  # noqa: F401  its import silences Lightning
from peers.contender import BETAS, EPS, EVALUATED_AT_ONCE, LR


class Module(LightningModule):
    """The model of a flow, and the mean losses that its history wants."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.losses: list[float] = []
        self.val_losses: list[float] = []
        self.sums = {"train": [0.0, 0], "val": [0.0, 0]}

    def _loss(self, batch: tuple[Tensor, Tensor], part: str) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(self.model(x), y)
        if self.trainer.logger is not None:
            self.log(f"{part}_loss", loss)
        self.sums[part][0] += loss.detach() * len(x)
        self.sums[part][1] += len(x)
        return loss

    def _mean(self, part: str) -> float:
        total, images = self.sums[part]
        self.sums[part] = [0.0, 0]
        return float(total) / images

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self._loss(batch, "train")

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._loss(batch, "val")

    def on_train_epoch_end(self) -> None:
        self.losses.append(self._mean("train"))

    def on_validation_epoch_end(self) -> None:
        self.val_losses.append(self._mean("val"))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), LR, BETAS, EPS, fused=True)


def make_trainer(kind: str, epochs: int, folder: Path) -> Trainer:
    if kind == "barebones":
        return Trainer(max_epochs=epochs, accelerator="cpu", barebones=True)
    records = {"logger": CSVLogger(folder), "default_root_dir": folder}
    return Trainer(max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0, **records)


def train(flow: Any, plan: Plan, threads: int, kind: str) -> float:
    """Trains the model of a flow by Lightning, and gives the flow its history; the seconds of all epochs."""
    torch.set_num_threads(threads)
    train_set, val_set = flow.arch.train_loader.dataset, flow.arch.val_loader.dataset
    module, epochs = Module(flow.model), plan.settings.epochs
    trainer = make_trainer(kind, epochs, plan.folder.parent / "lightning" / plan.model_name)
    loaders = (DataLoader(train_set, plan.settings.batch_size, shuffle=True), DataLoader(val_set, EVALUATED_AT_ONCE))
    start = time.perf_counter()
    trainer.fit(module, *loaders)
    seconds = time.perf_counter() - start
    flow.arch.losses, flow.arch.val_losses, flow.arch.total_epochs = module.losses, module.val_losses, epochs
    return seconds


def run_study(where: Path, epochs: int, threads: dict[str, int], kind: str) -> dict[str, float]:
    study = read_study(None, epochs=epochs, protocol="card")
    seconds = {}
    whole = resolved(study, where, None, None)
    for plan in whole.planned:
        flow = make_flow(plan)
        torch.set_num_threads(threads[plan.model_name])
        with suppress(RunError):  # a curve that suggests nothing, as in a study
            flow.find_best_lr(set_lr=False, start_lr=SEARCH_FROM)
        seconds[plan.model_name] = train(flow, plan, threads[plan.model_name], kind)
        flow.run(skip_train=True)
    write_study(whole)
    return seconds


if __name__ == "__main__":
    results_folder, epoch_count, threads_file, seconds_file, trainer_kind = sys.argv[1:]
    chosen = json.loads(Path(threads_file).read_text())
    taken = run_study(Path(results_folder), int(epoch_count), chosen, trainer_kind)
    Path(seconds_file).write_text(json.dumps(taken))
