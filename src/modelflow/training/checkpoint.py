"""Checkpoints: `epoch`, `model_state_dict`, `optimizer_state_dict`, `loss` and `val_loss` in one file; and weights.

Read with `weights_only=True`: nothing is executed, and of what torch would allow only what a checkpoint is made of.
Files of the original framework hold lists of `numpy.float64`, which are read as plain numbers; tensors saved on a GPU
come back on the CPU. `model.safetensors` holds the weights alone.
"""

import copy
import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as tensors_of
from torch import Tensor, nn

from modelflow.errors import DataError
from modelflow.files import read_bounded, write_whole
from modelflow.spec import short

KEYS = ("epoch", "model_state_dict", "optimizer_state_dict", "loss", "val_loss")
MAX_BYTES = 4 << 30
MAX_OPCODES = 500_000
MAX_EPOCHS = 10_000_000
ROOM = 16 << 20  # what a checkpoint takes beside its tensors: losses, names, options
PICKLES_OF_OLD = 5  # before the tensors of a file that is no archive
COPIES = 5  # of the weights: Adam keeps two more, AMSGrad three
SAME_MODEL = "build the model with the spec it was trained with"
SAME_OPTIMIZER = "use the optimizer it was trained with"


class _Float64:
    """In place of numpy's type of a float64, which a pickle could otherwise make into any other type."""

    def __init__(self, kind: str, *_: Any) -> None:
        if kind != "f8":
            raise ValueError(f"numbers of numpy's type {kind!r:.20}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] != "<":
            raise ValueError("numbers whose bytes are not in the usual order")


def _float(_: _Float64, content: bytes) -> float:
    """In place of numpy's maker of numbers."""
    return float(struct.unpack("<d", content)[0])


NUMPY_FLOAT: list[Any] = [
    (_float, "numpy._core.multiarray.scalar"),
    (_float, "numpy.core.multiarray.scalar"),
    (_Float64, "numpy.dtype"),
]
KINDS = ["Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"]
NAMES = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch Size",
    "_codecs encode",
    "numpy dtype",
    "numpy._core.multiarray scalar",
    "numpy.core.multiarray scalar",
    *(f"torch {kind}Storage" for kind in KINDS),
}


def write_checkpoint(path: str | Path, checkpoint: Mapping[str, Any]) -> None:
    """`checkpoint` (with the five keys) as a file, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)
    write_whole(Path(path), buffer.getvalue())


def most_bytes(model: nn.Module) -> int:
    """How large a checkpoint of `model` can be."""
    return ROOM + COPIES * sum(int(value.nbytes) for value in model.state_dict().values())


def read_checkpoint(path: str | Path, limit: int = MAX_BYTES) -> dict[str, Any]:
    """The checkpoint in a file of at most `limit` bytes, tensors on the CPU, losses as plain floats.

    Raises `DataError` when the file is missing, too large, cut, altered, holds other types, or lacks a key.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}; give the path of a checkpoint (model_checkpoint.pth)")
    try:
        content = read_bounded(path, limit)
    except ValueError as reason:
        raise DataError(f"{path}: {reason}; is it a checkpoint of this model?") from None
    return parse_checkpoint(content, path)


def parse_checkpoint(content: bytes, where: str | Path) -> dict[str, Any]:
    """The checkpoint in the content of a file that is called `where`. Raises `DataError` as `read_checkpoint` does."""
    try:
        _check_names(*_pickles(content))
        with torch.serialization.safe_globals(NUMPY_FLOAT):
            checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged or hostile files
        raise DataError(f"{where}: not a readable checkpoint ({_reason(error)}); use an undamaged copy") from None
    return _checked(checkpoint, where)


def _pickles(content: bytes) -> tuple[bytes, int]:
    """Pickles and how many: the one of a checkpoint, or those that an old one begins with.

    The checksums of the archive, which torch does not read, are checked. Raises `ValueError` for an archive that is
    altered, has a name twice, or would unpack to more than it holds.
    """
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content, PICKLES_OF_OLD
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = {info.filename.lower(): info for info in archive.infolist()}
        packed = any(info.compress_type or info.file_size != info.compress_size for info in infos.values())
        if packed or sum(info.file_size for info in infos.values()) > len(content):
            raise ValueError("its archive is compressed, and torch writes no such")
        if len(infos) < len(archive.infolist()):
            raise ValueError("its archive has a name twice")
        altered = archive.testzip()
        if altered is not None:
            raise ValueError(f"{altered!r:.80} has been altered")
        pickles = [archive.read(info) for name, info in infos.items() if name.endswith("data.pkl")]
        return b"".join(pickles), len(pickles)


