"""Where a result comes from: versions, processor and source revision. No torch."""

import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("modelflow", "torch", "numpy", "llvmlite", "torch-lr-finder")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def changed_versions(before: dict[str, str], here: dict[str, str]) -> list[str]:
    """What is another `here` than it was `before`: versions, processor, device, in words."""
    return [f"{name} {was} before, {here.get(name)} since" for name, was in before.items() if here.get(name) != was]


@cache
def git_revision() -> str | None:
    """The revision of ModelFlow's own checkout, "+" behind it when files differ from it; None outside a checkout."""
    folder = Path(__file__).parents[1]
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        return revision + ("+" if _git(folder, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
