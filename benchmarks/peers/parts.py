"""The parts of the bench: each measures, tells how far it is, and leaves a JSON file."""

import json
import shutil
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from modelflow.networks.resolve import CARD, preset
from modelflow.networks.trace import trace
from peers.network import initial, network
from peers.process import HERE, VARIANTS, Peer, Worker, environment, rotated
from peers.record import Record

TRAINING_IMAGES = 60_000
LARGE = ("generic_3",)  # a quarter of the images
SETTLED = 1200  # steps before anything is measured: Adam's averages of what has no gradient are denormal after some 800
TUNING = 200  # steps of each way in turn
OURS = "modelflow"
FLOPS = "2 flops a multiply-add; forward, weight and input gradients: 2 * (3 * MACs - MACs of the first layer)"

ACCURACY_MODELS, ACCURACY_BATCH, ACCURACY_EPOCHS = ("generic_2",), 64, 2
CHECK_MODELS, CHECK_IMAGES, CHECK_UPDATES, CHECK_TOLERANCE = ("generic_2", "cnn2_5", "generic_1"), 256, 8, 0.005
STUDY_BATCH, STUDY_IMAGES = 16, 1600
STUDIES = ("modelflow", "lightning, usual", "lightning, barebones")
CARD_EPOCHS = 10


def calibration(options: Namespace) -> None:
    """What the machine gives, alone; every part measures it at its beginning and end as well."""
    Record("calibration", options.out, options.data).end()


def check(options: Namespace) -> None:
    """The same initial weights, no dropout, the same updates: the logits must come out as plain PyTorch's do.

    Each update is one batch of all images, so that the order does not matter. Keras is the furthest off, since its Adam
    adds epsilon before the correction of the bias: with an epsilon of 1e-13 it differs no more than the others do.
    """
    record = Record("check", options.out, options.data, images=CHECK_IMAGES, updates=CHECK_UPDATES)
    scratch = options.out / "scratch"
    scratch.mkdir(exist_ok=True)
    names = ("torch_plain", *(name for name in options.contenders if name != "torch_plain"))
    for model in CHECK_MODELS:
        weights = scratch / f"{model}.npz"
        arrays = initial(network(model), seed=1)
        np.savez(weights, *arrays)
        if sum(a.size for a in arrays) != trace(preset(model)).parameters:
            raise RuntimeError(f"{model}: the peers' parameters are not as many as the trace's")
        expected = None
        for name in names:
            logits = _trained_logits(options, name, model, weights)
            expected = logits if expected is None else expected
            difference = float(np.abs(logits - expected).max())
            moved = float(np.abs(expected).max())
            record.add({"model": model, "contender": name, "difference": difference, "largest_logit": moved})
            record.say(f"{model}, {name}: logits differ by at most {difference:.2e} of {moved:.2f}")
            if not difference < CHECK_TOLERANCE:
                raise RuntimeError(f"{name} does not train {model} as PyTorch does")
    record.end()


def _trained_logits(options: Namespace, name: str, model: str, weights: Path) -> np.ndarray:
    path = weights.with_name("logits.npy")
    worker = Worker(name, options.data, _log(options, name), VARIANTS[name][0])
    worker.ask("prepare", model=model, batch=CHECK_IMAGES, seed=1, p=0.0)
    worker.ask("load", path=str(weights))
    for _ in range(CHECK_UPDATES):
        worker.ask("train", images=CHECK_IMAGES)
    worker.ask("evaluate", logits_to=str(path))
    worker.close()
    return np.load(path)


def epochs(options: Namespace) -> None:
    """Seconds an epoch of 60,000 images late in a training: each model, batch and contender, round by round.

    A round is a whole epoch, of a large model a quarter of one.
    """
    record = Record("epochs", options.out, options.data, rounds=options.rounds, steps_before=SETTLED, flops=FLOPS)
    peers = {name: Peer(name, options.data, _log(options, name)) for name in options.contenders}
    for model in options.models:
        for batch in options.batches:
            record.add(row := _cell(options, peers, model, batch))
            record.say(_told(row))
    memory = {name: peer.ask("memory")["peak_mb"] for name, peer in peers.items()}
    versions = {name: peer.ask("versions") for name, peer in peers.items()}
    for peer in peers.values():
        peer.close()
    record.end(versions=versions, peak_mb=memory)


def _cell(options: Namespace, peers: dict[str, Peer], model: str, batch: int) -> dict[str, Any]:
    images = _images(options, model, batch)
    tuned = {
        name: peer.tune(min(images, TUNING * batch), SETTLED * batch, model=model, batch=batch, seed=42)
        for name, peer in peers.items()
    }
    evaluated = batch == options.batches[0]
    training: dict[str, list[float]] = {name: [] for name in peers}
    evaluation: dict[str, list[float]] = {name: [] for name in peers}
    for number in range(options.rounds + 1):
        for name in rotated(tuple(peers), number):
            seconds = peers[name].ask("train", images=images)["seconds"]
            seen = peers[name].ask("evaluate")["seconds"] if evaluated else None
            if number:  # the first round warms up
                training[name].append(seconds * TRAINING_IMAGES / images)
                evaluation[name] += [] if seen is None else [seen]
    row = {"model": model, "batch": batch, "images": images, "seconds": training, "evaluation": evaluation}
    row |= {"tuned": tuned, "median": {name: statistics.median(s) for name, s in training.items()}}
    if OURS not in peers:
        return row
    row["ratios"] = {name: _ratios(training, name) for name in peers if name != OURS}
    row["evaluation_ratios"] = {name: _ratios(evaluation, name) for name in peers if name != OURS and evaluated}
    return row | {"our_gflops": _flops(model) * TRAINING_IMAGES / row["median"][OURS] / 1e9}


