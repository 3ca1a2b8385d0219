"""Images in a CSV table, a line an image: a label and the pixels, as Kaggle has its digits and MNIST's relatives.

Lines are read by the thousand: where each field is a number of at most three digits, all are computed at once by their
digits. A block of lines that has anything else is read again field by field, which takes it or says what is wrong.
"""

import csv
import gzip
import hashlib
import math
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from modelflow.data.idx import GZIP_MAGIC, MAX_BYTES
from modelflow.data.origins.origin import FileRow, Origin
from modelflow.data.parts import CALLED, source_of_parts
from modelflow.data.source import Form, Images, Parts, Source, size_text
from modelflow.data.unchanged import while_unchanged
from modelflow.errors import DataError
from modelflow.io.bounds import MAX_CLASSES
from modelflow.text import short, shown

NAME = re.compile(
    r"(?P<prefix>(?!\.).*[-_])?(?P<part>train|training|test|testing|val|valid|validation)\.csv(?:\.gz)?", re.IGNORECASE
)
PARTS = {"training": "train", "testing": "test", "valid": "val", "validation": "val"}
ENDS = (".csv", ".csv.gz")
LABELS = ("label", "labels", "class", "target")  # what the column of labels may be called
BLOCK = 1 << 22  # bytes that are read at a time
MAX_LINE = 1 << 20
MAX_TEXT = 4 * MAX_BYTES  # bytes of all tables: three digits and a comma a pixel
MAX_LABEL = 100
MAX_IMAGES = 2_000_000  # of a table, however small they are
MAX_BLANK = 100_000  # lines, beside one for each image
DELIMITERS = b",;\t"
MAX_MISSING = 5  # numbers between labels that a note names
WHOLE = re.compile(rb"\d+(\.0*)?")
NUMBER = re.compile(rb"[+-]?\d+(\.\d*)?(e[+-]?\d{1,3})?", re.IGNORECASE)  # as numpy.savetxt writes them too
SEPARATOR = re.compile(rb"sep=.", re.IGNORECASE)  # a first line of Excel's
EXACT = 2**53  # whole numbers below are exact in floats
UTF_8_MARK = b"\xef\xbb\xbf"
Array = NDArray[Any]


class CsvTable(Origin):
    """`csv:PATH`: a table, or a folder with tables for training and testing."""

    names: ClassVar[tuple[str, ...]] = ("csv:PATH",)
    takes_form: ClassVar[frozenset[str]] = frozenset({"image_size", "channels", "transpose"})
    words: ClassVar[str] = "is read from that path, which must hold the same files"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.is_dir():
            return any(NAME.fullmatch(entry.name) and entry.is_file() for entry in path.iterdir())
        return path.name.lower().endswith(ENDS)

    @property
    def folder(self) -> str | None:
        return os.path.abspath(self.path)

    def read(self, download: bool) -> Source:
        tables, notes = read_tables(self._files())
        train = tables["train"]
        notes += [f"{train.path.name}: {note}" for note in train.notes]
        size = _size(train, self.form)
        names = class_names({label for table in tables.values() for label in table.labels})
        notes += _renumbered(names)
        numbers = {name: number for number, name in enumerate(names)}
        parts: Parts = {
            part: (
                _images(table.pixels_NP, size, self.form.transpose),
                np.array([numbers[label] for label in table.labels], np.int64),
            )
            for part, table in tables.items()
        }
        sums = {table.name: table.sha256 for table in tables.values()}
        return source_of_parts(self.name, parts, names, sums, notes, self.form)

    def checksums(self) -> dict[str, str]:
        place, files = os.path.abspath(self.path), list(self._files().values())
        return dict(while_unchanged(("csv", place), files, lambda: self.read(download=False).checksums))

    def verify(self) -> list[FileRow]:
        sums = self.read(download=False).checksums
        files = {_unpacked(path): path for path in self._files().values()}
        return [FileRow(name, str(files[name].parent), sha256, ok=True) for name, sha256 in sums.items()]

    def _files(self) -> dict[str, Path]:
        return find_tables(self.path) if self.path.is_dir() else {"train": self.path}


