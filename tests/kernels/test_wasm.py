"""The module of WebAssembly as a file: what it exports, and which networks it is refused for."""

import pytest

from modelflow.kernels.rules.adam import Adam
from modelflow.kernels.wasm import ENTRIES, _number, _Reader, _sections, module
from modelflow.networks.description import Spec
from modelflow.networks.family import OutsideFamilyError
from modelflow.networks.resolve import resolve
from modelflow.networks.trace import trace

SMALL = Spec(in_channels=1, num_classes=4, input_size=8, cov_features=[2], fc_sizes=[6])
EXPORTS = 7


def test_the_entries_are_exported_and_nothing_is_left_for_a_linker():
    compiled = module(trace(SMALL), Adam())
    assert compiled[:8] == b"\0asm\1\0\0\0"
    sections = {section.kind: section.content for section in _sections(compiled)}
    assert list(sections) == sorted(sections)
    assert 0 not in sections
    exports = _Reader(sections[EXPORTS])
    found = {}
    for _ in range(exports.number()):
        name = exports.text()
        found[name] = exports.number(), exports.number()
    assert sorted(found) == sorted(ENTRIES)
    assert {kind for kind, _ in found.values()} == {0}
    assert len({index for _, index in found.values()}) == len(ENTRIES)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 16_384, (1 << 32) - 1])
def test_numbers_are_read_as_they_are_written(value):
    reader = _Reader(_number(value) + b"\x05")
    assert reader.number() == value
    assert reader.take(1) == b"\x05"


def test_a_network_whose_layers_are_shared_by_threads_takes_a_linker():
    large = Spec(in_channels=1, num_classes=4, input_size=28, cov_features=[8], fc_sizes=[40])
    with pytest.raises(ValueError, match="linker"):
        module(trace(large), Adam())


def test_a_network_outside_the_family_is_refused():
    with pytest.raises(OutsideFamilyError):
        module(trace(resolve("c4 gap fc")[1]), Adam())