def _images(options: Namespace, model: str, batch: int) -> int:
    if options.images is not None:
        return max(batch, min(options.images, TRAINING_IMAGES))
    return TRAINING_IMAGES // (4 if model in LARGE else 1)


def _ratios(seconds: dict[str, list[float]], name: str) -> dict[str, float]:
    """How often longer than ours, round by round."""
    ratios = [theirs / ours for theirs, ours in zip(seconds[name], seconds[OURS], strict=True)]
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def _flops(model: str) -> int:
    """Of one training image, see FLOPS."""
    traced = trace(preset(model))
    return 2 * (3 * traced.macs - traced.layers[0].macs)


def _told(row: dict[str, Any]) -> str:
    figures = ", ".join(f"{name} {seconds:.2f}" for name, seconds in row["median"].items())
    return f"{row['model']}, batch {row['batch']}: seconds an epoch: {figures}"


def accuracy(options: Namespace) -> None:
    """Whole runs, each in a fresh process from the files on disk to accuracy: over seeds, with intervals."""
    settings = {"batch": ACCURACY_BATCH, "epochs": ACCURACY_EPOCHS, "seeds": options.seeds}
    images = options.images or TRAINING_IMAGES
    record = Record("accuracy", options.out, options.data, images=images, **settings)
    names = tuple(options.contenders)
    for model in ACCURACY_MODELS:
        best = {name: _best_way(options, name, model) for name in names}
        for seed in range(options.seeds):
            for name in rotated(names, seed):
                row = {"model": model, "contender": name, "seed": seed, "way": best[name]["ways"][0]}
                record.add(row | _whole_run(options, name, model, seed, best[name], images))
            runs = [r for r in record.content["rows"] if r["model"] == model and r["seed"] == seed]
            record.say(f"{model}, seed {seed}: " + ", ".join(f"{r['contender']} {r['accuracy']:.4f}" for r in runs))
    summary = [_summary(record.content["rows"], model, name) for model in ACCURACY_MODELS for name in names]
    record.end(summary=summary, versions={name: best[name]["versions"] for name in names})


def _best_way(options: Namespace, name: str, model: str) -> dict[str, Any]:
    peer = Peer(name, options.data, _log(options, name))
    images = _images(options, model, ACCURACY_BATCH)
    best = peer.tune(min(images, TUNING * ACCURACY_BATCH), model=model, batch=ACCURACY_BATCH, seed=42)
    best["versions"] = peer.ask("versions")
    peer.close()
    return best


def _whole_run(
    options: Namespace, name: str, model: str, seed: int, best: dict[str, Any], images: int
) -> dict[str, Any]:
    fresh = {"MODELFLOW_KERNELS": str(_emptied(options.out / "scratch" / "kernels"))}  # ours compiles too, as others do
    worker = Worker(name, options.data, _log(options, name), best["variant"] | fresh)
    worker.ask("prepare", model=model, batch=ACCURACY_BATCH, seed=seed, ways=best["ways"][:1])
    training = [worker.ask("train", images=images)["seconds"] for _ in range(ACCURACY_EPOCHS)]
    evaluated = worker.ask("evaluate")
    total = time.perf_counter() - worker.started
    memory = worker.ask("memory")["peak_mb"]
    worker.close()
    return {"accuracy": evaluated["accuracy"], "total_seconds": total, "epoch_seconds": training, "peak_mb": memory}


def _summary(rows: list[dict[str, Any]], model: str, name: str) -> dict[str, Any]:
    """Mean and spread over seeds; the difference from ours with Welch's 95 % t-interval."""
    runs = {n: [r for r in rows if r["model"] == model and r["contender"] == n] for n in (name, OURS)}
    values = [r["accuracy"] for r in runs[name]]
    summary: dict[str, Any] = {"model": model, "contender": name, "mean": statistics.mean(values)}
    summary |= {key: statistics.median(r[key] for r in runs[name]) for key in ("total_seconds", "peak_mb")}
    summary["epoch_seconds"] = [
        statistics.median(e) for e in zip(*(r["epoch_seconds"] for r in runs[name]), strict=True)
    ]
    if len(values) > 1:
        summary["sd"] = statistics.stdev(values)
    if len(values) > 1 and name != OURS and runs[OURS]:
        ours = [r["accuracy"] for r in runs[OURS]]
        interval = stats.ttest_ind(values, ours, equal_var=False).confidence_interval(0.95)
        summary["difference"] = statistics.mean(values) - statistics.mean(ours)
        summary["interval"] = [float(interval.low), float(interval.high)]
    return summary


