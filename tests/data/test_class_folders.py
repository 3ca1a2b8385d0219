"""A folder of class folders: its layouts, what real folders hold beside sound photos, what is kept, a training."""

import hashlib
import json
import os
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from idx_files import four_arrays, write_folder
from PIL import Image

from modelflow.cli.app import run_command
from modelflow.data import class_folders, kept_pictures, picture_set
from modelflow.data.class_folders import PictureFile
from modelflow.data.datasets import load_dataset
from modelflow.data.origins.origin import Form
from modelflow.data.parts import TEST_SHARE
from modelflow.data.sources import canonical, checksums_of, read_source, shape_of, verify
from modelflow.errors import DataError, UsageError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "modelflow" / "images"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files each reading of pictures went through."""
    counts: list[int] = []
    real = picture_set.read_pictures
    monkeypatch.setattr(
        picture_set, "read_pictures", lambda files, *rest: counts.append(len(files)) or real(files, *rest)
    )
    return counts


def noise(height: int = 8, width: int = 8, grey: bool = False) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, *([] if grey else [3])), np.uint8))


def put(path: Path, image: Image.Image | None = None, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or noise()).save(path, **how)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of eight pictures of 8 x 8 in colours."""
    folder = tmp_path / "photos"
    for name in ("dog", "cat"):
        for i in range(8):
            put(folder / name / f"{i}.png")
    return folder


def read(folder: Path, **form):
    return read_source(f"images:{folder}", None, Form(**form))


def test_classes_are_the_folders_in_order_and_a_sixth_is_held_out(photos):
    source = read(photos)
    assert source.class_names == ("cat", "dog")
    assert source.train_images.shape == (16 - 16 // TEST_SHARE, 3, 8, 8)
    assert len(source.test_images) == 16 // TEST_SHARE
    of_cats = {np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes() for path in (photos / "cat").iterdir()}
    both = [*zip(source.train_images, source.train_labels), *zip(source.test_images, source.test_labels)]  # noqa: B905
    assert {image.tobytes() for image, label in both if label == 0} == of_cats
    assert [note for note in source.notes if "held out" in note]
    assert (source.form, source.folder) == (Form((8, 8), 3), str(photos))


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "valid", "Testing"), ("TRAIN", "validation", "test")]
)
def test_parts_above_the_classes(tmp_path, names):
    for part, count in zip(names, (4, 2, 3), strict=True):
        for name in ("b", "a"):
            for i in range(count):
                put(tmp_path / "d" / part / name / f"{i}.PNG")
    source = read(tmp_path / "d")
    assert (len(source.train_images), len(source.val_images), len(source.test_images)) == (8, 4, 6)
    assert source.val_labels.tolist() == [0, 0, 1, 1]
    assert set(source.checksums) == {"train", "val", "test"}
    assert source.notes == ()


def test_a_class_may_be_called_train(photos):
    (photos / "dog").rename(photos / "train")
    assert read(photos).class_names == ("cat", "train")


def test_folders_within_a_class_are_read_and_hidden_ones_are_not(photos):
    put(photos / "cat" / "young" / "deep" / "9.png")
    for hidden in (".ipynb_checkpoints/1.png", "__MACOSX/1.png", "cat/.ipynb_checkpoints/0-checkpoint.png"):
        put(photos / hidden)
    for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "cat/desktop.ini", "cat/._0.png", "README.md"):
        (photos / name).write_bytes(b"x")
    source = read(photos)
    assert source.class_names == ("cat", "dog")
    assert len(source.train_images) + len(source.test_images) == 17


@pytest.mark.parametrize(
    "name", ["$RECYCLE.BIN", "System Volume Information", "lost+found", "@eaDir", "#recycle", "@Recycle", "#snapshot"]
)
def test_folders_of_operating_systems_and_network_disks_are_no_classes(photos, name):
    """A network disk keeps a small copy of each photo below @eaDir, which would be trained on beside it."""
    put(photos / name / "1.png")
    put(photos / "cat" / name / "0.png" / "SYNOPHOTO_THUMB_M.jpg")
    source = read(photos)
    assert source.class_names == ("cat", "dog")
    assert len(source.train_images) + len(source.test_images) == 16


