"""A network that only code says: what makes its module, and the SHA-256 that tells whether it is the same. No torch.

code = code_in_file("nets.py:ResDS", Path("my_study"))     # reads the file and runs nothing
model = code.maker("my study")()                           # runs it
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from modelflow.errors import SpecError, UsageError
from modelflow.io.files import read_bounded, sha256
from modelflow.io.validation import did_you_mean, explain
from modelflow.text import ended, sentence, short

MAX_CODE_BYTES = 1 << 20
IN_FILE = re.compile(r"(?P<file>[^:].*\.py):(?P<name>[^\W\d]\w*)")
Maker = Callable[[], Any]


class Code(BaseModel):
    """A function, or a class, that makes a module when it is called without arguments.

    `code` is where it stands, FILE:NAME, or the class of the module, where a function of Python was given; `sha256` is
    of the file's bytes, or of the module (`build.module_sha256`). What is read from a record cannot be run: only a file
    that was read beside it, or a function that was given, can.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: Annotated[str, Field(min_length=1, max_length=1000, strict=True)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", strict=True)]
    _file: tuple[Path, bytes] | None = PrivateAttr(None)
    _function: Maker | None = PrivateAttr(None)

    @classmethod
    def of_file(cls, code: str, path: Path, content: bytes) -> Self:
        """Of a file that was read."""
        return cls(code=code, sha256=sha256(content))._with(path, content)

    @classmethod
    def of_function(cls, function: Maker, made: str, module_sha256: str) -> Self:
        """Of a function of Python, which makes modules of the class `made`."""
        code = cls(code=made, sha256=module_sha256)
        code._function = function
        return code

    def _with(self, path: Path, content: bytes) -> Self:
        self._file = path, content
        return self

    @property
    def is_in_file(self) -> bool:
        """Whether a file says it, not a function that was given in Python."""
        return IN_FILE.fullmatch(self.code) is not None

    @property
    def place(self) -> str:
        """The file and the name in it, in full where the file was read."""
        return self.code if self._file is None else f"{self._file[0].resolve()}:{self.code.rpartition(':')[2]}"

    def check_at_hand(self, model: str) -> None:
        """Raises `UsageError`, which names the `model`, where there is nothing to run, or the file has changed."""
        if self._function is not None:
            return
        if self._file is None:
            fix = (
                "Call it where its file lies, or give the study file that names it."
                if self.is_in_file
                else "Call run_models with it again."
            )
            raise UsageError(f"{model}: was made by the code {self.code}, which is not at hand. {fix}")
        if (now := sha256(self._file[1])) != self.sha256:
            raise UsageError(
                f"{model}: the code {self.place} has changed: SHA-256 stored {self.sha256[:12]}, now {now[:12]}. "
                "Restore the old file, or give another folder with --results."
            )

    def maker(self, model: str) -> Maker:
        """What makes a module, imported now if it is in a file. Raises `UsageError`, which names the `model`."""
        self.check_at_hand(model)
        if self._function is not None:
            return self._function
        assert self._file is not None
        path, content = self._file
        name = self.code.rpartition(":")[2]
        found = vars(_imported(path, content, f"{model}: {path}"))
        if not callable(found.get(name)):
            known = [word for word, value in found.items() if callable(value) and not word.startswith("_")]
            hint = sentence(did_you_mean(name, known))
            raise UsageError(f"{model}: {path} defines no function or class {name}. {hint}".rstrip())
        maker: Maker = found[name]
        return maker


def code_of(entry: Mapping[str, object], where: str, folder: Path | None) -> Code | None:
    """What makes a model of a study that its `module`, "FILE:NAME", or a `Code` in place of its spec says.

    None where it has a spec. Raises as `code_in_file` and `parse_code` do.
    """
    if "module" in entry:
        return code_in_file(entry["module"], where, folder)
    return parse_code(entry["spec"], where, folder) if is_code(entry["spec"]) else None


def is_code(fields: object) -> bool:
    """Whether it is a `Code`, or its fields as they are written."""
    return isinstance(fields, Code) or (isinstance(fields, dict) and "code" in fields)


def parse_code(fields: object, where: str, folder: Path | None = None) -> Code:
    """A `Code`, or one of its fields as they are written; its file is read if it lies in `folder` or the current one.

    Raises `SpecError` for other fields.
    """
    if isinstance(fields, Code):
        return fields
    try:
        code = Code.model_validate(fields)
    except ValidationError as error:
        raise SpecError(f"{where}: " + explain(error, list(Code.model_fields))) from None
    match = IN_FILE.fullmatch(code.code)
    path = None if match is None else _found(match["file"], folder)
    with suppress(UsageError):  # of a file that only training would need
        return code if path is None else code._with(path, _read(path, where))
    return code


def code_in_file(given: object, where: str, folder: Path | None = None) -> Code:
    """What "FILE:NAME" names. The file is looked up in `folder` first, then in the current one; it is read, not run.

    Raises `SpecError` for another form, `UsageError` for a file that is not there or cannot be read.
    """
    match = IN_FILE.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise SpecError(f"{where}: module = {short(given)}: expected a file and a name in it, such as 'nets.py:ResNet'")
    path = _found(match["file"], folder)
    if path is None:
        raise UsageError(f"{where}: {match['file']}: no such file. Give its path as seen from the study file.")
    return Code.of_file(match[0], path, _read(path, where))


def _found(file: str, folder: Path | None) -> Path | None:
    places = [Path(file)] if folder is None else [folder / file, Path(file)]
    return next((place for place in places if os.path.isfile(place)), None)


def _read(path: Path, where: str) -> bytes:
    try:
        return read_bounded(path, MAX_CODE_BYTES)
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(f"{where}: {path}: {ended(error)} Give a file of Python code.") from None


def _imported(path: Path, content: bytes, what: str) -> ModuleType:
    """The module of these bytes, run once a process. Raises `UsageError` for whatever goes wrong in it."""
    name = f"modelflow_code_{sha256(content)[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        with redirect_stdout(sys.stderr):
            exec(compile(content, str(path), "exec"), vars(module))
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception | SystemExit):
            raise
        raise UsageError(f"{what}: cannot be imported: {in_words(error, path)}") from error
    return module


def in_words(error: BaseException, path: Path | None = None) -> str:
    """What went wrong in a user's code, and in which line of the file where that is known."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else _line(error, path)
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(said.split())[:200]}" + (f" (line {line})" if line else "")


def _line(error: BaseException, path: Path | None) -> int | None:
    lines, trace = [], error.__traceback__
    while trace is not None:
        if path is None or trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return lines[-1] if lines and path is not None else None
