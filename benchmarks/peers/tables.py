"""peers.md: the JSON files of a results folder as Markdown tables."""

import json
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

MARKDOWN = "peers.md"
OURS = "modelflow"


def write(out: Path) -> None:
    """The tables of every part whose JSON file is there."""
    sections = []
    for part, section in SECTIONS.items():
        path = out / f"{part}.json"
        if path.exists():
            content = json.loads(path.read_text())
            sections.append(f"## {part}\n\n{_conditions(content)}\n\n{section(content)}".rstrip())
    (out / MARKDOWN).write_text("# ModelFlow and its peers\n\n" + "\n\n".join(sections) + "\n")


def _conditions(content: dict[str, Any]) -> str:
    lines = [f"{content['date']}, {content['processor']}, {content['cores']} cores, revision {content['revision']}."]
    lines += [_measured(when, content[when]) for when in ("before", "after") if content[when]]
    if settings := content["settings"]:
        lines.append("Settings: " + ", ".join(f"{name} {value}" for name, value in settings.items()) + ".")
    for name, versions in content.get("versions", {}).items():
        lines.append(f"{name}: " + ", ".join(f"{package} {version}" for package, version in versions.items()) + ".")
    return "  \n".join(lines)


def _measured(when: str, measured: dict[str, float]) -> str:
    return (
        f"{when.capitalize()}: load {measured['load']:.1f}, sgemm {measured['sgemm_1_gflops']:.0f} / "
        f"{measured['sgemm_2_gflops']:.0f} GFLOP/s (1 / 2 threads), copying {measured['copy_gb_s']:.1f} GB/s."
    )


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _epochs(content: dict[str, Any]) -> str:
    rows = content["rows"]
    names = list(rows[0]["median"]) if rows else []
    seconds = [
        [r["model"], str(r["batch"]), f"{r['images']:,}", *(f"{r['median'][name]:.2f}" for name in names)] for r in rows
    ]
    text = (
        "Seconds an epoch of 60,000 images, median of the rounds, each of as many images as stand there, scaled to an "
        "epoch:\n\n" + _table(["model", "batch", "images a round", *names], seconds)
    )
    if OURS not in names:
        return text
    peers = [name for name in names if name != OURS]
    ratios = [
        [r["model"], str(r["batch"]), *(_ratio(r["ratios"][name]) for name in peers), *_share(r, content)] for r in rows
    ]
    header = ["model", "batch", *peers, "our GFLOP/s", "share of sgemm on one thread"]
    text += "\n\nHow often longer than ours, median of the ratios a round [their range]:\n\n" + _table(header, ratios)
    return text + "\n\n" + _evaluation(rows, names) + _memory(content)


def _memory(content: dict[str, Any]) -> str:
    """Of one process that has trained all of the models."""
    if "peak_mb" not in content:
        return ""
    lines = [[name, f"{peak:.0f}"] for name, peak in content["peak_mb"].items()]
    return "\n\nPeak resident memory of the process that trained them all, MB:\n\n" + _table(["", "MB"], lines)


def _evaluation(rows: list[dict[str, Any]], names: list[str]) -> str:
    seen = [r for r in rows if r["evaluation"][OURS]]
    lines = [[r["model"], *(f"{statistics.median(r['evaluation'][name]):.3f}" for name in names)] for r in seen]
    return "Seconds to evaluate the 10,000 test images:\n\n" + _table(["model", *names], lines)


def _ratio(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.1f} [{ratio['least']:.1f}, {ratio['most']:.1f}]"


def _share(row: dict[str, Any], content: dict[str, Any]) -> list[str]:
    """GFLOP/s, and their share of the better of the two sgemm figures, before and after."""
    peak = max(content[when]["sgemm_1_gflops"] for when in ("before", "after") if content[when])
    return [f"{row['our_gflops']:.1f}", f"{row['our_gflops'] / peak:.0%}"]


def _accuracy(content: dict[str, Any]) -> str:
    header = ["model", "contender", "accuracy", "sd", "difference from ours [95 % interval]"]
    header += ["seconds from start to accuracy", "seconds of the 2nd epoch", "peak MB"]
    return _table(header, (_accuracy_line(s) for s in content.get("summary", [])))


def _accuracy_line(s: dict[str, Any]) -> list[str]:
    sd = f"{s['sd']:.4f}" if "sd" in s else ""
    difference = ""
    if "interval" in s:
        difference = f"{s['difference']:+.4f} [{s['interval'][0]:+.4f}, {s['interval'][1]:+.4f}]"
    figures = [f"{s['total_seconds']:.1f}", f"{s['epoch_seconds'][-1]:.2f}", f"{s['peak_mb']:.0f}"]
    return [s["model"], s["contender"], f"{s['mean']:.4f}", sd, difference, *figures]


def _study(content: dict[str, Any]) -> str:
    if "summary" not in content:
        return ""
    keys = {"total_seconds": f"{content['settings']['epochs']} epochs", "ten_epochs_seconds": "10 epochs, extrapolated"}
    keys = {key: words for key, words in keys.items() if key in content["summary"][OURS]}
    lines = []
    for name, figures in content["summary"].items():
        lines.append([name, str(figures["total_seconds"]["n"]), *(_seconds(figures[key]) for key in keys)])
        if times := figures.get("times_ours"):
            lines.append(["times ours", str(times["total_seconds"]["n"]), *(_ratio(times[key]) for key in keys)])
    note = f"\n\n{content['note']}" if "note" in content else ""
    heading = "Seconds of the card's study of seven models, median [range] of n rounds:\n\n"
    return heading + _table(["", "n", *keys.values()], lines) + note


def _seconds(spread: dict[str, float]) -> str:
    return f"{spread['median']:.1f} [{spread['least']:.1f}, {spread['most']:.1f}]"


def _check(content: dict[str, Any]) -> str:
    lines = [[r["model"], r["contender"], f"{r['difference']:.1e}"] for r in content["rows"]]
    return _table(["model", "contender", "largest difference of a logit from plain PyTorch's"], lines)


def _nothing(_: dict[str, Any]) -> str:
    return ""


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "calibration": _nothing,
    "check": _check,
    "epochs": _epochs,
    "accuracy": _accuracy,
    "study": _study,
}
