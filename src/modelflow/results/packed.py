"""The runs of somebody's results, a folder or a zip of one, file by file; what is hostile is refused. No torch.

with files_of(Path("anna.zip")) as files:
    for file in files: print(file.run, file.name)        # generic_1/seeds/43 run.json
"""

import os
import re
import stat
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from modelflow.errors import DataError, ModelFlowError, SpecError
from modelflow.io.bounds import MAX_MERGED_FILES
from modelflow.networks.resolve import check_spelling
from modelflow.results.contents import is_of_a_run
from modelflow.results.layout import RUN, SEEDS, SET_ASIDE, STUDIES, STUDY, run_folders
from modelflow.text import one_line, short

TOP = PurePosixPath()
OF_A_STUDY = (STUDY, STUDIES)
END = struct.Struct("<4s4H2LH")  # of a zip archive: its last record
MAX_COMMENT = 1 << 16
MAX_REASON = 200  # characters of what zipfile says
MAX_DIRECTORY = 32 << 20  # bytes of a zip's list of members
UNZIP = "Unzip it, look at what is in it, and give the folder."
DRIVE = re.compile(r"^[A-Za-z]:")
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class RunFile(NamedTuple):
    """A file of a finished run, which lies in `run` of its results folder: MODEL, or MODEL/seeds/SEED.

    Of what the folder says of its study, `run` is `TOP`.
    """

    run: PurePosixPath
    name: str
    size: int
    open: Callable[[], IO[bytes]]


@contextmanager
def files_of(source: Path) -> Iterator[list[RunFile]]:
    """The files of all finished runs in a results folder, in a zip of one, or of one model, and study.json.

    Others are left out.

    Raises `DataError` for what is neither, for links, names that lead out of it, and a zip that is damaged, encrypted,
    or holds too much.
    """
    if source.is_dir():
        yield _finished(_in_folder(source), source)
        return
    if not source.is_file():
        raise DataError(f"{one_line(source)}: no such file. Give a results folder, or a zip of one.")
    _check_directory(source)
    with ExitStack() as opened:
        try:
            archive = opened.enter_context(zipfile.ZipFile(source))
            files = _finished(_in_zip(archive, source), source)
        except (ModelFlowError, OSError, MemoryError):
            raise
        except Exception as error:  # whatever zipfile makes of a file that is none
            said = one_line(str(error) or type(error).__name__)[:MAX_REASON]
            raise DataError(f"{one_line(source)}: cannot be read as a zip: {said}. Ask for a sound copy.") from None
        yield files


def _finished(files: Iterable[RunFile], source: Path) -> list[RunFile]:
    """Those of runs that are finished. Raises `DataError` where there is none, or a file is there twice."""
    found, studies = dict[tuple[str, str], RunFile](), list[RunFile]()
    for file in files:
        key = str(file.run).lower(), file.name.lower()
        if file.run == TOP:
            studies.append(file)
            continue
        if key in found:
            raise DataError(f"{one_line(source)}: holds {file.run}/{file.name} twice. {UNZIP}")
        found[key] = file
    finished = {file.run for file in found.values() if file.name == RUN}
    if not finished:
        raise DataError(
            f"{one_line(source)}: no finished run in it. Give a results folder, such as the one `modelflow run` wrote, "
            "or a zip of it."
        )
    of_one_study = studies if len({file.name for file in studies}) == len(studies) else []
    return [*(file for file in found.values() if file.run in finished), *of_one_study]


def _in_folder(source: Path) -> Iterator[RunFile]:
    """Of the models in a results folder; of a model's folder its own. Raises `DataError` for links."""
    own = (source / RUN).is_file()
    top = source.resolve().parent if own else source
    folders = [folder for folder in run_folders(top) if not own or folder.is_relative_to(source.resolve())]
    for folder in [*folders, *([] if own else [source])]:
        for path in sorted(folder.iterdir()):
            if not (path.name in OF_A_STUDY if folder == source and not own else is_of_a_run(path.name)):
                continue
            if path.is_symlink() or not path.is_file():
                raise DataError(f"{one_line(path)}: expected a file. Replace it with a copy.")
            run = PurePosixPath(folder.relative_to(top).as_posix())
            yield RunFile(run, path.name, path.stat().st_size, partial(_opened, path))


def _opened(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)), "rb")


def _check_directory(source: Path) -> None:
    """Raises `DataError` unless a list of members of moderate size stands at the end of a zip."""
    with source.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, size - MAX_COMMENT - END.size))
        tail = file.read(MAX_COMMENT + END.size)
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < END.size:
        raise DataError(f"{one_line(source)}: is no zip archive, or is cut. Give a results folder, or a zip of one.")
    _, _, _, _, members, directory, offset, _ = END.unpack_from(tail, place)
    far = tail[max(0, place - 20) : max(0, place - 20) + 4] == b"PK\6\7"
    if far or members > MAX_MERGED_FILES or directory > MAX_DIRECTORY or offset + directory > start + place:
        raise DataError(f"{one_line(source)}: a zip of too many or too large files. {UNZIP}")


def _in_zip(archive: zipfile.ZipFile, source: Path) -> Iterator[RunFile]:
    members = archive.infolist()
    if len(members) > MAX_MERGED_FILES:
        raise DataError(f"{one_line(source)}: holds more than {MAX_MERGED_FILES:,} files. {UNZIP}")
    for member in members:
        name = member.filename.replace("\\", "/")
        parts = PurePosixPath(name).parts
        if name.startswith("/") or DRIVE.match(name) or ".." in parts:
            raise DataError(f"{one_line(source)}: {short(name)} leads out of the archive. Do not unzip it.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{one_line(source)}: {short(name)} is a symbolic link, expected files. {UNZIP}")
        if member.is_dir() or not parts:
            continue
        if (run := _run_of(parts, source)) is None:
            continue
        if member.flag_bits & 1 or member.compress_type not in PACKINGS:
            raise DataError(f"{one_line(source)}: {short(name)} is encrypted, or packed in an unusual way. {UNZIP}")
        yield RunFile(run, parts[-1], member.file_size, partial(archive.open, member))


def _run_of(parts: tuple[str, ...], source: Path) -> PurePosixPath | None:
    """Where in its results folder a run lies, by the path of a file; None where that may be of no run or study."""
    *folders, name = parts
    if name in OF_A_STUDY:
        return None if "__MACOSX" in folders else TOP
    if not is_of_a_run(name):
        return None
    further = folders[-2:] if folders[-2:-1] == [SEEDS] and folders[-1].isdecimal() else []
    above = folders[: len(folders) - len(further)]
    model = above[-1] if above else source.stem
    if SET_ASIDE.search(model) or any(part == "__MACOSX" for part in above):
        return None
    try:
        return PurePosixPath(check_spelling(model), *further)
    except SpecError:
        return None
