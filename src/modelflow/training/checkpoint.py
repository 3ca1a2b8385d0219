"""Checkpoints: `epoch`, `model_state_dict`, `optimizer_state_dict`, `loss` and `val_loss` in one file; and weights.

Read with `weights_only=True`: nothing is executed, and of what torch would allow only what a checkpoint is made of.
Files of the original framework hold lists of `numpy.float64`, which are read as plain numbers; tensors saved on a GPU
come back on the CPU. `model.safetensors` holds the weights alone. Names may begin with what DataParallel (`module.`),
torch.compile (`_orig_mod.`) or an outer module (`model.`) puts before the model's.
"""

import copy
import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import Tensor, nn

from modelflow.errors import DataError, UsageError
from modelflow.io.bounds import MAX_EPOCHS, MAX_OPCODES, check_epochs
from modelflow.io.files import read_bounded, write_atomic
from modelflow.text import short

KEYS = ("epoch", "model_state_dict", "optimizer_state_dict", "loss", "val_loss")
MAX_BYTES = 4 << 30
MAX_STEPS = 1 << 53
ROOM = 16 << 20  # what a checkpoint takes beside its tensors: losses, names, options
PICKLES_OF_OLD = 5  # before the tensors of a file that is no archive
COPIES = 5  # of the weights: Adam keeps two more, AMSGrad three, an average of the weights one
SAME_MODEL = "Build the model with the spec it was trained with."
SAME_OPTIMIZER = "Use the optimizer it was trained with."
WRAPPERS = ("module", "_orig_mod")  # parts of names that DataParallel and torch.compile add


class _Float64:
    """In place of numpy's type of a float64, which a pickle could otherwise make into any other type."""

    def __init__(self, kind: str, *_: object) -> None:
        if kind != "f8":
            raise ValueError(f"numbers of numpy's type {kind!r:.20}")

    def __setstate__(self, state: tuple[object, ...]) -> None:
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
KINDS += ["ComplexFloat", "ComplexDouble"]
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
    """`checkpoint` (with the five keys) as a file, whole or not at all; numpy's numbers become Python's.

    Raises `DataError` where none could read it.
    """
    check_epochs(len(checkpoint.get("loss", ())), str(path))
    buffer = io.BytesIO()
    torch.save(_without_numpy(dict(checkpoint)), buffer)
    write_atomic(Path(path), buffer.getvalue())


