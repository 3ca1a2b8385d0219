"""The functions of a network of the card's family as one module of WebAssembly, for a page to train with.

module(trace(preset("generic_2")), Adam())  ->  bytes; exports train, logits, pack and unpack

LLVM writes an object for a linker. What a linker would do is little here: these functions call only each other, and
keep nothing in memory of their own. So the object becomes a module when its notes for the linker are left out and the
names of its functions are put in (https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm

from modelflow.kernels.layout import layout
from modelflow.kernels.machine import Machine, optimized
from modelflow.kernels.rules.rule import Rule
from modelflow.kernels.step import Program
from modelflow.networks.trace import Trace

TRIPLE = "wasm32-unknown-unknown"
BROWSER = Machine("generic", "+simd128", lanes=4, registers=16, architecture="wasm32")  # every browser since 2023
ENTRIES = ("train", "logits", "pack", "unpack")
CUSTOM, TYPES, IMPORTS, FUNCTIONS, EXPORTS, CODE = 0, 1, 2, 3, 7, 10  # sections
SYMBOL_TABLE, FUNCTION = 8, 0  # of the section "linking"
LOCAL, UNDEFINED = 0x2, 0x10  # flags of a symbol


def module(trace: Trace, rule: Rule) -> bytes:
    """The module. It imports its memory, `env.__linear_memory`, whose addresses it is called with.

    Raises `OutsideFamilyError` for another network, and `ValueError` for one that a linker would be needed for.
    """
    text = Program(layout(trace, BROWSER.lanes), BROWSER, rule).text
    return _linked(_object(text))


def _object(text: str) -> bytes:
    """LLVM's object file; only the entries keep their names."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(TRIPLE).create_target_machine(BROWSER.cpu, BROWSER.features, opt=2)
    compiled: bytes = target.emit_object(optimized(_for_target(text, target), target))
    return compiled


def _for_target(text: str, target: Any) -> str:
    """The code with its target named: what is optimized must know how wide an address is."""
    code = llvm.parse_assembly(text)
    code.triple, code.data_layout = TRIPLE, str(target.target_data)
    for function in code.functions:
        if not function.is_declaration and function.name not in ENTRIES:
            function.linkage = llvm.Linkage.internal
    return str(code)


def _linked(compiled: bytes) -> bytes:
    """The module that an object becomes whose functions need no linker."""
    sections = list(_sections(compiled))
    kinds = {section.kind for section in sections}
    if kinds - {CUSTOM, TYPES, IMPORTS, FUNCTIONS, CODE}:
        raise ValueError(f"sections {sorted(kinds)}: only functions can do without a linker")
    named = next(entries for section in sections if (entries := _entries(section)))
    exports = [_name(name) + bytes([FUNCTION]) + _number(index) for name, index in named.items()]
    by_kind = {section.kind: section.content for section in sections if section.kind != CUSTOM}
    by_kind[EXPORTS] = _number(len(exports)) + b"".join(exports)
    parts = (bytes([kind]) + _number(len(content)) + content for kind, content in sorted(by_kind.items()))
    return compiled[:8] + b"".join(parts)


@dataclass
class _Reader:
    """Bytes read from the front on."""

    content: bytes
    at: int = 0

    @property
    def left(self) -> bool:
        return self.at < len(self.content)

    def take(self, count: int) -> bytes:
        self.at += count
        return self.content[self.at - count : self.at]

    def number(self) -> int:
        """An unsigned integer in LEB128: seven bits a byte, the lowest first."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text(self) -> str:
        return self.take(self.number()).decode()


@dataclass(frozen=True)
class _Section:
    kind: int
    content: bytes


def _sections(compiled: bytes) -> Iterator[_Section]:
    reader = _Reader(compiled, at=8)  # behind the magic number and the version
    while reader.left:
        kind = reader.number()
        yield _Section(kind, reader.take(reader.number()))


def _entries(section: _Section) -> dict[str, int]:
    """The index of each function that others may call, from the table of symbols; nothing in another section."""
    reader = _Reader(section.content)
    if section.kind != CUSTOM or reader.text() != "linking":
        return {}
    reader.number()  # the version
    while reader.left:
        kind, table = reader.number(), _Reader(reader.take(reader.number()))
        if kind == SYMBOL_TABLE:
            return dict(_called_from_without(table))
    return {}


def _called_from_without(table: _Reader) -> Iterator[tuple[str, int]]:
    for _ in range(table.number()):
        kind, flags, index = table.number(), table.number(), table.number()
        if kind != FUNCTION or flags & UNDEFINED:
            raise ValueError("a symbol that is not defined here: it takes a linker")
        name = table.text()
        if not flags & LOCAL:
            yield name, index


def _number(value: int) -> bytes:
    """LEB128."""
    *low, high = [(value >> shift) & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(byte | 0x80 for byte in low), high])


def _name(text: str) -> bytes:
    return _number(len(text.encode())) + text.encode()