def _check_names(pickles: bytes, count: int) -> None:
    """Raises `ValueError` for pickles that name anything a checkpoint is not made of, or are too long to be one's."""
    stream, opcodes = io.BytesIO(pickles), 0
    for _ in range(count):
        for opcode, argument, _place in pickletools.genops(stream):
            opcodes += 1
            if opcodes > MAX_OPCODES:
                raise ValueError("too long for a checkpoint")
            if opcode.name == "GLOBAL" and argument not in NAMES:
                raise ValueError(f"Unsupported global: {argument!r:.80}")


def _reason(error: Exception) -> str:
    """The error in a line, without torch's advice to load the file with `weights_only=False`."""
    cause = str(error).rpartition("WeightsUnpickler error:")[2]
    sentences = [part for part in cause.split("\n\n") if "weights_only" not in part]
    return " ".join(" ".join(sentences).split()).partition(" Please use")[0][:200] or "it ends early"


def _checked(checkpoint: Any, path: str | Path) -> dict[str, Any]:
    if not isinstance(checkpoint, dict):
        held = type(checkpoint).__name__
        raise DataError(f"{path}: holds a {held}, expected a checkpoint with the keys {', '.join(KEYS)}")
    missing = [key for key in KEYS if key not in checkpoint]
    if missing:
        keys = ", ".join(KEYS)
        raise DataError(f"{path}: lacks the key {missing[0]!r}, expected {keys}; is it a checkpoint of ModelFlow?")
    try:
        losses = {key: _floats(checkpoint[key]) for key in ("loss", "val_loss")}
        epoch = int(checkpoint["epoch"])
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{path}: epoch, loss or val_loss are not numbers; use an undamaged copy") from None
    counts = [len(values) for values in losses.values()]
    if not 0 <= epoch <= MAX_EPOCHS:
        raise DataError(f"{path}: epoch = {short(epoch)}, expected 0 to {MAX_EPOCHS:,}; use an undamaged copy")
    if counts[0] != counts[1]:
        raise DataError(f"{path}: loss has {counts[0]} entries, val_loss {counts[1]}, expected one an epoch in each")
    return checkpoint | losses | {"epoch": epoch}


def _floats(values: Iterable[Any]) -> list[float | None]:
    return [None if value is None else float(value) for value in values]


def parse_weights(content: bytes, model: nn.Module, where: str | Path) -> dict[str, Tensor]:
    """The weights in the content of a model.safetensors. Raises `DataError` unless they are sound and fit `model`."""
    try:
        state = tensors_of(content)
    except Exception as error:  # of its own kind, or of torch for a shape that cannot be
        raise DataError(f"{where}: not readable as safetensors ({_reason(error)}); use an undamaged copy") from None
    check_fits(model, state, where)
    return state


def load_into(
    model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Mapping[str, Any], where: str | Path
) -> None:
    """The weights and the optimizer's state of `checkpoint` put into `model` and `optimizer`.

    Raises `DataError` naming what does not fit, before anything is changed.
    """
    check_fits(model, checkpoint["model_state_dict"], where)
    check_optimizer(optimizer, checkpoint["optimizer_state_dict"], where)
    model.load_state_dict(_tensors_alone(model, checkpoint["model_state_dict"]))
    optimizer.load_state_dict(checkpoint["optimizer_state_dict"])


