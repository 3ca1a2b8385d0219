"""Dropout from a hash of what is dropped: no state, so any chunking of an epoch drops the same.

A unit is kept when a 16-bit draw is at least 65536 p. The draws of features 2 j and 2 j + 1 of image b are the halves
of

    hash(j * images + b),  with two keys that are hashed from the epoch's seed, the step and the layer.

The 32-bit hash is the two-round multiply-xorshift of Ellis and Wellons ("lowbias32"), the second key added between the
rounds; the keys come from splitmix64 (Steele, Lea and Flood 2014).
"""

import numpy as np
from numpy.typing import NDArray

from modelflow.kernels.emit import I32, Code, Num
from modelflow.kernels.layout import Linear

M32, M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def dropout(k: Code, linear: Linear, p: float) -> None:
    """Arguments: block, keys (64 bits), begin (number of its first image), number (of images). In place."""
    values = k.vectors(k.block).at(linear.source)
    key1 = k.splat(k.convert(k.keys, I32))
    key2 = k.splat(k.convert(k.keys >> 32, I32))
    lanes = k.lane_numbers() + k.splat(k.convert(k.begin, I32))
    cut, scale = round(p * 65536), 1 / (1 - p)
    pairs = -(-linear.inputs // 2)
    images = k.convert(k.number, I32)
    for j in k.loop(pairs):
        counter = k.splat(k.convert(j, I32) * images) + lanes
        draw = hashed(counter, key1, key2)
        for half, bits in enumerate((draw & 0xFFFF, draw >> 16)):
            at = j * 2 + half
            values[at] = k.where(bits >= cut, values[at] * scale, k.vector(0.0))


def hashed(x: Num, key1: Num, key2: Num) -> Num:
    """32 well mixed bits."""
    x = x ^ key1
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) + key2
    x = (x ^ (x >> 16)) * 0x846CA68B
    return x ^ (x >> 16)


def keys(seed: Num, step: Num, layer: int) -> Num:
    """64 bits from seed, step and layer."""
    z = seed + (step * 64 + layer + 1) * 0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


def kept(seed: int, step: int, layer: int, images: int, features: int, p: float) -> NDArray[np.bool_]:
    """Which features of which images are kept, images x features, in NumPy."""
    key1, key2 = map(np.uint64, _keys(seed, step, layer))
    b, j = np.ogrid[: np.uint64(images), : np.uint64(-(-features // 2))]
    x = (j * np.uint64(-(-images // 16) * 16) + b) & np.uint64(M32) ^ key1
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D)) & np.uint64(M32)
    x = ((x ^ (x >> np.uint64(15))) + key2) & np.uint64(M32)
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x846CA68B)) & np.uint64(M32)
    x ^= x >> np.uint64(16)
    draws = np.stack([x & np.uint64(0xFFFF), x >> np.uint64(16)], axis=2).reshape(images, -1)
    return draws[:, :features] >= round(p * 65536)


def _keys(seed: int, step: int, layer: int) -> tuple[int, int]:
    z = (seed + (step * 64 + layer + 1) * 0x9E3779B97F4A7C15) & M64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    z ^= z >> 31
    return z & M32, z >> 32
