"""`export --to c` of a run that was trained on the digits."""

import shutil

import pytest

from modelflow.errors import UsageError
from modelflow.export.c.compiled import COMPILERS
from modelflow.export.export import export
from modelflow.export.loaded_run import load_run
from modelflow.results.layout import model_runs


@pytest.fixture(scope="module")
def run(results):
    return load_run(next(model_runs(next(path for path in sorted(results.iterdir()) if path.is_dir()))))


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C compiler is installed")
def test_a_run_is_written_in_float_and_in_int8(run, tmp_path):
    written = export(run, "c", tmp_path / "out")
    assert written.agreement.differing == 0
    assert written.agreement.largest < 1e-4
    assert {path.name for path in written.folder.glob("*_int8.*")} == {"model_int8.c", "model_int8.h"}
    float_says, int8_says, accuracy = written.remarks
    assert float_says.startswith("model.c: ")
    assert int8_says.startswith("model_int8.c: ")
    card = (written.folder / "README.md").read_text("utf-8")
    assert "Images: bytes from 0 to 16, one image per call, 8x8x1 (H x W x C)." in card
    assert "paired over 355 test images" in accuracy
    assert "#define MODEL_WHITE 16\n" in (written.folder / "model.h").read_text("utf-8")


def test_without_a_compiler_nothing_is_written(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UsageError, match="no C compiler"):
        export(run, "c", tmp_path / "out")
    assert not (tmp_path / "out").exists()
