"""What a device has, and what a network needs of it: flash and RAM, said before anything is trained.

needed(trace(preset("generic_2")), int8=True).fits(read_device("256KB flash, 64KB ram"))
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from modelflow.errors import UsageError
from modelflow.export.c.pixels import Pixels
from modelflow.export.c.source import c_model
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Description
from modelflow.text import short

CODE_BYTES = 8 << 10  # at most, by gcc -Os for a Cortex-M0 or M4, with the library's float32 where it has none
STACK_BYTES = 1 << 10
UNITS = {"b": 1, "kb": 1 << 10, "kib": 1 << 10, "mb": 1 << 20, "mib": 1 << 20}
PART = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(b|kb|kib|mb|mib)\s+(flash|ram)\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Memories:
    """Bytes of flash and of RAM, that a device has or a network needs."""

    flash: int
    ram: int

    def fits(self, device: "Memories") -> bool:
        """Whether a device has as much."""
        return self.flash <= device.flash and self.ram <= device.ram


def read_device(text: str) -> Memories:
    """A device in words, such as "256KB flash, 64KB ram"; a KB has 1,024 bytes, as in data sheets.

    Raises `UsageError` for anything else.
    """
    found = [PART.fullmatch(part) for part in text.split(",")]
    sizes = {match[3].lower(): int(float(match[1]) * UNITS[match[2].lower()]) for match in found if match}
    if len(found) != 2 or len(sizes) != 2:
        raise UsageError(f'device {short(text)}: expected flash and RAM, such as "256KB flash, 64KB ram"')
    return Memories(sizes["flash"], sizes["ram"])


@lru_cache(maxsize=64)
def needed(spec: Description, int8: bool) -> Memories:
    """What a network needs in C: constants, memory, one image in bytes, probabilities, with room for code and stack.

    Raises `UsageError` for a network that cannot be written in C.
    """
    model = GenericCNN(spec)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    channels, *_ = shape = spec.input_shape
    image = np.zeros(shape, np.uint8)
    pixels, names = Pixels((0.0,) * channels, (1.0,) * channels), [""] * spec.logits
    made = c_model("forecast", model.trace, state, pixels, names, image, image[None] if int8 else None)
    given = image.nbytes + 4 * spec.logits
    return Memories(made.constant_bytes + CODE_BYTES, made.ram_bytes + given + STACK_BYTES)
