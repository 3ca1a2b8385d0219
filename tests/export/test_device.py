"""What a device has is read strictly, and what networks need is what their C takes."""

import json

import pytest

from modelflow.cli import run_command
from modelflow.errors import UsageError
from modelflow.export.c.device import CODE_BYTES, STACK_BYTES, Memories, needed, read_device
from modelflow.networks.resolve import preset


@pytest.mark.parametrize(
    ("text", "flash", "ram"),
    [
        ("256KB flash, 64KB ram", 256 << 10, 64 << 10),
        ("20 kib RAM,1.5MB Flash", 3 << 19, 20 << 10),
        (" 2048 B flash , 1 MiB ram ", 2048, 1 << 20),
    ],
)
def test_a_device_is_read(text, flash, ram):
    assert read_device(text) == Memories(flash, ram)


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "256KB flash", "256KB flash, 64KB flash", "256KB flash, 64KB ram, 1KB ram", "256 flash, 64KB ram"),
        *(
            "-1KB flash, 64KB ram",
            "256KB flash; 64KB ram",
            "256KB flash 64KB ram",
            "1e9KB flash, 64KB ram",
            "٣KB flash, 4KB ram",
        ),
        *("256KBflash, 64KB ram", "9999999999KB flash, 1KB ram", "256GB flash, 64KB ram", "٣KB flash, 4KB ram"),
    ],
)
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match='"256KB flash, 64KB ram"'):
        read_device(text)


def test_what_a_preset_needs():
    """Of generic_2 by hand: 11,854 weights and two windows, a golden image with logits, the pixels' two numbers."""
    spec = preset("generic_2")
    constants = 4 * 11_854 + 2 * 52 + 784 + 40 + 8
    assert needed(spec, int8=False) == Memories(constants + CODE_BYTES, 4 * (784 + 2304) + 784 + 40 + STACK_BYTES)


def test_models_that_fit_are_listed(capsys):
    assert run_command(["models", "--device", "64KB flash, 16KB ram", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = {(row["model"], row["numbers"]) for row in rows}
    assert ("generic_2", "float") in found
    assert ("cnn2_3", "float") in found
    assert ("generic_1", "int8") in found
    assert not {"generic_3"} & {name for name, _ in found}
    assert all(row["flash_bytes"] <= 64 << 10 and row["ram_bytes"] <= 16 << 10 for row in rows)


def test_where_none_fits_the_smallest_is_told(capsys):
    assert run_command(["models", "--device", "1KB flash, 1KB ram"]) == 0
    told = capsys.readouterr().out
    assert "No preset fits." in told
    assert "cnn2_3" in told


def test_a_device_that_cannot_be_read_is_bad_input(capsys):
    assert run_command(["models", "--device", "big"]) == 2
    assert 'device "big"' in capsys.readouterr().err.replace("'", '"')
