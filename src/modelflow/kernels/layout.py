"""Where everything lies: a network of the card's family turned into sizes and offsets. Integers only.

Three memories, each one array of floats aligned to a cache line:

    packed    parameters: first the weights and biases of the convolutions and the biases of the linear layers
              ("small"), then each linear weight in tiles of `rows` x `lanes`, tile after tile in the order in which
              the step reads them, padded with zeros; after them, in rows of the same order, the rule's averages
    block     what a block of `lanes` images needs: activations as vectors over the images, one vector a feature
    shared    the gradients of the small parameters, and what is used anew for each block

Offsets into packed and the gradients count floats, those into block and shared count vectors.
"""

from dataclasses import dataclass

from modelflow.networks.family import Block, Dense, family
from modelflow.networks.trace import Trace

LARGE = 32_768


@dataclass(frozen=True)
class Conv:
    """A block: convolution, max-pool, ReLU. `spread` holds the gradients of all conv outputs with a border of zeros."""

    depth: int
    size: int
    channels: int
    kernel: int
    pool: int
    pooled: int
    flat: int  # where its weight, then its bias, lie in the flat parameters
    weight: int
    bias: int
    source: int
    output: int
    winners: int
    gradient: int
    spread: int

    @property
    def covered(self) -> int:
        """Rows of the conv output that some pool reads."""
        return self.pooled * self.pool

    @property
    def border(self) -> int:
        return self.kernel - 1

    @property
    def spread_size(self) -> int:
        return self.size + self.border

    @property
    def taps(self) -> int:
        return self.kernel**2


@dataclass(frozen=True)
class Linear:
    """A fully connected layer; its weight lies in `tiles` tiles of `rows` outputs, each `columns` vectors long."""

    inputs: int
    outputs: int
    rows: int
    tiles: int
    columns: int
    flat: int
    weight: int
    bias: int
    source: int
    panel: int
    output: int
    gradient: int  # of the source
    dropout: float
    relu: bool

    @property
    def large(self) -> bool:
        """Whether several threads share in it: a barrier takes less than a microsecond, such a layer a hundred."""
        return self.inputs * self.outputs >= LARGE


@dataclass(frozen=True)
class Layout:
    """All layers with their places, and the sizes of the memories; `grads` and `order` are places in shared."""

    lanes: int
    image: int
    labels: int
    classes: int
    convs: tuple[Conv, ...]
    linears: tuple[Linear, ...]
    small: int
    grads: int
    order: int
    packed: int
    block: int
    shared: int
    parameters: int

    running, running_at = 0, 0  # statistics that a step keeps: none

    @property
    def has_large(self) -> bool:
        return any(layer.large for layer in self.linears)

    def workspace(self, blocks: int) -> int:
        """Floats of memory for batches of as many blocks: shared and blocks."""
        return (self.shared + blocks * self.block) * self.lanes


class _Space:
    """Offsets handed out one after the other."""

    def __init__(self) -> None:
        self.used = 0

    def take(self, count: int) -> int:
        offset, self.used = self.used, self.used + count
        return offset


def layout(trace: Trace, lanes: int) -> Layout:
    """The places of a network of the card's family for vectors of `lanes` floats.

    Raises `OutsideFamilyError` for another network.
    """
    network = family(trace)
    block, shared, packed, flat = _Space(), _Space(), _Space(), _Space()
    image = network.blocks[0].depth * network.blocks[0].size ** 2
    shared.take(_up(image, lanes) // lanes)  # an image of zeros, for lanes without one
    labels = block.take(1)
    source = block.take(image)
    blocks = []
    for conv in network.blocks:
        blocks.append(_conv(conv, source, packed, block, shared, lanes, flat))
        source = blocks[-1].output
    gradient = blocks[-1].gradient
    places = []
    shapes = [(layer, *_tiling(layer.outputs)) for layer in network.dense]
    biases = [packed.take(rows * tiles) for _, rows, tiles in shapes]
    packed.take(-packed.used % lanes)
    small = packed.used
    for (layer, rows, tiles), bias in zip(shapes, biases, strict=True):
        relu = layer is not network.dense[-1]
        place = _linear(layer, relu, (rows, tiles, bias), (source, gradient), packed, block, lanes, flat)
        places.append(place)
        source, gradient = place.output, place.output + _up(max(rows * tiles, place.outputs), lanes)
    grads = shared.take(_up(small, lanes) // lanes)
    return Layout(
        lanes,
        image,
        labels,
        network.dense[-1].outputs,
        tuple(blocks),
        tuple(places),
        small,
        grads,
        shared.take(4),  # 2 x lanes indices of 64 bits: of a block and of the next
        packed.used,
        block.used,
        shared.used,
        flat.used,
    )


def _conv(
    conv: Block,
    source: int,
    packed: _Space,
    block: _Space,
    shared: _Space,
    lanes: int,
    flat: _Space,
) -> Conv:
    weight, bias = packed.take(conv.channels * conv.depth * conv.kernel**2), packed.take(conv.channels)
    outputs = conv.channels * conv.pooled**2
    return Conv(
        conv.depth,
        conv.size,
        conv.channels,
        conv.kernel,
        conv.pool,
        conv.pooled,
        flat.take(conv.parameters),
        weight,
        bias,
        source,
        output=block.take(_up(outputs, lanes)),
        winners=block.take(outputs),
        gradient=block.take(_up(outputs, lanes)),
        spread=shared.take(conv.channels * (conv.size + conv.kernel - 1) ** 2),
    )


def _linear(
    layer: Dense,
    relu: bool,
    shape: tuple[int, int, int],
    source: tuple[int, int],
    packed: _Space,
    block: _Space,
    lanes: int,
    flat: _Space,
) -> Linear:
    rows, tiles, bias = shape
    padded = _up(layer.inputs, lanes)
    width = _up(rows * tiles, lanes)
    panel = block.take(padded)
    output = block.take(2 * width)  # and its gradient beside it
    return Linear(
        layer.inputs,
        layer.outputs,
        rows,
        tiles,
        columns=padded // lanes,
        flat=flat.take(layer.parameters),
        weight=packed.take(tiles * rows * padded),
        bias=bias,
        source=source[0],
        panel=panel,
        output=output,
        gradient=source[1],
        dropout=layer.dropout,
        relu=relu,
    )


def _tiling(outputs: int) -> tuple[int, int]:
    """Rows a tile, and tiles: the largest of 8 to 12 rows that pads least. Fewer sums wait for one another."""
    if outputs <= 12:
        return outputs, 1
    rows = min(range(12, 7, -1), key=lambda r: -(-outputs // r) * r)
    return rows, -(-outputs // rows)


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
