"""Results of several people in one folder: kept apart by name, joined, checked whole before any is copied."""

import json
import random
import shutil
import stat
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

import modelflow as mf
from modelflow.analysis.leaderboard import leaderboard
from modelflow.cli import run_command
from modelflow.errors import DataError, ModelFlowError, UsageError
from modelflow.results.asked import read_asked
from modelflow.results.layout import run_folders
from modelflow.studies.merge import called, differences, merge
from small import digits_study


def zipped(folder: Path, path: Path, above: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{above}{file.relative_to(folder).as_posix()}")
    return path


@pytest.fixture
def ben(trained, tmp_path):
    """Another study by the same protocol: one model, other settings."""
    made = trained(digits_study(protocol="card", models=digits_study().models[:1], epochs=1))
    return Path(shutil.copytree(made, tmp_path / "made" / "ben"))


def files_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def anna(results, tmp_path):
    return zipped(results, tmp_path / "anna.zip", "home/anna/results/")


def test_a_zip_and_a_folder_are_one_leaderboard(results, anna, ben, tmp_path, capsys):
    into = tmp_path / "class"
    assert run_command(["merge", str(anna), str(ben), "--into", str(into)]) == 0
    said = capsys.readouterr().out
    assert "anna: 4 runs" in said
    assert "ben: 2 runs" in said
    assert "Trained with different settings: " in said
    assert (into / "report.html").is_file()
    assert [folder.relative_to(into).as_posix() for folder in run_folders(into)] == [
        *("anna-narrow", f"anna-narrow/seeds/{next((results / 'narrow' / 'seeds').iterdir()).name}"),
        *("anna-wide", f"anna-wide/seeds/{next((results / 'wide' / 'seeds').iterdir()).name}"),
        *("ben-narrow", "ben-narrow/seeds/43"),
    ]
    assert {row.model for row in leaderboard(into)} == {"narrow (anna-narrow)", "narrow (ben-narrow)", "wide"}
    for name, content in files_below(results / "narrow").items():
        if not name.endswith(("MODEL_CARD.md", ".lock")):
            assert (into / "anna-narrow" / name).read_bytes() == content
    assert not list(tmp_path.glob(".merge-*"))


def decided(folder, **fields):
    path = folder / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return folder


def test_the_metric_and_the_margin_of_all_are_kept(copied, ben, tmp_path):
    for folder in (copied, ben):
        decided(folder, metric="macro_f1", margin=3.0)
    into, source = tmp_path / "class", zipped(copied, tmp_path / "anna.zip", "home/anna/results/")
    found = mf.merge([str(source), ben], str(into))
    assert found.not_kept == ""
    assert found.compare().metric.word == "macro_f1"
    study = read_asked(into).study
    assert (study.metric, study.margin) == ("macro_f1", 3.0)
    assert sorted(model["name"] for model in study.models) == ["anna-narrow", "anna-wide", "ben-narrow"]
    assert read_asked(into).missing() == ""
    assert "anna: 4 runs." in found.to_markdown()
    assert found.report().path.is_file()
    assert merge([source], into).not_kept == ""


def test_that_they_differ_is_told_and_nothing_is_kept(anna, ben, tmp_path, capsys):
    decided(ben, metric="macro_f1", margin=3.0)
    into = tmp_path / "class"
    assert run_command(["merge", str(anna), str(ben), "--into", str(into)]) == 0
    said = capsys.readouterr().out
    assert "study.json keeps no metric and margin, which differ: anna: accuracy, margin " in said
    assert "ben: macro F1, margin 3 points. Give --metric and --margin." in said
    assert not (into / "study.json").exists()


@pytest.mark.parametrize("content", ["", "{", '{"models": [{"name": "x", "spec": {"layers": "fc"}}], "metric": "no"}'])
def test_a_study_that_cannot_be_read_is_not_kept(copied, tmp_path, content):
    (copied / "study.json").write_text(content)
    found = merge([copied], tmp_path / "class")
    assert f"{copied.name}: not known" in found.not_kept


def test_a_folder_that_exists_is_joined_and_nothing_is_written_over(anna, ben, tmp_path, capsys):
    into = tmp_path / "class"
    merge([anna], into)
    before = files_below(into)
    del before["study.json"]  # which asks for ben's models too from now on
    assert merge([ben, anna], into).there == {"ben": 0, "anna": 4}
    assert files_below(into).items() >= before.items()
    assert read_asked(into).missing() == ""
    record = json.loads((ben / "narrow" / "run.json").read_text())
    (ben / "narrow" / "run.json").write_text(json.dumps(record | {"started": "2020-01-01T00:00:00+00:00"}))
    assert run_command(["merge", str(ben), "--into", str(into)]) == 2
    assert "ben-narrow: holds another run already. Rename the source" in capsys.readouterr().err
    assert files_below(into).items() >= before.items()


def test_seeds_that_came_later_are_added(results, tmp_path):
    into, later = tmp_path / "class", tmp_path / "anna"
    shutil.copytree(results, later)
    further = next((later / "wide" / "seeds").iterdir())
    shutil.move(further, tmp_path / "kept")
    merge([later], into)
    shutil.move(tmp_path / "kept", further)
    assert merge([later], into).new == {"anna": 1}
    assert (into / "anna-wide" / "seeds" / further.name / "run.json").is_file()


def test_a_folder_of_one_model_and_its_zip_are_taken(results, tmp_path):
    merge([results / "wide", zipped(results / "wide", tmp_path / "mine.zip")], tmp_path / "class")
    assert sorted(folder.name for folder in (tmp_path / "class").iterdir() if folder.is_dir()) == [
        "mine-mine",
        "wide-wide",
    ]


def test_names_come_from_the_source_or_from_what_is_above_it(tmp_path):
    for place in ("anna/results", "ben/results", "b c.d"):
        (tmp_path / place).mkdir(parents=True)
    paths = [tmp_path / "anna" / "results", tmp_path / "ben" / "results", tmp_path / "b c.d", tmp_path / "Zoë.zip"]
    assert called(paths) == ["anna", "ben", "b-c-d", "Zo"]
    with pytest.raises(UsageError, match="given twice"):
        called([tmp_path / "b c.d", tmp_path / "b c.d"])
    with pytest.raises(UsageError, match="need names of their own"):
        called([tmp_path / "x.zip", tmp_path / "x.ZIP"])


def test_differences_in_data_protocol_and_versions_are_told(results, ben, tmp_path):
    for run in ben.rglob("run.json"):
        record = json.loads(run.read_text())
        record["versions"]["torch"] = "1.0"
        record["data"]["checksums"] = {"other": "0" * 64}
        run.write_text(json.dumps(record))
    merge([results, ben], tmp_path / "class")
    said = " ".join(differences(tmp_path / "class"))
    assert "other images" in said
    assert "Versions of torch: " in said


def damage(run: Path, how: str) -> None:
    if how == "record":
        (run / "run.json").write_text("{")
    elif how == "predictions":
        content = bytearray((run / "predictions.npz").read_bytes())
        content[100] ^= 1
        (run / "predictions.npz").write_bytes(content)
    elif how == "weights":
        (run / "model.safetensors").write_bytes(b"other")
    else:
        (run / "predictions.npz").unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("record", "It is damaged"),
        ("predictions", "predictions.npz has another SHA-256 than run.json says"),
        ("weights", "model.safetensors has another SHA-256"),
        ("gone", "predictions.npz is missing"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_what_is_damaged_is_named_and_nothing_is_copied(copied, ben, tmp_path, how, said, packed):
    damage(copied / "wide", how)
    source = zipped(copied, tmp_path / "carla.zip") if packed else copied
    with pytest.raises(DataError, match=rf"{source.name}: wide: .*{said}[^\0]*Nothing was copied"):
        merge([ben, source], tmp_path / "class")
    assert not (tmp_path / "class").exists() or not list((tmp_path / "class").rglob("run.json"))
    assert not list(tmp_path.glob(".merge-*"))


def hostile(path: Path, results: Path, change) -> Path:
    """A zip of one run with one member more, made by `change`."""
    zipped(results / "wide", path, "wide/")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        change(archive)
    return path


def linked(archive):
    info = zipfile.ZipInfo("wide/losses2.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(info, "/etc/passwd")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.writestr("../wide/run.json", "{}"), "leads out of the archive"),
        (lambda a: a.writestr("/wide/run.json", "{}"), "leads out of the archive"),
        (lambda a: a.writestr("..\\..\\run.json", "{}"), "leads out of the archive"),
        (lambda a: a.writestr("C:/wide/run.json", "{}"), "leads out of the archive"),
        (linked, "is a symbolic link"),
        (lambda a: a.writestr("other/wide/run.json", "{}"), "holds wide/run.json twice"),
        (lambda a: a.writestr("WIDE/RUN.JSON/../run.json", "{}"), "leads out"),
        (lambda a: a.writestr("bomb/run.json", b"0" * (2 << 20)), "2,097,152 bytes, expected at most 1,048,576"),
        (lambda a: a.writestr(zipfile.ZipInfo("new/run.json"), "{}", zipfile.ZIP_LZMA), "packed in an unusual way"),
    ],
)
def test_hostile_zips_are_refused(results, tmp_path, change, said):
    with pytest.raises(DataError, match=said):
        merge([hostile(tmp_path / "evil.zip", results, change)], tmp_path / "class")
    assert not list(tmp_path.rglob("class/**/run.json"))
    assert not list(tmp_path.glob(".merge-*"))


def test_what_no_run_has_is_left_out(results, tmp_path):
    def add(archive):
        for name in (
            "wide/evil.py",
            "wide/sub/run.json/x",
            "__MACOSX/wide/run.json",
            "wide.old-1/run.json",
            "a b/run.json",
        ):
            archive.writestr(name, "{}")

    merge([hostile(tmp_path / "anna.zip", results, add)], tmp_path / "class")
    names = {path.name for path in (tmp_path / "class").rglob("*") if path.is_file()}
    assert "evil.py" not in names
    assert [path.name for path in (tmp_path / "class").iterdir() if path.is_dir()] == ["anna-wide"]


def understated(path, results):
    """Its directory says that a member has fewer bytes than it unpacks to."""
    zipped(results / "wide", path, "wide/")
    content = bytearray(path.read_bytes())
    place = content.rfind(b"wide/history.csv") - 46 + 24  # the size in the directory
    content[place : place + 4] = struct.pack("<L", 5)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (understated, "history.csv"),
        (lambda path, _: path.write_bytes(b"PK") and path, "is no zip archive, or is cut"),
        (lambda path, results: path.write_bytes(zipped(results, path).read_bytes()[:-400]) and path, "no zip archive"),
        (lambda path, results: zipped(results / "wide" / "seeds", path) and path, "evil.zip"),
        (lambda path, _: path, "no such file"),
        (lambda path, _: zipped(Path(__file__).parent, path), "no finished run in it"),
    ],
)
def test_zips_that_are_none_are_refused(results, tmp_path, capsys, make, said):
    path = make(tmp_path / "evil.zip", results)
    code = run_command(["merge", str(path), "--into", str(tmp_path / "class")])
    if said == "evil.zip":  # the seeds alone: runs of a model that is called as the zip
        assert code == 0
        return
    assert code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("class/**/run.json"))


def test_links_in_a_folder_are_refused(copied, tmp_path):
    (copied / "wide" / "losses.png").unlink()
    (copied / "wide" / "losses.png").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match=r"losses.png: expected a file"):
        merge([copied], tmp_path / "class")
    with pytest.raises(UsageError, match="is one of the sources"):
        merge([copied], copied)


def test_a_zip_with_changed_bytes_is_refused_in_words_or_sound(results, tmp_path):
    rng = random.Random(0)
    zipped(results / "wide", tmp_path / "anna.zip", "wide/")
    sound = (tmp_path / "anna.zip").read_bytes()
    record = (results / "wide" / "run.json").read_bytes()
    for attempt in range(40):
        changed = bytearray(sound)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(sound) - 2000, len(sound))] = rng.choice([0, 255, rng.randrange(256)])
        (tmp_path / "anna.zip").write_bytes(changed)
        with suppress(ModelFlowError):
            merge([tmp_path / "anna.zip"], tmp_path / str(attempt))
            copies = [path.read_bytes() for path in (tmp_path / str(attempt)).glob("*/run.json")]
            assert copies in ([record], [])
    assert not list(tmp_path.glob(".merge-*"))
