"""The results of several people brought together in one folder, each model's under the name of whose it is. No torch.

merge(["anna.zip", "ben.zip"], "class").report()        # of class/anna-generic_1, class/ben-generic_1
"""

import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from modelflow.analysis.identity import Compared, compared_by, settings_apart, unlike_words, why_not_compared
from modelflow.analysis.reading import LeftOut, read_folder
from modelflow.errors import DataError, ModelFlowError, UsageError
from modelflow.io.arguments import make_writable
from modelflow.io.bounds import MAX_MERGED_BYTES, MAX_PREDICTION_BYTES, MAX_RECORD_BYTES, MAX_STUDY_BYTES
from modelflow.io.files import make_folder, sha256_of_file
from modelflow.io.locks import folder_lock
from modelflow.networks.resolve import check_name
from modelflow.results.asked import read_asked
from modelflow.results.layout import PREDICTIONS, RUN, STORED, has_states, read_predictions, read_run, run_folders
from modelflow.results.packed import MAX_REASON, OF_A_STUDY, TOP, RunFile, files_of
from modelflow.studies.loaded_results import Results
from modelflow.studies.merged_study import keep
from modelflow.text import counted, ended, one_line, short

CHUNK = 1 << 20
MAX_DAMAGED = 10  # that a message names
LIMITS = {RUN: MAX_RECORD_BYTES, PREDICTIONS: MAX_PREDICTION_BYTES, **dict.fromkeys(OF_A_STUDY, MAX_STUDY_BYTES)}
STUDIES_STAGED = ".studies"
BROKEN = (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)  # what zipfile makes of damaged zips
Runs = dict[PurePosixPath, Path]  # where each goes in the folder; where it lies until then


@dataclass(frozen=True, repr=False)
class Merged(Results):
    """The results of all: how many runs each source brought as `new`, and how many were `there` already.

    `not_kept` says why study.json keeps no metric and margin of theirs; empty where it does.
    """

    new: dict[str, int] = field(default_factory=dict)
    there: dict[str, int] = field(default_factory=dict)
    not_kept: str = ""

    @property
    def said(self) -> list[str]:
        """What each source brought, and in what the models differ, in sentences."""
        brought = [
            f"{name}: {counted(new, 'run')}{f', {self.there[name]} there already' if self.there[name] else ''}"
            for name, new in self.new.items()
        ]
        return [*brought, *differences(self.folder), *([self.not_kept] if self.not_kept else [])]

    def _notes(self) -> Sequence[str]:
        return [*super()._notes(), *map(ended, self.said)]


def merge(sources: Sequence[str | Path], into: str | Path) -> Merged:
    """Copies the finished runs of results folders, or zips of them, into one: MODEL of SOURCE as SOURCE-MODEL.

    All are checked first: if one is damaged, or there already as another run, nothing is copied. The metric and the
    margin that the sources were decided by are kept in study.json where all agree. Raises `DataError` or `UsageError`
    with what is wrong with which of them.
    """
    if isinstance(sources, str | Path):
        raise UsageError(f"merge: {short(str(sources))}: expected a list of sources, such as ['anna.zip', 'ben.zip']")
    paths, into = [Path(source) for source in sources], Path(into)
    names = called(paths)
    if into.resolve() in {path.resolve() for path in paths}:
        raise UsageError(f"--into {into}: is one of the sources. Give another folder.")
    make_writable(into.parent, "--into")
    staging = Path(tempfile.mkdtemp(prefix=".merge-", dir=into.parent))
    try:
        staged = _staged(dict(zip(names, paths, strict=True)), staging)
        with folder_lock(into):
            _check_free(staged, into)
            had_runs = next(run_folders(into), None) is not None
            new, there = _placed(staged, into)
            studies = {name: read_asked(staging / STUDIES_STAGED / name).studies for name in names}
            merged = {name: {run.parts[0] for run in runs} for name, runs in staged.items()}
            return Merged(into, None, new, there, keep(studies, merged, into, had_runs))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def called(sources: Sequence[Path]) -> list[str]:
    """What each is called: its file or folder without the ending; where these are alike, what tells the paths apart.

    Raises `UsageError` for one given twice, or whose name names no folder.
    """
    paths = [source.resolve() for source in sources]
    if len(set(paths)) < len(paths):
        raise UsageError("merge: a source is given twice. Give each once.")
    stems = [path.name if path.is_dir() else path.stem for path in paths]
    counts = Counter(stem.lower() for stem in stems)
    found = [path.parent.name if counts[stem.lower()] > 1 else stem for path, stem in zip(paths, stems, strict=True)]
    names = [re.sub(r"[^A-Za-z0-9_+]+", "-", name).strip("-") for name in found]
    if len({name.lower() for name in names}) < len(names) or not all(names):
        raise UsageError(f"merge: sources need names of their own, got {', '.join(map(one_line, found))}. Rename them.")
    return names


