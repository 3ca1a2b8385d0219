"""Images in CSV tables as Kaggle has them, and what is odd or wrong in such a table, by its line."""

import gzip
import io

import numpy as np
import pytest
from idx_files import random_images

from modelflow.data.datasets import load_dataset
from modelflow.data.origins import csv_table
from modelflow.data.source import Form
from modelflow.data.sources import canonical, checksums_of, read_source, verify
from modelflow.errors import DataError, UsageError
from modelflow.io.files import sha256

ABC = ("0", "1", "2")


def rows(n=12, pixels=16, seed=0):
    return random_images(n, pixels, seed=seed)


def text(pixels_NP, labels=ABC, header="label", end="\n", last=False, by=","):
    """A table of these pixels, each label in its turn; "" as a header for none, None as labels for none."""
    lines = []
    for i, row in enumerate(pixels_NP):
        cells, label = list(map(str, row)), [] if labels is None else [labels[i % len(labels)]]
        lines.append(by.join(cells + label if last else label + cells))
    names = [f"pixel{i}" for i in range(pixels_NP.shape[1])]
    own = [header] if labels is not None else []
    lines = ([by.join(names + own if last else own + names)] if header else []) + lines
    return end.join(lines) + end


def read(path, content, **form):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_dataset(f"csv:{path}", **form)


def same(data, pixels_NP):
    """Whether training and test images together are these."""
    x_NCHW = np.concatenate([data.train_x_NCHW.numpy(), data.test_x_NCHW.numpy()])
    found = np.round((x_NCHW * data.std + data.mean) * 255).astype(int).reshape(len(x_NCHW), -1)
    return sorted(map(tuple, found.tolist())) == sorted(map(tuple, pixels_NP.tolist()))


def test_kaggles_digits(tmp_path):
    (tmp_path / "train.csv").write_text(text(rows()))
    (tmp_path / "test.csv").write_text(text(rows(5, seed=1), labels=None))
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n")
    data = load_dataset(tmp_path)
    assert data.name == canonical(str(tmp_path)) == f"csv:{tmp_path}"
    assert same(data, rows())
    assert data.notes[0] == "test.csv has no labels and is left out."
    assert data.checksums == checksums_of(data.name) == {"train.csv": sha256(text(rows()).encode())}
    assert [row.file for row in verify(data.name)] == ["train.csv"]


def test_sign_language_mnist(tmp_path):
    there = [str(k) for k in range(25) if k != 9]
    for part, n, seed in (("train", 48, 0), ("test", 24, 1)):
        (tmp_path / f"sign_mnist_{part}.csv").write_text(text(rows(n, seed=seed), there))
    source = read_source(f"csv:{tmp_path}")
    assert np.array_equal(source.train_images.reshape(48, -1), rows(48))
    assert np.array_equal(source.test_images.reshape(24, -1), rows(24, seed=1))
    assert source.train_labels.tolist() == [k % 24 for k in range(48)]
    assert source.class_names == tuple(there)
    assert source.notes == (
        "labels are 0 to 24 without 9: classes are numbered 0 to 23 in that order, and named by their labels.",
    )


def by_numpy(form):
    """Without a header, all values of one notation."""
    buffer = io.BytesIO()
    np.savetxt(buffer, np.column_stack([np.arange(12) % 3, rows()]), form, delimiter=",")
    return buffer.getvalue()


