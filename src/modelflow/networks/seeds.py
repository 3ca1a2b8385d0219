"""One seed, a stream of its own for each purpose: a pure function of its names. No torch."""

import hashlib


def stream(seed: int, *names: str | int) -> int:
    """The 63-bit seed of the stream that `names` call: SHA-256 of seed and names."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
