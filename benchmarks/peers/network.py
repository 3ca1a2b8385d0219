"""A preset's spec as plain layers, and initial weights as PyTorch draws them, for the peers to build from."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PRESETS = Path(__file__).parents[2] / "src" / "modelflow" / "networks" / "presets"


@dataclass(frozen=True)
class Block:
    """Convolution, ReLU and max-pooling."""

    inputs: int
    outputs: int
    kernel: int
    pool: int


@dataclass(frozen=True)
class Linear:
    """Dropout, then a fully connected layer, then ReLU for all but the last."""

    inputs: int
    outputs: int
    dropout: float
    relu: bool


@dataclass(frozen=True)
class Network:
    blocks: tuple[Block, ...]
    linears: tuple[Linear, ...]
    size: int  # height and width of the last maps


def network(model: str, p: float | None = None) -> Network:
    """The layers of a preset; `p` takes the place of its dropout."""
    spec = json.loads((PRESETS / f"{model}.json").read_text())
    dropout = spec["p"] if p is None else p
    blocks, channels, size = [], spec["in_channels"], spec["input_size"]
    shapes = (spec["cov_features"], spec["cov_kernel_sizes"], spec["max_pool_sizes"])
    for outputs, kernel, pool in zip(*shapes, strict=True):
        blocks.append(Block(channels, outputs, kernel, pool))
        channels, size = outputs, (size - kernel + 1) // pool
    linears, inputs = [], channels * size * size
    units = (*spec["fc_sizes"], spec["num_classes"])
    for i, outputs in enumerate(units):
        last = i == len(units) - 1
        dropped = spec["family"] == "cnn2" or not last
        linears.append(Linear(inputs, outputs, dropout if dropped else 0.0, relu=not last))
        inputs = outputs
    return Network(tuple(blocks), tuple(linears), size)


def initial(layers: Network, seed: int) -> list[np.ndarray]:
    """Weights and biases in PyTorch's order and layout, from its default: uniform within 1 / sqrt(inputs of a unit)."""
    shapes = [(b.outputs, b.inputs, b.kernel, b.kernel) for b in layers.blocks]
    shapes += [(f.outputs, f.inputs) for f in layers.linears]
    rng, arrays = np.random.default_rng(seed), []
    for shape in shapes:
        bound = 1 / np.sqrt(np.prod(shape[1:]))
        arrays += [rng.uniform(-bound, bound, part).astype(np.float32) for part in (shape, shape[:1])]
    return arrays


def channels_last(layers: Network, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The same weights for maps whose channels come last: kernels H x W x in x out, linear layers in x out."""
    turned = inputs_first(arrays)
    first = 2 * len(layers.blocks)
    turned[:first:2] = [kernel.transpose(2, 3, 1, 0) for kernel in arrays[:first:2]]
    channels, units = layers.blocks[-1].outputs, layers.linears[0].outputs
    maps = turned[first].reshape(channels, layers.size, layers.size, units)
    turned[first] = maps.transpose(1, 2, 0, 3).reshape(-1, units)
    return turned


def inputs_first(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The same weights with linear layers in x out."""
    return [a.T if a.ndim == 2 else a for a in arrays]