def find_tables(folder: Path) -> dict[str, Path]:
    """The tables of a folder by "train", "val" and "test".

    Raises `DataError` where there is none for training, or several for one part.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if (match := NAME.fullmatch(path.name)) and path.is_file():
            part = match["part"].lower()
            part = PARTS.get(part, part)
            if part in found:
                raise DataError(
                    f"{path}: is a second table for {CALLED[part]} beside {found[part].name}, expected one. Remove one "
                    "of them, or name a single file."
                )
            found[part] = path
    if "train" not in found:
        raise DataError(f"{folder}: no table for training, such as train.csv. Name it so, or give the file itself.")
    return {part: found[part] for part in CALLED if part in found}


@dataclass
class Table:
    """A table as it was read: pixels N x P, labels N as they stand there, SHA-256 of the uncompressed file."""

    path: Path
    head: "Head"
    labels: list[str] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)  # each label once
    pixels_NP: Images = field(default_factory=lambda: np.empty((0, 0), np.uint8))
    sha256: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the uncompressed file."""
        return _unpacked(self.path)

    def add(self, label: str, line: int) -> None:
        """One more label. Raises `DataError` where there are too many different ones."""
        self.labels.append(self.classes.setdefault(label, label))
        if len(self.classes) > MAX_CLASSES:
            _wrong(
                self.path, line, f"more than {MAX_CLASSES:,} different labels. Is another column that of the labels?"
            )


class Head(NamedTuple):
    """What the first line says: delimiter, number of columns, the place of the label (None: it has none), its line.

    `first` is the number of the first line with an image; `others` are the names of columns that seem to be no pixels.
    """

    delimiter: bytes
    columns: int
    label: int | None
    first: int
    others: tuple[str, ...] = ()

    @property
    def pixels(self) -> int:
        """How many columns are pixels."""
        return self.columns - (self.label is not None)


def read_tables(files: dict[str, Path]) -> tuple[dict[str, Table], list[str]]:
    """The tables by part, and notes: of one without labels, other than for training, that it is left out.

    Raises `DataError` with file, line, what was expected and the fix for the first thing that is wrong.
    """
    tables: dict[str, Table] = {}
    notes, left = [], MAX_BYTES
    for part, path in files.items():
        table = _read(path, left, tables.get("train"))
        if table is None:
            notes.append(f"{path.name} has no labels and is left out.")
            continue
        left -= table.pixels_NP.nbytes
        tables[part] = table
        if table.head.pixels != tables["train"].head.pixels:
            expected = f"{tables['train'].head.pixels:,} as in {tables['train'].path.name}"
            _wrong(
                path,
                table.head.first,
                f"{table.head.pixels:,} pixels, expected {expected}. Use tables of one data set.",
            )
    return tables, notes


def class_names(labels: set[str]) -> list[str]:
    """The labels in order: of their values where all are whole numbers, else of the alphabet."""
    numbers = all(re.fullmatch(r"-?\d{1,18}", label, re.ASCII) for label in labels)
    return sorted(labels, key=int) if numbers else sorted(labels)


def _renumbered(names: list[str]) -> list[str]:
    """A note where labels that are numbers are not those of the classes."""
    if names == [str(k) for k in range(len(names))] or not all(re.fullmatch(r"-?\d+", name) for name in names):
        return []
    first, last = int(names[0]), int(names[-1])
    missing = sorted(set(range(first, last + 1)) - set(map(int, names))) if last - first < MAX_CLASSES else []
    without = f" without {', '.join(map(str, missing))}" if 0 < len(missing) <= MAX_MISSING else ""
    return [
        f"labels are {names[0]} to {names[-1]}{without}: classes are numbered 0 to {len(names) - 1} in that order, and "
        "named by their labels."
    ]