PLAIN = text(rows())
ODD = {
    "CRLF": text(rows(), end="\r\n"),
    "a byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "semicolons": text(rows(), by=";"),
    "tabs": text(rows(), by="\t"),
    "gzip": gzip.compress(PLAIN.encode()),
    "no line end": PLAIN[:-1],
    "blank lines": PLAIN.replace("\n", "\n\n", 3) + "\n\n",
    "the label last": text(rows(), last=True),
    "another name of the label": text(rows(), header="Class"),
    "a plain name": text(rows(), header="digit"),
    "no header": text(rows(), header=""),
    "numbers as names": PLAIN.replace("pixel", ""),
    "quotes": PLAIN.replace("pixel3", '"pixel3"').replace("\n1,", '\n"1",'),
    "whole numbers as floats": "\n".join(line + ".0" for line in PLAIN.splitlines()).replace("pixel15.0", "pixel15"),
    "blanks": PLAIN.replace(",", ", "),
    "zeros before": PLAIN.replace("\n1,", "\n01,"),
    "old Macintosh line ends": text(rows(), end="\r"),
    "a byte order mark before quotes": "\ufeff" + PLAIN.replace("label", '"label"').replace("pixel0", '"pixel0"'),
    "Excel's line of the separator": "sep=;\r\n" + text(rows(), by=";", end="\r\n"),
    "no header behind Excel's line": "SEP=,\n" + text(rows(), header=""),
    "as numpy.savetxt writes it": by_numpy("%.18e"),
    "floats by numpy.savetxt": by_numpy("%.2f"),
    "large exponents": PLAIN.replace(",100,", ",1e2,").replace(",200,", ",2.0E+2,"),
    "rows x columns as names": PLAIN.replace(
        ",".join(f"pixel{i}" for i in range(16)), ",".join(f"{i}x{j}" for i in range(1, 5) for j in range(1, 5))
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_oddities_of_tables(tmp_path, odd):
    data = read(tmp_path / "t.csv", ODD[odd])
    assert same(data, rows())
    assert data.class_names == ABC
    assert (data.train_y_N.bincount() + data.test_y_N.bincount(minlength=3)).tolist() == [4, 4, 4]


def test_texts_as_labels_become_names_in_order(tmp_path):
    for header in ("label", ""):
        data = read(tmp_path / "t.csv", text(rows(), ("dog", "cat", "Übel fisch"), header=header))
        assert data.class_names == ("cat", "dog", "Übel fisch")
        assert same(data, rows())


def test_a_block_ends_anywhere(tmp_path, monkeypatch):
    for size in (1, 7, 50, 333):
        monkeypatch.setattr(csv_table, "BLOCK", size)
        assert same(read(tmp_path / "t.csv", text(rows(), end="\r\n")), rows())


def test_sizes_and_channels(tmp_path):
    path = tmp_path / "t.csv"
    assert read(path, text(rows(pixels=12)), image_size="3x4").image_size == (3, 4)
    lying, standing = read(path, PLAIN, transpose=True), read(path, PLAIN)
    assert np.array_equal(lying.train_x_NCHW, standing.train_x_NCHW.transpose(2, 3))
    with pytest.raises(UsageError, match="skip_bad: csv: reads images as they are"):
        load_dataset(f"csv:{path}", skip_bad=True)
    data = read(path, text(rows(pixels=48)), channels=3)
    assert (data.in_channels, data.image_size, data.form) == (3, (4, 4), {"channels": 3})
    source = read_source(f"csv:{path}", form=Form(channels=3))
    kept = {tuple(row) for row in rows(pixels=48).tolist()}
    assert {tuple(x.reshape(-1).tolist()) for x in np.moveaxis(source.train_images, 1, 3)} < kept


@pytest.mark.parametrize(
    ("pixels", "form", "message"),
    [
        (12, {}, r"line 2: 12 pixels are no square\. Give --image-size HEIGHTxWIDTH, or --channels 3\."),
        (13, {}, r"line 2: 13 pixels are no square\. Give --image-size HEIGHTxWIDTH\."),
        (12, {"image_size": 2}, r"12 pixels, expected 4 for images of 2x2 with 1 channel\. .*, or --channels 3"),
        (16, {"channels": 3}, "16 pixels are no square of 3 channels"),
    ],
)
def test_pixels_that_make_no_such_image(tmp_path, pixels, form, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path / "t.csv", text(rows(pixels=pixels)), **form)


def line(n, change):
    lines = PLAIN.splitlines()
    lines[n - 1] = change(lines[n - 1])
    return "\n".join(lines)


def put(n, other):
    return line(n, lambda _: other)


def shuffled(order):
    """The columns of pixels in another order, with their names."""
    names = "label," + ",".join(f"pixel{i}" for i in order)
    return names + "\n" + text(rows()[:, list(order)], header="")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no images"),
        (b"\n\n", "line 1: is empty"),
        (b"label,pixel0\n", "holds no images, expected a line for each"),
        (line(5, lambda one: one + ",7"), r"line 5: 18 fields, expected 17 as in the first line\. Fix the line"),
        (line(5, lambda one: one.rpartition(",")[0]), "line 5: 16 fields, expected 17"),
        (line(3, lambda one: one.replace(",", ",x", 1)), r"line 3: column 2: 'x\d+', expected a whole number from 0"),
        (put(3, "1" + ",256" * 16), "line 3: column 2: '256', expected 0 to 255. Scale the values"),
        (put(3, "1" + ",-1" * 16), "line 3: column 2: '-1', expected 0 to 255. Scale the values"),
        (
            put(3, "1" + ",0.25" * 16),
            r"line 3: column 2: '0.25', expected .* Scale the values to 0 to 255",
        ),
        (put(3, "1" + "," * 16), r"line 3: column 2: '\(no name\)', expected a whole number"),
        (line(3, lambda one: one[1:]), "line 3: the label is empty"),
        (put(3, "1" + ",9" * 15 + ",\0"), "line 3: column 17"),
        (line(3, lambda one: "9" * 5000 + one[1:]), "line 3: the label has 5,000 bytes, expected at most 100"),
        (text(rows()).encode("utf-16"), "line 1: is UTF-16, expected UTF-8"),
        (text(rows(), ("caf\xe9", "b")).encode("latin-1"), "is not UTF-8. Save the table as"),
        (b"1," * 600_000, "longer than 1,048,576 bytes, expected a line for each image"),
        (text(rows()).encode() + b"1," * 600_000, "longer than 1,048,576 bytes, expected a line for each image"),
        (b"PK\3\4" + bytes(50), "is a zip archive or a spreadsheet"),
        (gzip.compress(PLAIN.encode())[:-9], "it ends early.*Replace it"),
        (b"\x1f\x8bxx", "cannot be read"),
        (PLAIN.replace("pixel0", "label"), "line 1: 2 columns are called label"),
        (text(rows(), header="id").replace("pixel0", "name"), "line 1: no column is called label"),
        (
            text(rows(pixels=17)).replace("pixel0", "id"),
            r"17 pixels are no square\. Remove columns that hold no pixels",
        ),
        (text(rows(), labels=("1",)), "all training images are of class 1, expected at least two classes"),
        (
            b"1,0.25,0.5\n2,0.75,1\n",
            r"line 1: column 2: '0\.25', expected a whole number .* Scale the values to 0 to 255",
        ),
        (shuffled(range(15, -1, -1)), r"line 1: 'pixel14' stands behind 'pixel15', expected pixels in the order of"),
        (shuffled(sorted(range(16), key=str)), r"line 1: 'pixel2' stands behind 'pixel15', .* Sort the columns by"),
        (by_numpy("%.18e").replace(b"e+02", b"e-02"), r"line \d+: column \d+: .* Scale the values to 0 to 255"),
        (
            text(rows(pixels=17)).replace("pixel0", "Unnamed: 0"),
            r"17 pixels are no square\. Remove columns that hold no pixels \('Unnamed: 0'\)",
        ),
        ("just one word\n" * 9, "line 1: 'just one word': expected a label and pixels with commas"),
        ('label,pixel0\n"1,2\n3,4', "line 2: 1 fields, expected 2"),
        (
            "emotion,pixels,Usage\n0,70 80 82 72,Training\n",
            "line 1: the column pixels holds a whole image, as in FER2013",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "t.csv", content)
    assert len(str(caught.value)) < 400


def test_tables_of_blank_lines_or_of_ever_new_labels_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_table, "BLOCK", 1 << 10)
    monkeypatch.setattr(csv_table, "MAX_BLANK", 2000)
    with pytest.raises(DataError, match=r"line \d+: \d,\d+ blank lines and 12 images. Remove the blank lines"):
        read(tmp_path / "t.csv", PLAIN + "\n" * 5000)
    read(tmp_path / "t.csv", PLAIN + "\n" * 1000)
    names = [f"name {i}" for i in range(3000)]
    with pytest.raises(DataError, match=r"line 2002: more than 2,000 different labels\. Is another column"):
        read(tmp_path / "t.csv", text(rows(3000, 4), names))
    with pytest.raises(DataError, match="line 2002: more than 2,000 different labels"):
        read(tmp_path / "t.csv", text(rows(3000, 4), list(map(str, range(3000)))))


def test_folders(tmp_path):
    with pytest.raises(DataError, match=r"no table for training, such as train\.csv"):
        load_dataset(f"csv:{tmp_path}")
    (tmp_path / "mnist_train.csv").write_text(PLAIN)
    (tmp_path / "mnist_test.csv").write_text(text(rows(pixels=25)))
    with pytest.raises(DataError, match=r"mnist_test.csv: line 2: 25 pixels, expected 16 as in mnist_train.csv"):
        load_dataset(tmp_path)
    (tmp_path / "train.csv").write_text(PLAIN)
    with pytest.raises(DataError, match=r"is a second table for training beside mnist_train.csv"):
        load_dataset(tmp_path)
    with pytest.raises(DataError, match=r"gone.csv: no such file"):
        load_dataset(f"csv:{tmp_path / 'gone.csv'}")


def test_more_pixels_and_more_text_than_the_limits_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_table, "MAX_BYTES", 12 * 16 - 1)
    with pytest.raises(DataError, match="more than 191 pixels in all"):
        read(tmp_path / "t.csv", PLAIN)
    monkeypatch.setattr(csv_table, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(csv_table, "MAX_IMAGES", 11)
    with pytest.raises(DataError, match=r"more than 11 images\. Use fewer images"):
        read(tmp_path / "t.csv", PLAIN)
    monkeypatch.setattr(csv_table, "MAX_TEXT", 100)
    with pytest.raises(DataError, match="more than 100 bytes of text"):
        read(tmp_path / "t.csv", PLAIN)