def study(options: Namespace) -> None:
    """The card's whole study, from data on disk to the last picture: `modelflow run`, and the same under Lightning.

    Ours begins with no compiled step in the cache. With fewer epochs than the card's ten, ours runs for one more as
    well; the difference is the cost of an epoch, from which ten are extrapolated. Under Lightning it is the seconds of
    `fit` an epoch.
    """
    record = Record("study", options.out, options.data, epochs=options.epochs, rounds=options.rounds_study)
    scratch = options.out / "scratch"
    scratch.mkdir(exist_ok=True)
    threads = scratch / "threads.json"
    chosen, versions = _lightning_threads(options)
    threads.write_text(json.dumps(chosen))
    record.say(f"threads under Lightning: {chosen}")
    for number in range(options.rounds_study):
        for name in rotated([name for name in STUDIES if name in options.studies], number):
            took = _our_study(options, scratch) if name == OURS else _lightning_study(options, scratch, name)
            record.add({"round": number, "contender": name, **took})
            record.say(f"round {number}: {record.content['rows'][-1]}")
    summary = _study_summary(record.content["rows"], options.epochs)
    record.end(lightning_threads=chosen, summary=summary, versions={"lightning": versions})


def _lightning_threads(options: Namespace) -> tuple[dict[str, int], dict[str, str]]:
    """The number of threads with which Lightning trains each model fastest, and versions."""
    peer = Peer("lightning", options.data, _log(options, "lightning"))
    tuned = {model: peer.tune(STUDY_IMAGES, model=model, batch=STUDY_BATCH, seed=42) for model in CARD}
    versions = peer.ask("versions")
    peer.close()
    return {model: int(best["ways"][0].split()[0]) for model, best in tuned.items()}, versions


def _our_study(options: Namespace, scratch: Path) -> dict[str, Any]:
    totals = {}
    for epoch_count in (options.epochs, options.epochs + 1)[: 1 if options.epochs == CARD_EPOCHS else 2]:
        kernels, results = _emptied(scratch / "kernels"), _emptied(scratch / "ours")
        command = [str(Path(sys.executable).with_name("modelflow")), "run", "--results", str(results)]
        command += ["--epochs", str(epoch_count), "--protocol", "card"]
        totals[epoch_count] = _timed(options, "modelflow", command, MODELFLOW_KERNELS=str(kernels))
    short, *long = totals.values()
    more = {"total_with_one_more_epoch": long[0], "epoch_seconds": long[0] - short} if long else {}
    return {"total_seconds": short, **more, "files": _files(results)}


def _lightning_study(options: Namespace, scratch: Path, name: str) -> dict[str, Any]:
    results, seconds = _emptied(scratch / "theirs"), scratch / "seconds.json"
    command = [sys.executable, "-m", "peers.lightning_study", str(results), str(options.epochs)]
    command += [str(scratch / "threads.json"), str(seconds), name.removeprefix("lightning, ")]
    total = _timed(options, "lightning", command, MODELFLOW_KERNELS=str(scratch / "kernels"))
    training = json.loads(seconds.read_text())
    epoch = sum(training.values()) / options.epochs
    return {"total_seconds": total, "epoch_seconds": epoch, "training_seconds": training, "files": _files(results)}


def _timed(options: Namespace, name: str, command: list[str], **added: str) -> float:
    start = time.perf_counter()
    with _log(options, f"study_{name}").open("a") as log:
        env = environment(options.data, **added)
        subprocess.run(command, cwd=HERE, env=env, check=True, stdout=log, stderr=log)
    return time.perf_counter() - start


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def _study_summary(rows: list[dict[str, Any]], epoch_count: int) -> dict[str, Any]:
    """Medians and ranges over rounds, and of the ratios a round; fewer epochs than the card's are extrapolated to them."""
    summary: dict[str, Any] = {}
    ours = [row for row in rows if row["contender"] == OURS]
    for name in STUDIES:
        if not (runs := [row for row in rows if row["contender"] == name]):
            continue
        figures = {"total_seconds": [run["total_seconds"] for run in runs]}
        if epoch_count < CARD_EPOCHS:
            figures["ten_epochs_seconds"] = [_ten_epochs(run, epoch_count) for run in runs]
        summary[name] = {key: _spread(values) for key, values in figures.items()}
        if name != OURS:
            pairs = list(zip(runs, ours, strict=False))
            ratios = {"total_seconds": [run["total_seconds"] / own["total_seconds"] for run, own in pairs]}
            if epoch_count < CARD_EPOCHS:
                ratios["ten_epochs_seconds"] = [
                    _ten_epochs(run, epoch_count) / _ten_epochs(own, epoch_count) for run, own in pairs
                ]
            summary[name]["times_ours"] = {key: _spread(values) for key, values in ratios.items()}
    return summary


def _ten_epochs(run: dict[str, Any], epoch_count: int) -> float:
    return float(run["total_seconds"] + (CARD_EPOCHS - epoch_count) * run["epoch_seconds"])


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "n": len(values)}


def _log(options: Namespace, name: str) -> Path:
    path = options.out / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