def _size(table: Table, form: Form) -> tuple[int, ...]:
    """Height and width, or with 3 channels height, width and 3. Raises `DataError` where the pixels are not as many."""
    pixels, channels = table.head.pixels, form.channels or 1
    if form.image_size is not None:
        height, width = form.image_size
        if height * width * channels != pixels:
            raise DataError(
                f"{table.path}: line {table.head.first}: {pixels:,} pixels, expected {height * width * channels:,} for "
                f"images of {size_text(form.image_size)} with {channels} "
                f"{'channel' if channels == 1 else 'channels'}.{_no_pixels(table.head)} Give another --image-size"
                + (", or --channels 3." if pixels == 3 * height * width else " or --channels.")
            )
    else:
        height = width = math.isqrt(pixels // channels)
        if height * width * channels != pixels or not pixels:
            raise DataError(
                f"{table.path}: line {table.head.first}: {pixels:,} pixels are no square"
                f"{'' if channels == 1 else ' of 3 channels'}.{_no_pixels(table.head)} Give --image-size HEIGHTxWIDTH"
                + (", or --channels 3." if channels == 1 and 3 * math.isqrt(pixels // 3) ** 2 == pixels else ".")
            )
    return (height, width) if channels == 1 else (height, width, 3)


def _no_pixels(head: Head) -> str:
    return f" Remove columns that hold no pixels ({', '.join(head.others)})." if head.others else ""


def _images(pixels_NP: Images, size: tuple[int, ...], transpose: bool) -> Images:
    """N x H x W, or N x 3 x H x W of pixels whose three values stand side by side."""
    images = pixels_NP.reshape(len(pixels_NP), *size)
    images = images.swapaxes(1, 2) if transpose else images
    return np.ascontiguousarray(np.moveaxis(images, 3, 1) if len(size) == 3 else images)


def _unpacked(path: Path) -> str:
    return path.name[:-3] if path.name.lower().endswith(".gz") else path.name


def _wrong(path: Path, line: int | None, reason: str) -> NoReturn:
    raise DataError(f"{path}: {'' if line is None else f'line {line}: '}{reason}")


def _read(path: Path, limit: int, train: Table | None) -> Table | None:
    """The table, of at most `limit` pixels; None of one without labels beside that for training."""
    digest, blocks, count, blank = hashlib.sha256(), [], 0, 0
    table: Table | None = None
    try:
        with _opened(path) as stream:
            for first, lines in _blocks(path, stream, digest):
                if table is None:
                    head, skipped, notes = _head(path, lines, train)
                    if head.label is None:
                        return None
                    table, lines, first = Table(path, head, notes=notes), lines[skipped:], first + skipped
                pixels_NP = _pixels(table, lines, first)
                count += len(pixels_NP)
                blank += len(lines) - len(pixels_NP)
                _check_bounds(table, first, count, blank, limit)
                blocks.append(pixels_NP)
    except FileNotFoundError:
        _wrong(path, None, "no such file, expected a CSV table.")
    except (OSError, EOFError, zlib.error) as error:
        reason = "it ends early" if isinstance(error, EOFError) else getattr(error, "strerror", None) or str(error)
        _wrong(path, None, f"cannot be read ({reason}), expected a CSV table, plain or gzipped. Replace it.")
    if table is None or not count:
        _wrong(path, None, "holds no images, expected a line for each. Replace it.")
    table.pixels_NP, table.sha256 = np.concatenate(blocks), digest.hexdigest()
    return table


def _check_bounds(table: Table, line: int, images: int, blank: int, limit: int) -> None:
    """Raises `DataError` for more pixels than the limit, more images or blank lines than any table has."""
    if images * table.head.pixels > limit:
        _wrong(table.path, line, f"more than {MAX_BYTES:,} pixels in all. Use fewer or smaller images.")
    if images > MAX_IMAGES:
        _wrong(table.path, line, f"more than {MAX_IMAGES:,} images. Use fewer images.")
    if blank > images + MAX_BLANK:
        _wrong(table.path, line, f"{blank:,} blank lines and {images:,} images. Remove the blank lines.")


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError if not path.exists() else OSError("is not a file")
    file = path.open("rb")
    packed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if packed else file


def _blocks(path: Path, stream: BinaryIO, digest: Any) -> Iterator[tuple[int, list[bytes]]]:
    """Whole lines, some thousand at a time without what ends them, with the number of the first one."""
    rest, number, total, ends = b"", 1, 0, b""
    while piece := stream.read(BLOCK):
        digest.update(piece)
        total += len(piece)
        if total > MAX_TEXT:
            _wrong(path, number, f"more than {MAX_TEXT:,} bytes of text. Use fewer or smaller images.")
        if number == 1 and not rest:
            piece = _without_mark(path, piece)
        text = rest + piece
        ends = ends or _line_end(text)
        *lines, rest = text.split(ends or b"\n")
        if len(rest) > MAX_LINE or any(len(line) > MAX_LINE for line in lines):
            _wrong(path, number, f"longer than {MAX_LINE:,} bytes, expected a line for each image. Is it a CSV table?")
        if lines:
            yield number, [line.removesuffix(b"\r") for line in lines]
        number += len(lines)
    if rest:
        yield number, [rest.removesuffix(b"\r")]


def _line_end(text: bytes) -> bytes:
    """What ends its lines, \\r alone on old Macintoshes; empty where no line has ended yet."""
    if b"\n" in text:
        return b"\n"
    return b"\r" if b"\r" in text[:-1] else b""


def _without_mark(path: Path, piece: bytes) -> bytes:
    if piece[:2] in (b"\xff\xfe", b"\xfe\xff"):
        _wrong(path, 1, "is UTF-16, expected UTF-8. Save it as “CSV UTF-8”.")
    if piece[:4] == b"PK\3\4":
        _wrong(path, None, "is a zip archive or a spreadsheet, expected a CSV table. Unpack it, or save it as CSV.")
    return piece.removeprefix(UTF_8_MARK)


def _fields(line: bytes, delimiter: bytes) -> list[bytes]:
    """The fields of a line, without blanks and quotes around them."""
    if b'"' in line:
        text = line.decode("utf-8", "surrogateescape").replace("\r", " ")
        row = next(csv.reader([text], delimiter=delimiter.decode()), [])
        return [part.strip().encode("utf-8", "surrogateescape") for part in row]
    return [part.strip() for part in line.split(delimiter)]


def _head(path: Path, lines: list[bytes], train: Table | None) -> tuple[Head, int, list[str]]:
    """What the first line that holds something says, how many lines are no images, and notes."""
    place = next((i for i, line in enumerate(lines) if line.strip() and not SEPARATOR.fullmatch(line.strip())), None)
    if place is None:
        _wrong(path, 1, "is empty, expected a label and pixels. Replace it.")
    line = lines[place]
    delimiter = bytes([max(DELIMITERS, key=line.count)])
    cells = _fields(line, delimiter)
    if len(cells) < 2:
        _wrong(path, place + 1, f"{_shown(line)}: expected a label and pixels with commas between them.")
    if train is not None and train.head.pixels == len(cells) and not _named_label(cells):
        return Head(delimiter, len(cells), None, place + 1), 0, []
    if _is_header(cells):
        label = _label_column(path, place + 1, cells)
        _check_order(path, place + 1, [cell for i, cell in enumerate(cells) if i != label])
        others = tuple(_shown(cell) for i, cell in enumerate(cells) if i != label and not _names_pixel(cell))[:5]
        return Head(delimiter, len(cells), label, place + 2, others), place + 1, []
    label = len(cells) - 1 if _is_number(cells[0]) and not _is_number(cells[-1]) else 0
    which = "first" if label == 0 else "last"
    return Head(delimiter, len(cells), label, place + 1), place, [f"has no header. The {which} column is the label."]


def _is_number(cell: bytes) -> bool:
    return len(cell) <= MAX_LABEL and NUMBER.fullmatch(cell) is not None


def _whole(cell: bytes) -> int | None:
    """The value of a whole number, in whichever notation; None for anything else."""
    if not _is_number(cell):
        return None
    if WHOLE.fullmatch(cell):
        return int(cell.partition(b".")[0])
    value = float(cell)
    return int(value) if value.is_integer() and abs(value) < EXACT else None


def _names_pixel(cell: bytes) -> bool:
    """Whether a column is called as pixels are: by a number at the end, but for what pandas calls a nameless one."""
    return cell[-1:].isdigit() and not cell.startswith(b"Unnamed")


def _check_order(path: Path, line: int, cells: list[bytes]) -> None:
    """Raises `DataError` where columns are numbered, each once, and do not stand in the order of their numbers."""
    numbers = [int(match[0]) for cell in cells if (match := re.search(rb"\d{1,18}$", cell))]
    if len(set(numbers)) < len(cells) or numbers == sorted(numbers):
        return
    place = next(i for i in range(1, len(numbers)) if numbers[i] < numbers[i - 1])
    _wrong(
        path,
        line,
        f"{_shown(cells[place])} stands behind {_shown(cells[place - 1])}, expected pixels in the order of their "
        "numbers. Sort the columns by number.",
    )


def _named_label(cells: list[bytes]) -> list[int]:
    return [i for i, cell in enumerate(cells) if cell.decode("utf-8", "replace").lower() in LABELS]


def _is_header(cells: list[bytes]) -> bool:
    """Whether cells name columns: one is called as labels are, or more than one is no number."""
    texts = [i for i, cell in enumerate(cells) if not _is_number(cell)]
    return bool(_named_label(cells)) or len(texts) > 1 or (bool(texts) and texts[0] not in (0, len(cells) - 1))


def _label_column(path: Path, line: int, cells: list[bytes]) -> int:
    """The column that is called a label; else the first or the last one, if it alone has a name without a number."""
    named = _named_label(cells)
    if len(named) == 1:
        return named[0]
    plain = [i for i, cell in enumerate(cells) if not cell[-1:].isdigit()]
    if not named and len(plain) == 1 and plain[0] in (0, len(cells) - 1):
        return plain[0]
    if b"pixels" in [cell.lower() for cell in cells]:
        _wrong(path, line, "the column pixels holds a whole image, as in FER2013. Spread it over a column per pixel.")
    what = f"{len(named)} columns are called" if named else "no column is called"
    _wrong(path, line, f"{what} {', '.join(LABELS)}, expected one. Rename the column of the labels to label.")


def _pixels(table: Table, lines: list[bytes], first: int) -> Images:
    """The pixels of some lines, N x P; their labels are added to the table's. Raises `DataError` for what is wrong."""
    head = table.head
    numbered = [(first + i, line) for i, line in enumerate(lines) if line.strip()]
    assert head.label is not None
    if head.label in (0, head.columns - 1) and numbered:
        begins = head.label == 0
        split = [line.partition(head.delimiter) if begins else line.rpartition(head.delimiter) for _, line in numbered]
        labels = [_unquoted(one[0] if begins else one[2]) for one in split]
        fast_NP = _by_digits(b"\n".join(one[2] if begins else one[0] for one in split), head)
        if fast_NP is not None and all(map(_plain_label, labels)):
            for (number, _), label in zip(numbered, labels, strict=True):
                table.add(_as_text(label), number)
            return fast_NP
    rows = [_row(table, number, line) for number, line in numbered]
    return np.array(rows, np.uint8).reshape(len(rows), head.pixels)


def _unquoted(cell: bytes) -> bytes:
    cell = cell.strip()
    return cell[1:-1] if len(cell) > 1 and cell[:1] == cell[-1:] == b'"' else cell


def _plain_label(label: bytes) -> bool:
    return 0 < len(label) <= MAX_LABEL and label.isalnum() and label.isascii()


def _as_text(label: bytes) -> str:
    """A label as it stands, a whole number without zeros before and behind it."""
    text = label.decode("utf-8")
    whole = _whole(label)
    return text if whole is None else str(whole)


def _by_digits(text: bytes, head: Head) -> Images | None:
    """The values of lines of P numbers each, of one to three digits up to 255; None where anything else is there."""
    codes = np.frombuffer(text + b"\n", np.uint8)
    digits = codes - np.uint8(48)
    is_end = digits > 9
    ends = np.flatnonzero(is_end)
    if len(ends) % head.pixels or (codes[ends[head.pixels - 1 :: head.pixels]] != 10).any():
        return None
    inner = codes[ends].reshape(-1, head.pixels)[:, :-1]
    lengths = np.diff(ends, prepend=-1) - 1
    if (inner != head.delimiter[0]).any() or lengths.min() < 1 or lengths.max() > 3:
        return None
    values = digits[ends - 1].astype(np.uint16)
    values += np.where(lengths > 1, digits[ends - 2], 0).astype(np.uint16) * 10
    values += np.where(lengths > 2, digits[ends - 3], 0).astype(np.uint16) * 100
    return values.astype(np.uint8).reshape(-1, head.pixels) if values.max() <= 255 else None


def _row(table: Table, number: int, line: bytes) -> list[int]:
    """The pixels of one line; its label is added to the table's."""
    head, path = table.head, table.path
    try:
        cells = _fields(line, head.delimiter)
    except csv.Error as error:
        _wrong(path, number, f"{error}, expected {head.columns:,} fields. Replace the line.")
    if len(cells) != head.columns:
        _wrong(path, number, f"{len(cells):,} fields, expected {head.columns:,} as in the first line. Fix the line.")
    assert head.label is not None
    label = cells.pop(head.label)
    if len(label) > MAX_LABEL:
        _wrong(path, number, f"the label has {len(label):,} bytes, expected at most {MAX_LABEL}. Fix the line.")
    try:
        text = _as_text(label)
    except UnicodeDecodeError:
        _wrong(path, number, f"the label {_shown(label)} is not UTF-8. Save the table as “CSV UTF-8”.")
    if not text:
        _wrong(path, number, "the label is empty, expected one. Fix the line.")
    table.add(text, number)
    return [_pixel(path, number, column, cell, head) for column, cell in enumerate(cells)]


def _pixel(path: Path, number: int, column: int, cell: bytes, head: Head) -> int:
    place = column + 1 + (head.label is not None and column >= head.label)
    value = _whole(cell)
    if value is None:
        fix = "Scale the values to 0 to 255." if _is_number(cell) or cell[:1] == b"." else "Fix the line."
        _wrong(path, number, f"column {place}: {_shown(cell)}, expected a whole number from 0 to 255. {fix}")
    if not 0 <= value <= 255:
        fix = "Scale the values to 0 to 255."
        _wrong(path, number, f"column {place}: {_shown(cell)}, expected 0 to 255. {fix}")
    return value


def _shown(cell: bytes) -> str:
    text = shown(cell[:40].decode("utf-8", "replace"))
    return short(text)
