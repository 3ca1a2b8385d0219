"""The commands of own-images.md that lead from the files of each format to a verdict and an export, on small files."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from idx_files import write_idx
from PIL import Image

from modelflow.cli import run_command

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-images.md"
SECTION = re.search(r"^## From files to an export\n(.*?)(?=^## )", PAGE.read_text("utf-8"), re.S | re.M)[1]
STUDY = re.search(r"^```yaml\n# ab.yaml\n(.*?)^```", SECTION, re.S | re.M)[1]
COMMANDS = [block.strip().splitlines() for block in re.findall(r"^```sh\n(.*?)^```", SECTION, re.S | re.M)]
N, CLASSES, SIDE = 60, 3, 12


def images(seed, side=SIDE, channels=1):
    """Each class is bright in its own third, in noise."""
    rng = np.random.default_rng(seed)
    x_NCHW = rng.integers(0, 90, (N, channels, side, side), np.uint8)
    y_N = np.arange(N) % CLASSES
    for k in range(CLASSES):
        x_NCHW[y_N == k, :, k * side // CLASSES : (k + 1) * side // CLASSES] += 120
    return x_NCHW, y_N


def photos():
    for part, seed in (("train", 0), ("test", 1)):
        for i, (x_CHW, k) in enumerate(zip(*images(seed, channels=3), strict=True)):
            path = Path("photos", part, "abc"[k], f"{i}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(x_CHW.transpose(1, 2, 0)).save(path)


def arrays():
    (x, y), (x_test, y_test) = images(0), images(1)
    np.savez_compressed("mine.npz", x_train=x[:, 0], y_train=y, x_test=x_test[:, 0], y_test=y_test)


def tables():
    Path("tables").mkdir()
    for part, seed in (("train", 0), ("test", 1)):
        x, y = images(seed)
        rows = np.column_stack([y, x.reshape(N, -1)])
        names = ",".join(["label", *(f"pixel{i}" for i in range(SIDE**2))])
        np.savetxt(f"tables/{part}.csv", rows, "%d", ",", header=names, comments="")


def cifar():
    Path("cifar-10-batches-bin").mkdir()
    for name, seed in [*((f"data_batch_{i}", i) for i in range(1, 6)), ("test_batch", 9)]:
        x, y = images(seed, 32, 3)
        records = np.column_stack([y.astype(np.uint8), x.reshape(N, -1)])
        Path("cifar-10-batches-bin", f"{name}.bin").write_bytes(records.tobytes())


def idx():
    Path("my_images").mkdir()
    for part, seed in (("train", 0), ("t10k", 1)):
        x, y = images(seed)
        write_idx(Path("my_images"), f"{part}-images-idx3-ubyte", x[:, 0])
        write_idx(Path("my_images"), f"{part}-labels-idx1-ubyte", y.astype(np.uint8))


FILES = {"photos": photos, "mine.npz": arrays, "tables": tables, "cifar-10-batches-bin": cifar, "my_images": idx}


def test_each_format_has_its_commands():
    assert [shlex.split(lines[0])[4] for lines in COMMANDS] == list(FILES)
    assert {shlex.split(lines[-1])[4] for lines in COMMANDS} == {"onnx", "c", "huggingface", "pt2"}


@pytest.mark.parametrize("lines", COMMANDS, ids=list(FILES))
def test_its_files_become_a_verdict_and_an_export(lines, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("ab.yaml").write_text(STUDY)
    FILES[shlex.split(lines[0])[4]]()
    said = []
    for line in lines:
        assert run_command(shlex.split(line)[1:]) == 0, capsys.readouterr().err
        said.append(" ".join(capsys.readouterr().out.split()))
    assert re.search(r"c(4|16)-m2-fc (is better than|vs|is equivalent to) ", said[0])
    assert "too few" not in said[0]
    assert re.search(r"Compared with the run on 60 test images: .* same class for 60 of 60\.", said[1])