def _tensors_alone(model: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """`state` with the versions of `model`'s modules in place of what a file says of them, which torch would obey."""
    own = model.state_dict()
    own.update(state)
    return own


def check_fits(model: nn.Module, state: Any, where: str | Path) -> None:
    """Raises `DataError` unless `state` has exactly the names and shapes of `model`'s state."""
    if not isinstance(state, Mapping):
        held = type(state).__name__
        raise DataError(f"{where}: its model_state_dict is a {held}, expected a mapping of names to tensors")
    expected = model.state_dict()
    for name in [*expected, *state]:
        if name not in state:
            raise DataError(f"{where}: lacks {name} of the model; {SAME_MODEL}")
        if name not in expected:
            raise DataError(f"{where}: holds {name!s:.80}, which the model lacks; {SAME_MODEL}")
        given = tuple(getattr(state[name], "shape", ()))
        if not isinstance(state[name], Tensor) or given != tuple(expected[name].shape):
            shapes = f"{_text(given):.80}, the model's has {_text(tuple(expected[name].shape))}"
            raise DataError(f"{where}: {name} has shape {shapes}; {SAME_MODEL}")
        if state[name].is_floating_point() != expected[name].is_floating_point():
            kinds = f"{state[name].dtype}, the model's {expected[name].dtype}"
            raise DataError(f"{where}: {name} is of {kinds}; {SAME_MODEL}")


def check_optimizer(optimizer: torch.optim.Optimizer, state: Any, where: str | Path) -> None:
    """Raises `DataError` unless `state` is one that `optimizer` can go on from: of its kind and its tensors' shapes."""
    groups, kept = _parts(state, where)
    for name, value in ((name, value) for group in groups for name, value in group.items()):
        if isinstance(value, float) and not math.isfinite(value):
            raise DataError(f"{where}: its optimizer has {short(name)} = {value}; use an undamaged copy")
    given, expected = ([len(group["params"]) for group in each] for each in (groups, optimizer.param_groups))
    if given != expected:
        raise DataError(f"{where}: its optimizer has parameter groups of {short(given)} tensors, expected {expected}")
    kind = type(optimizer).__name__
    flags = [group.get("decoupled_weight_decay") for group in (groups[0], optimizer.param_groups[0])]
    if None not in flags and flags[0] != flags[1]:
        raise DataError(f"{where}: its optimizer is not {kind} (one of Adam and AdamW is); {SAME_OPTIMIZER}")
    try:
        trial = _states_after_a_step(optimizer, groups)
    except Exception as error:  # what an optimizer raises without its options depends on its kind
        reason = f"{type(error).__name__}: {error}"[:200]
        raise DataError(f"{where}: its optimizer is not {kind} ({reason}); {SAME_OPTIMIZER}") from None
    numbers = [number for group in groups for number in group["params"]]
    for number, expected_state in zip(numbers, trial, strict=True):
        if kept.get(number):
            _check_state(kept[number], expected_state, f"{where}: its optimizer's state of tensor {number}", kind)


def _parts(state: Any, where: str | Path) -> tuple[list[dict[str, Any]], Mapping[Any, Any]]:
    try:
        groups, kept = state["param_groups"], state["state"]
        sound = all(isinstance(group["params"], list) for group in groups)
        sound = sound and isinstance(kept, Mapping) and all(isinstance(one, Mapping) for one in kept.values())
    except (TypeError, KeyError, IndexError):
        sound = False
    if not sound:
        raise DataError(f"{where}: its optimizer_state_dict is not the state of an optimizer; use an undamaged copy")
    return groups, kept


def _states_after_a_step(optimizer: torch.optim.Optimizer, groups: Any) -> list[dict[str, Any]]:
    """What a copy of the optimizer with the options of `groups` keeps of each of its tensors."""
    trial = copy.deepcopy(optimizer)
    trial.load_state_dict({"state": {}, "param_groups": groups})
    tensors = [tensor for group in trial.param_groups for tensor in group["params"]]
    for tensor in tensors:
        tensor.grad = torch.zeros_like(tensor)
    trial.step()
    return [trial.state[tensor] for tensor in tensors]


def _check_state(given: Any, expected: dict[str, Any], what: str, kind: str) -> None:
    shapes = [
        {name: tuple(getattr(value, "shape", ())) for name, value in state.items() if value is not None}
        for state in (given, expected)
    ]
    if shapes[0] == shapes[1] and any(type(given[name]) is not type(expected[name]) for name in shapes[1]):
        raise DataError(f"{what} is not of the kinds that {kind} keeps; {SAME_OPTIMIZER}")
    if shapes[0] != shapes[1]:
        texts = (", ".join(f"{name} {_text(shape)}" for name, shape in each.items()) or "nothing" for each in shapes)
        raise DataError(f"{what} holds {next(texts):.200}, {kind} keeps {next(texts)}; {SAME_OPTIMIZER}")


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape) or "none"