def _without_numpy(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {_without_numpy(key): _without_numpy(item) for key, item in value.items()}
    return type(value)(map(_without_numpy, value)) if type(value) in (list, tuple) else value


def most_bytes(model: nn.Module) -> int:
    """How large a checkpoint of `model` can be; nobody knows that of one with extra state."""
    state = model.state_dict()
    if extra_state(state):
        return MAX_BYTES
    return ROOM + COPIES * sum(int(value.nbytes) for value in state.values())


def extra_state(state: Mapping[str, object]) -> dict[str, Any]:
    """What modules put into a model's state by `get_extra_state` beside tensors."""
    return {name: value for name, value in state.items() if not isinstance(value, Tensor)}


def check_storable(model: nn.Module) -> None:
    """Raises `UsageError` naming what a checkpoint of `model` could not be read back with."""
    for name, value in model.state_dict().items():
        try:
            buffer = io.BytesIO()
            torch.save(_empty_alike(value), buffer)
            _unpickled(buffer.getvalue())
        except Exception as error:  # pickle and torch raise many kinds
            what = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(
                f"{name}: a {what} in the model's state, which a checkpoint cannot hold ({_reason(error)}). "
                "Let get_extra_state return tensors, numbers, texts, lists or dictionaries, or store it elsewhere."
            ) from None


def _empty_alike(value: Any) -> Any:
    """A tensor without values in place of one with many."""
    return torch.empty(0, dtype=value.dtype) if _is_plain(value) else value


def _is_plain(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_quantized


def weights_bytes(model: nn.Module) -> bytes:
    """model.safetensors: every tensor of the model's state that the format has a kind for."""
    state = model.state_dict()
    left_out = not_in_weights(model)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items() if name not in left_out}
    return bytes_of(tensors)


def not_in_weights(model: nn.Module) -> list[str]:
    """What of the model's state model.safetensors has no kind for: extra state, sparse tensors."""
    return [name for name, value in model.state_dict().items() if not _has_kind(value)]


def _has_kind(value: object) -> bool:
    try:
        return _is_plain(value) and bool(bytes_of({"": _empty_alike(value)}))
    except Exception:  # safetensors raises KeyError for a type it does not know
        return False


def read_checkpoint(path: str | Path, limit: int = MAX_BYTES) -> dict[str, Any]:
    """The checkpoint in a file of at most `limit` bytes, tensors on the CPU, losses as plain floats.

    Raises `DataError` when the file is missing, too large, cut, altered, holds other types, or lacks a key.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}. Give the path of a checkpoint (model_checkpoint.pth).")
    try:
        content = read_bounded(path, limit)
    except ValueError as reason:
        raise DataError(f"{path}: {reason}. Is it a checkpoint of this model?") from None
    return parse_checkpoint(content, path)


def parse_checkpoint(content: bytes, where: str | Path) -> dict[str, Any]:
    """The checkpoint in the content of a file that is called `where`. Raises `DataError` as `read_checkpoint` does."""
    try:
        checkpoint = _unpickled(content)
    except Exception as error:  # torch raises many kinds for damaged or hostile files
        raise DataError(f"{where}: not a readable checkpoint ({_reason(error)}). Use an undamaged copy.") from None
    return _checked(checkpoint, where)


def _unpickled(content: bytes) -> Any:
    """What torch.save wrote into `content`, when it is made of what a checkpoint may hold. Raises as torch does."""
    _check_names(*_pickles(content))
    with torch.serialization.safe_globals(NUMPY_FLOAT):
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


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
            raise ValueError("its archive is compressed, which torch never writes")
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


def _checked(checkpoint: object, path: str | Path) -> dict[str, Any]:
    if not isinstance(checkpoint, dict):
        held = type(checkpoint).__name__
        raise DataError(f"{path}: holds a {held}, expected a checkpoint with the keys {', '.join(KEYS)}")
    missing = [key for key in KEYS if key not in checkpoint]
    if missing:
        keys = ", ".join(KEYS)
        raise DataError(f"{path}: lacks the key {missing[0]!r}, expected {keys}. Is it a checkpoint of ModelFlow?")
    try:
        losses = {key: _floats(checkpoint[key]) for key in ("loss", "val_loss")}
        epoch = int(checkpoint["epoch"])
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{path}: epoch, loss or val_loss are not numbers. Use an undamaged copy.") from None
    counts = [len(values) for values in losses.values()]
    if not 0 <= epoch <= MAX_EPOCHS:
        raise DataError(f"{path}: epoch = {short(epoch)}, expected 0 to {MAX_EPOCHS:,}. Use an undamaged copy.")
    if counts[0] != counts[1]:
        raise DataError(f"{path}: loss has {counts[0]} entries, val_loss {counts[1]}, expected one per epoch in each")
    return checkpoint | losses | {"epoch": epoch}


def _floats(values: Iterable[Any]) -> list[float | None]:
    return [None if value is None else float(value) for value in values]


def parse_weights(content: bytes, model: nn.Module, where: str | Path) -> dict[str, Tensor]:
    """The weights in the content of a model.safetensors. Raises `DataError` unless they are sound and fit `model`."""
    try:
        state = tensors_of(content)
    except Exception as error:  # of its own kind, or of torch for a shape that cannot be
        raise DataError(f"{where}: not readable as safetensors ({_reason(error)}). Use an undamaged copy.") from None
    check_fits(model, state, where)
    return state


def load_into(
    model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Mapping[str, object], where: str | Path
) -> None:
    """The weights and the optimizer's state of `checkpoint` put into `model` and `optimizer`.

    Raises `DataError` naming what does not fit, before anything is changed.
    """
    state = named_as_in(model, checkpoint["model_state_dict"])
    check_fits(model, state, where)
    optimizer_state = checked_optimizer(optimizer, checkpoint["optimizer_state_dict"], where)
    _load_weights(model, _tensors_alone(model, state), where)
    optimizer.load_state_dict(optimizer_state)


def _load_weights(model: nn.Module, state: Mapping[str, object], where: str | Path) -> None:
    """Raises `DataError`, with the model as it was, when a module refuses its extra state."""
    before = copy.deepcopy(model.state_dict()) if extra_state(state) else {}
    try:
        model.load_state_dict(state)
    except Exception as error:
        if not before:
            raise
        model.load_state_dict(before)
        reason = f"{type(error).__name__}: {error}"[:200]
        raise DataError(f"{where}: the model refuses its extra state ({reason}). {SAME_MODEL}") from None


def named_as_in(model: nn.Module, state: object) -> Any:
    """`state` by the model's names where they differ only in wrappers, or in a beginning that all names have."""
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        return state
    expected = model.state_dict()
    ours, theirs = ({_without_wrappers(name): name for name in names} for names in (expected, state))
    beginning = _beginning(ours, theirs)
    clear = len(ours) == len(expected) and len(theirs) == len(state)
    if set(state) == set(expected) or not clear or {beginning + name for name in ours} != set(theirs):
        return state
    return {name: state[theirs[beginning + bare]] for bare, name in ours.items()}


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _beginning(ours: Collection[str], theirs: Collection[str]) -> str:
    """What stands before each of `ours` in `theirs`, if anything does: as long as they are longer on average."""
    longer = sum(map(len, theirs)) - sum(map(len, ours))
    beginning = next(iter(theirs), "")[: longer // max(1, len(ours))]
    return beginning if beginning.endswith(".") else ""


def _tensors_alone(model: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """`state` with the versions of `model`'s modules in place of what a file says of them, which torch would obey."""
    own = model.state_dict()
    own.update(state)
    return own


def check_fits(model: nn.Module, state: object, where: str | Path) -> None:
    """Raises `DataError` unless `state` has exactly the names and shapes of `model`'s state."""
    if not isinstance(state, Mapping):
        held = type(state).__name__
        raise DataError(f"{where}: its model_state_dict is a {held}, expected a mapping of names to tensors")
    expected = model.state_dict()
    for name in [*expected, *state]:
        if name not in state:
            raise DataError(f"{where}: lacks {name} of the model. {SAME_MODEL}")
        if name not in expected:
            raise DataError(f"{where}: holds {name!s:.80}, which the model lacks. {SAME_MODEL}")
        if not isinstance(expected[name], Tensor):
            continue  # extra state, which its module alone can judge
        given = tuple(getattr(state[name], "shape", ()))
        if not isinstance(state[name], Tensor) or given != tuple(expected[name].shape):
            shapes = f"{_text(given):.80}, the model's has {_text(tuple(expected[name].shape))}"
            raise DataError(f"{where}: {name} has shape {shapes}. {SAME_MODEL}")
        if state[name].is_floating_point() != expected[name].is_floating_point():
            kinds = f"{state[name].dtype}, the model's {expected[name].dtype}"
            raise DataError(f"{where}: {name} is of {kinds}. {SAME_MODEL}")


def checked_optimizer(optimizer: torch.optim.Optimizer, state: Any, where: str | Path) -> dict[str, Any]:
    """`state` with numbers as tensors where `optimizer` keeps those, as Adam's steps, numbers before torch 1.12.

    Raises `DataError` unless `optimizer` can resume from it: of its kind and its tensors' shapes.
    """
    groups, kept = _parts(state, where)
    for name, value in ((name, value) for group in groups for name, value in group.items()):
        if isinstance(value, float) and not math.isfinite(value):
            raise DataError(f"{where}: its optimizer has {short(name)} = {value}. Use an undamaged copy.")
    given, expected = ([len(group["params"]) for group in each] for each in (groups, optimizer.param_groups))
    if given != expected:
        raise DataError(f"{where}: its optimizer has parameter groups of {short(given)} tensors, expected {expected}")
    kind = type(optimizer).__name__
    flags = [group.get("decoupled_weight_decay") for group in (groups[0], optimizer.param_groups[0])]
    if None not in flags and flags[0] != flags[1]:
        raise DataError(f"{where}: its optimizer is not {kind} (one of Adam and AdamW is). {SAME_OPTIMIZER}")
    try:
        trial = _states_after_a_step(optimizer, groups)
    except Exception as error:  # what an optimizer raises without its options depends on its kind
        reason = f"{type(error).__name__}: {error}"[:200]
        raise DataError(f"{where}: its optimizer is not {kind} ({reason}). {SAME_OPTIMIZER}") from None
    numbers = [number for group in groups for number in group["params"]]
    taken = dict(kept)
    for number, expected_state in zip(numbers, trial, strict=True):
        if kept.get(number):
            taken[number] = _as_tensors(kept[number], expected_state)
            _check_state(taken[number], expected_state, f"{where}: its optimizer's state of tensor {number}", kind)
    return dict(state) | {"state": taken}


def _as_tensors(given: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: torch.tensor(float(value), dtype=expected[name].dtype)
        if type(value) in (int, float) and 0 <= value <= MAX_STEPS and isinstance(expected.get(name), Tensor)
        else value
        for name, value in given.items()
    }


def _parts(state: Any, where: str | Path) -> tuple[list[dict[str, Any]], Mapping[Any, Any]]:
    try:
        groups, kept = state["param_groups"], state["state"]
        sound = all(isinstance(group["params"], list) for group in groups)
        sound = sound and isinstance(kept, Mapping) and all(isinstance(one, Mapping) for one in kept.values())
    except (TypeError, KeyError, IndexError):
        sound = False
    if not sound:
        raise DataError(f"{where}: its optimizer_state_dict is not the state of an optimizer. Use an undamaged copy.")
    return groups, kept


def _states_after_a_step(optimizer: torch.optim.Optimizer, groups: object) -> list[dict[str, Any]]:
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
        raise DataError(f"{what} has other types than {kind} keeps. {SAME_OPTIMIZER}")
    if shapes[0] != shapes[1]:
        texts = (", ".join(f"{name} {_text(shape)}" for name, shape in each.items()) or "nothing" for each in shapes)
        raise DataError(f"{what} holds {next(texts):.200}, {kind} keeps {next(texts)}. {SAME_OPTIMIZER}")


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape) or "none"