@pytest.mark.parametrize("name", ["Icon\r", "ehthumbs.db", "Thumbs.db", "Desktop.ini"])
def test_files_that_operating_systems_leave_are_no_images(photos, name):
    (photos / "cat" / name).write_bytes(b"")
    assert len(read(photos).train_images) == 14


@pytest.mark.parametrize("name", ["archive.zip", "photos.tar.gz", "PHOTOS.TGZ", "photos.7z"])
def test_an_archive_is_to_be_unpacked(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\3\4")
    with pytest.raises(UsageError, match=r"is an archive\. Unpack it and give the folder, or the file in it\."):
        canonical(str(tmp_path / name))
    for kind in ("images", "idx"):
        with pytest.raises(DataError, match=r"is an archive, expected .* Unpack it first\."):
            read_source(f"{kind}:{tmp_path / name}")


def test_what_is_not_read_is_told(photos):
    put(photos / "loose.JPG")
    assert f"{photos}: 1 image in no class folder is not read." in read(photos).notes
    for i, name in enumerate(("cat", "dog", "extra") * 3):
        put(photos / "train" / name / f"{i}.png")
    put(photos / "test" / "1.jpg")
    notes = read(photos).notes
    assert f"{photos}: cat, dog beside train/ is not read." in notes
    assert f"{photos / 'test'} holds no class folders: its images have no labels and are not used." in notes


def test_names_of_any_script_are_the_same_on_every_system(tmp_path):
    for i, name in enumerate(("Ärger", "猫", "z z", "a'b", "😀")):
        for j in range(2):
            put(tmp_path / "nfc" / unicodedata.normalize("NFC", name) / f"é{j}.png", Image.new("L", (2, 2), 10 * i + j))
            nfd = unicodedata.normalize("NFD", f"é{j}.png")
            put(tmp_path / "nfd" / unicodedata.normalize("NFD", name) / nfd, Image.new("L", (2, 2), 10 * i + j))
    sources = [read(tmp_path / name) for name in ("nfc", "nfd")]
    assert sources[0].class_names == sources[1].class_names == ("a'b", "z z", "Ärger", "猫", "😀")
    assert sources[0].checksums == sources[1].checksums
    assert np.array_equal(sources[0].train_images, sources[1].train_images)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no folders in it, expected a folder for each class"),
        (("cat/1.png",), "one class folder only, cat, expected .* Add a class"),
        (("photos/a/1.png", "photos/b/1.png"), r"one class folder only, photos, .* Is the data set .*photos\? Add"),
        (("Cat/1.png", "cat/1.png"), "the classes Cat and cat differ in case or accents only"),
        (("train/1.png", "test/1.png"), "train/ holds no class folders"),
        (("val/a/1.png", "test/a/1.png"), "there is no train/"),
        (
            ("train/a/1.png", "train/b/1.png", "val/a/2.png", "valid/a/3.png"),
            "valid and val are both val images. Keep",
        ),
        (("train/cat/1.png", "train/b/1.png", "test/Cat/2.png"), r"class Cat of test/ has no training .* mean cat\?"),
        (("train/a/1.png", "train/b/1.png", "test/new/2.png"), "class new of test/ has no training image"),
    ],
)
def test_other_layouts_are_refused(tmp_path, names, message):
    (tmp_path / "d").mkdir()
    for name in names:
        put(tmp_path / "d" / name)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "d")


def test_no_such_folder(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "file")


def test_photos_of_all_kinds_are_one_data_set(photos):
    """As phones, scanners, drawing programs and the web make them, in a folder."""
    exif = Image.Exif()
    exif[0x0112] = 6
    put(photos / "cat" / "phone.JPG", noise(90, 120), exif=exif)
    put(photos / "cat" / "scan16.png", Image.fromarray(RNG.integers(0, 65536, (40, 40), np.uint16)))
    put(photos / "cat" / "print.jpeg", noise(30, 30).convert("CMYK"))
    put(photos / "dog" / "icon.png", noise(16, 16).convert("P"), transparency=0)
    put(photos / "dog" / "moving.gif", noise(16, 16), save_all=True, append_images=[noise(16, 16)])
    put(photos / "dog" / "web.webp", noise(16, 16))
    put(photos / "dog" / "fax.bmp", noise(16, 16).convert("1"))
    put(photos / "dog" / "two lenses.jpg", noise(16, 16), format="MPO", save_all=True, append_images=[noise(16, 16)])
    put(photos / "dog" / "a.png", noise(16, 16), format="JPEG")
    (photos / "dog" / "a.png").rename(photos / "dog" / "a jpeg.png")
    source = read(photos)
    assert source.train_images.shape[1:] == (3, 64, 48)
    assert len(source.train_images) + len(source.test_images) == 25
    assert source.notes[0] == (
        "The images have different sizes. Each is fitted into 64 x 48 pixels, the smallest size up to 64 x 64 that "
        "holds all. The aspect is kept and the rest is black. To choose a size: --image-size."
    )


