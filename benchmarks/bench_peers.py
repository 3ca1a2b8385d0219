"""ModelFlow against its peers, in parts: calibration, epochs, accuracy, study, and check (that all train the same).

    python benchmarks/bench_peers.py PART [PART ...] [--rounds 7] [--models …] [--contenders …] [--out benchmarks/results]

Every contender is a process of its own; each round asks each in turn, in rotated order. Each part writes PART.json as it
goes, and peers.md anew from all JSON files of the folder.
"""

import argparse
import gzip
from pathlib import Path

from peers import parts, tables
from peers.process import CONTENDERS

from modelflow.data.fetch import fetch
from modelflow.data.known_sets import FASHION_MNIST
from modelflow.networks.resolve import CARD

PARTS = {
    "check": parts.check,
    "calibration": parts.calibration,
    "epochs": parts.epochs,
    "accuracy": parts.accuracy,
    "study": parts.study,
}


def gzipped(folder: Path) -> Path:
    """A folder with the four files as .gz, as they are downloaded, made from those that this machine has."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in fetch(FASHION_MNIST).values():
        path = folder / f"{file.name}.gz"
        if not path.exists():
            path.write_bytes(gzip.compress(file.raw.tobytes()))
    return folder


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART")
    parser.add_argument("--rounds", type=int, default=7, help="of epochs")
    parser.add_argument("--models", nargs="+", choices=CARD, default=list(CARD), help="of epochs")
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 64, 256], help="of epochs")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument(
        "--images",
        type=int,
        help="a round of epochs (default: a whole one, of generic_3 a quarter), or at most an epoch of accuracy",
    )
    parser.add_argument("--seeds", type=int, default=5, help="of accuracy")
    parser.add_argument("--epochs", type=int, default=1, help="of study")
    parser.add_argument("--rounds-study", type=int, default=1)
    parser.add_argument("--studies", nargs="+", choices=parts.STUDIES, default=parts.STUDIES)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    options.out = options.out.resolve()
    options.data = gzipped(options.out / "data")
    for part in options.parts:
        PARTS[part](options)
        tables.write(options.out)
    print(f"-> {options.out / tables.MARKDOWN}")


if __name__ == "__main__":
    main()
