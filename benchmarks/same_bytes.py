"""Whether the seven presets train to the bytes of an earlier revision, by the command of both, on this machine.

    python benchmarks/same_bytes.py REVISION

One epoch each by the compiled step, and one of cnn2_3 by autograd. Exits with 1 and names the files that differ.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from against_revision import ROOT, unpacked

from modelflow.io.files import sha256

BYTES = ("model.safetensors", "history.csv", "predictions.npz")
STUDIES = {
    "compiled": ("run", "--epochs", "1"),
    "autograd": ("train", "cnn2_3", "--epochs", "1", "--optimizer", "rmsprop"),
}


def digests(source: Path, folder: Path) -> dict[str, str]:
    """The SHA-256 of what each run leaves, by its path below `folder`."""
    for name, command in STUDIES.items():
        asked = [sys.executable, "-m", "modelflow", *command, "--results", str(folder / name)]
        subprocess.run(asked, env=os.environ | {"PYTHONPATH": str(source)}, check=True, stdout=subprocess.DEVNULL)
    paths = sorted(path for path in folder.rglob("*") if path.name in BYTES)
    return {str(path.relative_to(folder)): sha256(path.read_bytes()) for path in paths}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="the earlier one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        then = digests(unpacked(given.revision, folder / "source"), folder / "then")
        now = digests(ROOT / "src", folder / "now")
    differing = sorted(path for path in then.keys() | now.keys() if then.get(path) != now.get(path))
    print(f"{len(then)} files of {given.revision}, {len(now)} of now: ", end="")
    print(f"these differ: {', '.join(differing)}" if differing else "the same bytes")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