@pytest.fixture
def with_bad(photos):
    """Eight that cannot be used, and a folder that leads back."""
    (photos / "cat" / "cut.png").write_bytes((photos / "cat" / "0.png").read_bytes()[:150])
    (photos / "cat" / "empty.jpg").touch()
    (photos / "cat" / "labels.csv").write_text("a,b\n")
    (photos / "cat" / "gone.png").symlink_to(photos / "nowhere.png")
    (photos / "cat" / "loop").symlink_to(photos / "cat")
    (photos / "eel").mkdir()
    put(photos / "dog" / "again.bmp", Image.open(photos / "dog" / "3.png"))
    os.mkfifo(photos / "dog" / "pipe.png")
    return photos


def test_what_cannot_be_used_is_named_and_counted(with_bad):
    with pytest.raises(DataError) as refused:
        read(with_bad)
    assert str(refused.value).splitlines() == [
        f"images:{with_bad}: 8 files or folders cannot be used:",
        "  - cat/cut.png is damaged (image file is truncated)",
        "  - cat/empty.jpg is empty, expected one of PNG, JPEG, BMP, WEBP, GIF, or is damaged",
        "  - cat/gone.png cannot be read: No such file or directory",
        "  - cat/labels.csv is none of PNG, JPEG, BMP, WEBP, GIF, or is damaged",
        "  - cat/loop leads to a folder that is read already",
        "  - dog/again.bmp is a copy of dog/3.png",
        "  - dog/pipe.png cannot be read: not a file",
        "  - eel/ holds no image",
        "Replace or remove them, or leave them out with --skip-bad.",
    ]


@pytest.mark.parametrize(("length", "named"), [(2, 20), (200, 9)])
def test_of_many_that_cannot_be_used_a_message_names_some_and_counts_the_rest(photos, length, named):
    for i in range(30):
        (photos / "cat" / f"{i:0{length}}.txt").write_text("no image")
    with pytest.raises(DataError) as refused:
        read(photos)
    lines = str(refused.value).splitlines()
    assert (len(lines), lines[-2]) == (named + 3, f"  - and {30 - named} more")
    assert len(str(refused.value)) < 2000  # as fuzzing asks of messages


def test_what_cannot_be_used_is_left_out_where_that_is_asked_for(with_bad, decoded):
    with pytest.raises(DataError):
        read(with_bad)
    source = read(with_bad, skip_bad=True)
    assert decoded == [22]
    assert source.class_names == ("cat", "dog")
    assert len(source.train_images) + len(source.test_images) == 16
    (note,) = [note for note in source.notes if "--skip-bad" in note]
    assert note.startswith("--skip-bad leaves out 8: cat/cut.png is damaged (image file is truncated); ")
    assert note.endswith("; eel/ holds no image.")
    assert source.form == Form((8, 8), 3, skip_bad=True)


def test_a_sound_folder_is_the_same_with_skip_bad(photos):
    assert read(photos, skip_bad=True).form == read(photos).form


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(photos):
    (photos / "cat" / "0.png").chmod(0)
    with pytest.raises(DataError, match=r"cat/0.png cannot be read: Permission denied"):
        read(photos)


@pytest.fixture
def in_parts(tmp_path):
    folder = tmp_path / "parts"
    for part, name, i in ((part, name, i) for part in ("train", "test") for name in "ab" for i in range(3)):
        put(folder / part / name / f"{i}.png")
    return folder