def _staged(sources: dict[str, Path], staging: Path) -> dict[str, Runs]:
    """The runs of each source unpacked and found sound. Raises `DataError` that names all that are not."""
    room, staged, damaged = MAX_MERGED_BYTES, dict[str, Runs](), list[str]()
    for name, source in sources.items():
        with files_of(source) as files:
            room -= sum(file.size for file in files)
            if room < 0:
                raise DataError(
                    f"{one_line(source)}: more than {MAX_MERGED_BYTES:,} bytes in all. Merge fewer at once."
                )
            staged[name] = _unpacked(files, name, source, staging)
        damaged += [
            f"{one_line(source)}: {str(run).removeprefix(f'{name}-')}: {why}"
            for run, place in staged[name].items()
            if (why := _why_damaged(place))
        ]
    if damaged:
        more = [f"and {len(damaged) - MAX_DAMAGED} more"] if len(damaged) > MAX_DAMAGED else []
        raise DataError("\n".join([*damaged[:MAX_DAMAGED], *more, "Nothing was copied. Ask for sound copies."]))
    return staged


def _unpacked(files: Iterable[RunFile], name: str, source: Path, staging: Path) -> Runs:
    runs: Runs = {}
    for file in files:
        try:
            if file.run == TOP:
                _unpack(file, staging / STUDIES_STAGED / name)
                continue
            target = PurePosixPath(check_name(f"{name}-{file.run.parts[0]}"), *file.run.parts[1:])
            _unpack(file, staging / target)
        except BROKEN as error:
            reason = ended(one_line(error)[:MAX_REASON])
            raise DataError(f"{one_line(source)}: {file.run}/{file.name}: {reason} Ask for a sound copy.") from None
        runs[target] = staging / target
    return runs


def _unpack(file: RunFile, folder: Path) -> None:
    """Raises `ValueError` for more bytes than were stated, or than such a file may have."""
    if file.size > LIMITS.get(file.name, MAX_MERGED_BYTES):
        raise ValueError(f"{file.size:,} bytes, expected at most {LIMITS[file.name]:,}")
    make_folder(folder)
    left = file.size
    with file.open() as stream, open(folder / file.name, "xb") as copy:
        while piece := stream.read(CHUNK):
            left -= len(piece)
            if left < 0:
                raise ValueError("holds more than it says")
            copy.write(piece)
    if left:
        raise ValueError("is cut")


def _why_damaged(folder: Path) -> str:
    """Why a run is not as its record says; empty where it is."""
    try:
        run = read_run(folder)
        for name in STORED:
            there = (folder / name).is_file()
            if there and run.files.get(name, "") not in ("", sha256_of_file(folder / name)):
                return f"{name} has another SHA-256 than {RUN} says"
        if (folder / PREDICTIONS).is_file():
            read_predictions(folder, run)
        elif PREDICTIONS in run.files:
            return f"{PREDICTIONS} is missing"
    except ModelFlowError as error:
        return str(error).replace(f"{folder}{os.sep}", "")
    return ""


def _check_free(staged: dict[str, Runs], into: Path) -> None:
    """Raises `UsageError` where another run lies, or one is being trained."""
    for runs in staged.values():
        for run, place in runs.items():
            target = into / run
            if has_states(target):
                raise UsageError(f"{target}: a training is under way there. Give another --into.")
            if os.path.lexists(target / RUN) and not _is_same(target / RUN, place / RUN):
                raise UsageError(f"{target}: holds another run already. Rename the source, or give another --into.")


def _is_same(path: Path, other: Path) -> bool:
    return path.is_file() and path.read_bytes() == other.read_bytes()


def _placed(staged: dict[str, Runs], into: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Moves the runs, of each run.json last, which says that it is there; how many were new, and there, by source."""
    new, there = Counter[str](), Counter[str]()
    for name, runs in staged.items():
        for run, place in runs.items():
            if (into / run / RUN).is_file():
                there[name] += 1
                continue
            make_folder(into / run)
            for path in sorted(place.iterdir(), key=lambda path: path.name == RUN):
                if path.is_file():
                    os.replace(path, into / run / path.name)
            new[name] += 1
    return {name: new[name] for name in staged}, {name: there[name] for name in staged}


def differences(where: Path) -> list[str]:
    """In what the models of a folder differ, in sentences: data, protocol, settings, versions."""
    reading = read_folder(where, LeftOut())
    firsts = {reading.names[model]: tally.one for model, tally in reading.models.items()}
    groups: dict[Compared, list[str]] = {}
    for name, run in firsts.items():
        groups.setdefault(compared_by(run), []).append(name)
    largest, *others = sorted(groups.values(), key=len, reverse=True)
    said = [
        f"{', '.join(names)} and {', '.join(largest)} were {why_not_compared(firsts[names[0]], firsts[largest[0]])}"
        for names in others
    ]
    for names in groups.values():
        apart = settings_apart([firsts[name] for name in names])
        said += filter(None, [unlike_words(dict(zip(names, apart, strict=True)))])
    packages = dict.fromkeys(package for run in firsts.values() for package in run.versions)
    for package in packages:
        counts = Counter(run.versions.get(package, "not known") for run in firsts.values())
        if len(counts) > 1:
            said.append(f"Versions of {package}: {', '.join(f'{of} ({n})' for of, n in counts.most_common())}.")
    return said