def test_of_copies_the_test_image_stays(in_parts):
    put(in_parts / "train" / "a" / "copy.bmp", Image.open(in_parts / "test" / "a" / "1.png"))
    with pytest.raises(DataError, match=r"train/a/copy.bmp is a copy of test/a/1.png\n"):
        read(in_parts)
    source = read(in_parts, skip_bad=True)
    assert (len(source.train_images), len(source.test_images)) == (6, 6)
    assert load_dataset(f"images:{in_parts}", skip_bad=True).test_in_training == 0


def test_of_copies_in_several_classes_none_stays(in_parts):
    for place in ("train/b/copy.png", "train/a/copy.png"):
        put(in_parts / place, Image.open(in_parts / "test" / "a" / "1.png"))
    with pytest.raises(DataError) as refused:
        read(in_parts)
    assert str(refused.value).splitlines()[1:-1] == [
        "  - test/a/1.png is a copy of train/b/copy.png, which is of another class",
        "  - train/a/copy.png is a copy of train/b/copy.png, which is of another class",
        "  - train/b/copy.png is a copy of test/a/1.png, which is of another class",
    ]
    source = read(in_parts, skip_bad=True)
    assert (len(source.train_images), source.test_labels.tolist()) == (6, [0, 0, 1, 1, 1])


def test_pictures_that_only_look_alike_when_small_are_no_copies(photos):
    left, right = np.zeros((2, 400, 400), np.uint8)
    left[0, 0], right[0, 1] = 1, 1
    put(photos / "cat" / "left.png", Image.fromarray(left))
    put(photos / "dog" / "right.png", Image.fromarray(right))
    source = read(photos, image_size=(4, 4))
    assert len(source.train_images) + len(source.test_images) == 18


def test_large_pictures_are_decoded_one_at_a_time(photos, monkeypatch):
    monkeypatch.setattr(picture_set, "LARGE", 10)
    assert len(read(photos).train_images) == 14


def test_a_class_whose_training_images_are_all_bad(in_parts):
    for i in range(3):
        (in_parts / "train" / "b" / f"{i}.png").write_bytes(b"")
    put(in_parts / "train" / "c" / "1.png")
    with pytest.raises(DataError, match=r"class b of test/ has no sound training image. Add some, or remove the class"):
        read(in_parts, skip_bad=True)


def test_nothing_sound(tmp_path):
    for name in "ab":
        (tmp_path / "d" / name).mkdir(parents=True)
        (tmp_path / "d" / name / "1.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match=r"no sound image in it: a/1.jpg is none of PNG.* Put sound images there"):
        read(tmp_path / "d", skip_bad=True)


def test_a_class_of_one_image(photos):
    put(photos / "eel" / "1.png")
    source = read(photos)
    assert (source.class_names[2], source.train_labels.tolist().count(2), 2 in source.test_labels) == ("eel", 1, False)


def test_grey_images_are_one_channel_however_they_are_saved(tmp_path):
    for name in "ab":
        for i in range(4):
            grey = noise(grey=True)
            put(tmp_path / "d" / name / f"{i}.png", grey if i % 2 else grey.convert("RGB"))
    assert read(tmp_path / "d").train_images.shape == (7, 8, 8)
    assert read(tmp_path / "d", channels=3).train_images.shape == (7, 3, 8, 8)
    put(tmp_path / "d" / "a" / "red.png", Image.new("RGB", (8, 8), (255, 0, 0)))
    assert read(tmp_path / "d").train_images.shape == (8, 3, 8, 8)
    assert read(tmp_path / "d", channels=1).train_images.shape == (8, 8, 8)


@pytest.mark.parametrize("grey", [True, False])
def test_the_form_that_came_out_asks_for_the_same_images(photos, cache, grey, decoded):
    for path in photos.rglob("*.png"):
        put(path, noise(70, 30, grey))
    source = read(photos)
    again = read(photos, image_size=source.form.image_size, channels=source.form.channels)
    assert decoded == [16]
    assert np.array_equal(source.test_images, again.test_images)
    assert again.notes == source.notes[1:]
    for path in cache.rglob("*.npz"):
        path.unlink()
    anew = read(photos, image_size=source.form.image_size, channels=source.form.channels)
    assert decoded == [16, 16]
    assert np.array_equal(source.train_images, anew.train_images)


def test_the_size_that_is_asked_for(photos):
    source = read(photos, image_size=(6, 10), channels=1)
    assert source.train_images.shape[1:] == (6, 10)
    assert (source.train_images[:, :, :2] == 0).all()  # 8 x 8 becomes 6 x 6 in the middle
    with pytest.raises(UsageError, match="transpose: images: reads images as they are"):
        read(photos, transpose=True)


def settle(monkeypatch):
    """Some seconds pass."""
    now = time.time()
    monkeypatch.setattr(picture_set.time, "time", lambda: now + 60)


def test_pictures_are_decoded_once_and_read_again_only_until_their_times_tell(photos, decoded, monkeypatch):
    files = []
    real = picture_set.read_bounded
    monkeypatch.setattr(picture_set, "read_bounded", lambda path, most: files.append(path) or real(path, most))
    name = f"images:{photos}"
    first = read_source(name)
    assert (decoded, len(files)) == ([16], 32)
    assert checksums_of(name) == first.checksums
    assert len(files) == 48
    settle(monkeypatch)
    for _ in range(2):
        assert read_source(name).checksums == checksums_of(name) == first.checksums
    assert (decoded, len(files)) == ([16], 64)
    before = (photos / "cat" / "3.png").stat()
    put(photos / "cat" / "3.png")
    os.utime(photos / "cat" / "3.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert checksums_of(name) != first.checksums
    assert len(files) == 65
    assert not np.array_equal(read_source(name).train_images, first.train_images)
    assert decoded == [16, 16]


def test_a_file_more_or_another_label_is_noticed(photos):
    first = read(photos)
    (photos / "cat" / "3.png").rename(photos / "dog" / "13.png")
    moved = read(photos)
    assert first.checksums != moved.checksums
    assert first.train_labels.tolist() != moved.train_labels.tolist()
    put(photos / "cat" / "99.png")
    assert read(photos).checksums != moved.checksums


def test_the_checksum_is_that_of_sha256sum(photos):
    put(photos / "cat b" / "1.png")  # before cat/ in the order of whole paths
    lines = [f"{hashlib.sha256((photos / f).read_bytes()).hexdigest()}  {f}\n" for f in sorted(files_of(photos))]
    assert read(photos).checksums == {"images": hashlib.sha256("".join(lines).encode()).hexdigest()}


def files_of(folder):
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*.png")]


def test_a_damaged_cache_is_read_anew(photos, cache, decoded, monkeypatch):
    first = read(photos)
    settle(monkeypatch)
    (kept,) = cache.rglob("*.npz")
    content = kept.read_bytes()
    for damaged in (b"", b"PK", content[:300], content[:200] + b"\1" + content[201:]):
        kept.write_bytes(damaged)
        (kept.parent / "sums.json").write_bytes(damaged)
        assert np.array_equal(read(photos).train_images, first.train_images)
    assert decoded == [16] * 5
    (kept.parent / "sums.json").write_text(json.dumps({"cat/0.png": [1, 2], "x": "y"}))
    assert read(photos).checksums == first.checksums
    monkeypatch.setattr(kept_pictures.PIL, "__version__", "0")
    read(photos)
    assert decoded == [16] * 6


def test_without_a_cache_it_is_read_all_the_same(photos, monkeypatch, tmp_path):
    (tmp_path / "blocked").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    assert read(photos).checksums == checksums_of(f"images:{photos}")


def test_a_file_that_changes_meanwhile_is_an_error(photos):
    file = PictureFile("train", "cat", "cat/0.png", photos / "cat" / "0.png")
    sums = {file.path: picture_set.KnownFile((), "0" * 64)}
    with pytest.raises(DataError, match=r"a file changed while it was read .*0.png changed\). Give the command again"):
        picture_set.read_pictures([file], sums, (8, 8), 1)


def test_bounds(photos, monkeypatch):
    monkeypatch.setattr(picture_set, "MAX_BYTES", 16 * 8 * 8 * 3 - 1)
    with pytest.raises(DataError, match=r"images:.*: the images take more than 3,071 bytes at 8 x 8, the limit"):
        read(photos)
    monkeypatch.setattr(picture_set, "MAX_FILE_BYTES", 20)
    with pytest.raises(DataError, match=r"cat/0.png cannot be read: larger than 20 bytes, the limit"):
        read(photos)
    monkeypatch.setattr(class_folders, "MAX_FILES", 15)
    with pytest.raises(DataError, match=r"more than 15 files, the limit. Use fewer images"):
        read(photos)


@pytest.mark.usefixtures("photos", "in_parts")
def test_a_path_is_recognised(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert canonical("photos") == "images:photos"
    assert canonical("parts") == "images:parts"
    assert shape_of("photos").image_size == (8, 8)
    (tmp_path / "idx").mkdir()
    write_folder(tmp_path / "idx", four_arrays(5, 4))
    assert canonical("idx") == "idx:idx"
    (tmp_path / "nothing" / "in" / "it").mkdir(parents=True)
    with pytest.raises(UsageError, match="nothing: no data set is recognised there"):
        canonical("nothing")


def test_verify_gives_a_row_for_each_part(in_parts):
    assert [row.file for row in verify(f"images:{in_parts}")] == ["train", "test"]
    (in_parts / "train" / "a" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"one file or folder cannot be used:\n  - train/a/0.png is "):
        verify(f"images:{in_parts}")


@pytest.mark.skipif(sys.platform == "win32", reason="its names are text")
def test_names_that_are_not_utf_8(photos):
    place = os.fsencode(photos / "cat") + b"/caf\xe9.png"
    put(photos / "cat" / "new.png")
    os.rename(photos / "cat" / "new.png", place)
    assert len(read(photos).checksums["images"]) == 64
    os.rename(photos / "dog", os.fsencode(photos) + b"/d\xe9g")
    with pytest.raises(DataError, match=r"has a name that is not UTF-8. Rename it"):
        read(photos)


@pytest.fixture
def modelflow(capsys):
    """Runs a command: its exit code, and all that it says."""

    def run(*arguments: str) -> tuple[int, str]:
        code = run_command(list(arguments))
        return code, "".join(capsys.readouterr())

    return run


def test_from_a_folder_to_a_report_by_the_command_line(tmp_path, monkeypatch, modelflow):
    """Reddish cats and bluish dogs: 60 photos of different sizes, learned in a few seconds."""
    for name, colour in (("cat", (200, 60, 60)), ("dog", (60, 60, 200))):
        for i in range(30):
            size = RNG.integers(10, 30, 2)
            photo = np.clip(RNG.normal(colour, 30, (*size, 3)), 0, 255).astype(np.uint8)
            put(tmp_path / "data" / "photos" / name / f"{i}.jpg", Image.fromarray(photo))
    (tmp_path / "data" / "photos" / "cat" / "note.txt").write_text("from the garden")
    fields = "dataset: photos\nskip_bad: true\nimage_size: 12\nmodels: ['c4 gap fc']\nepochs: 4\nlr: 0.01\nseeds: 1\n"
    (tmp_path / "data" / "study.yaml").write_text(fields)
    monkeypatch.chdir(tmp_path)
    code, said = modelflow("data", "show", "data/photos")
    assert (code, "cat/note.txt is none of PNG" in said) == (2, True)
    code, _ = modelflow("data", "show", "data/photos", "--skip-bad", "--image-size", "12")
    assert (code, (tmp_path / "photos_classes.png").exists()) == (0, True)
    code, said = modelflow("trace", "c4 gap fc", "--dataset", "data/photos", "--skip-bad", "--image-size", "12x16")
    assert (code, "3x12x16" in said) == (0, True)
    code, _ = modelflow("run", "data/study.yaml")
    assert code == 0
    (record,) = (tmp_path / "results").rglob("run.json")
    run = json.loads(record.read_text())
    assert run["data"]["name"] == f"images:{Path('data') / 'photos'}"
    assert run["data"]["form"] == {"image_size": "12x12", "channels": 3, "skip_bad": True}
    assert run["metrics"]["accuracy"] > 0.8
    assert any("cat/note.txt" in note for note in run["notes"])
    assert "differs by SHA-256" not in (tmp_path / "results" / "report.html").read_text()
    cards = [path.read_text() for path in (tmp_path / "results").rglob("MODEL_CARD.md")]
    assert all(f"--dataset images:{tmp_path / 'data' / 'photos'} --results" in card for card in cards)
    (tmp_path / "data" / "photos" / "cat" / "0.jpg").unlink()
    code, said = modelflow("run", "data/study.yaml")
    assert (code, "These files of images:data/photos have changed: images (SHA-256 stored" in said) == (2, True)
