"""Fully connected layers over all blocks of a batch; the weight is read once forward and once backward.

    forward     out[o] = relu(bias[o] + sum_i w[o,i] in[i])                     vectors over the images
    backward    din[i] = sum_o w[o,i] d[o]                                      vectors over the images
                dw[o,i] = sum over the images of d[o] in[i]                     vectors over i, from the panel

The backward pass goes through the weight's tiles once: with a tile in the cache it adds to the input's gradient, sums
the tile's own gradient in registers and applies Adam to it there, so that no weight gradient is ever written to memory.

A multiply-add of one sum alone takes two loads, so sums are made in pieces of rows x two (blocks, or columns), as many
as there are registers: each scalar serves two of them, each vector all rows. Nothing is added in another order.
"""

from collections.abc import Callable, Iterator
from functools import partial

from modelflow.kernels.adam import Adam
from modelflow.kernels.emit import F32, Array, Code, Num
from modelflow.kernels.plan import Linear
from modelflow.kernels.threads import share

Sums = dict[tuple[int, int], Num]


def forward(k: Code, linear: Linear, stride: int, registers: int) -> None:
    """Arguments: params, blocks, count (of blocks, `stride` vectors apart); thread, threads."""
    for tile in share(k, linear.tiles) if linear.large else k.loop(linear.tiles):
        for blocks in _pairs(k, stride):
            for rows in _pieces(linear.rows, len(blocks), registers):
                _outputs(k, linear, tile, rows, blocks)


def _pairs(k: Code, stride: int) -> Iterator[list[Array]]:
    """The blocks of the batch by twos, so that what is loaded for one serves the other; the last alone if odd."""
    whole = k.count // 2 * 2
    for first in k.loop(whole, 0, 2):
        yield [k.vectors(k.blocks).at((first + i) * stride) for i in range(2)]
    for last in k.loop(k.count, whole):
        yield [k.vectors(k.blocks).at(last * stride)]


def _pieces(rows: int, beside: int, registers: int) -> list[range]:
    """The rows in as few pieces as leave a register for each sum, `beside` of them a row."""
    most = (registers - 4) // beside
    count = -(-rows // most)
    return [range(rows * i // count, rows * (i + 1) // count) for i in range(count)]


def _add_products(k: Code, sums: Sums, scalar: Callable[[int], Num], vectors: list[Num]) -> None:
    """sums[r, c] += scalar(r) * vectors[c], each of them loaded once."""
    for row in sorted({r for r, _ in sums}):
        value = scalar(row)
        for c, vector in enumerate(vectors):
            sums[row, c] = k.fma(value, vector, sums[row, c])


def _lane(rows: Array, lanes: int, lane: int, row: int) -> Num:
    """The number in one lane of a row, in every lane."""
    return rows.broadcast(row * lanes + lane)


def _outputs(k: Code, linear: Linear, tile: Num, rows: range, blocks: list[Array]) -> None:
    """Some rows of a tile for each of the blocks."""
    lanes = k.lanes
    weights = k.array(k.params).at(tile * (linear.rows * linear.columns * lanes) + linear.weight)
    biases = k.array(k.params).at(tile * linear.rows + linear.bias)
    totals = {(r, b): k.var(biases.broadcast(r)) for r in rows for b in range(len(blocks))}
    for column in k.loop(linear.columns):
        sources = [block.at(column * lanes + linear.source) for block in blocks]
        w = weights.at(column * (linear.rows * lanes))
        sums = {key: total.get() for key, total in totals.items()}
        for i in range(lanes):
            _add_products(k, sums, partial(_lane, w, lanes, i), [source[i] for source in sources])
        for key, total in totals.items():
            total.set(sums[key])
    for (r, b), total in totals.items():
        value = total.get()
        blocks[b].at(tile * linear.rows + linear.output)[r] = k.relu(value) if linear.relu else value


def backward(k: Code, linear: Linear, stride: int, registers: int) -> None:
    """Arguments: params, first, second, rates, hyper, blocks, count; thread, threads. Updates the weight only."""
    update = partial(_update, k, linear, stride, registers, Adam(k))
    whole = linear.columns // 2 * 2
    for tile in k.loop(linear.tiles):
        for pair in share(k, whole // 2) if linear.large else k.loop(whole // 2):
            update(tile, [pair * 2, pair * 2 + 1])
        for last in share(k, linear.columns - whole) if linear.large else k.loop(linear.columns - whole):
            update(tile, [last + whole])


def _update(k: Code, linear: Linear, stride: int, registers: int, adam: Adam, tile: Num, columns: list[Num]) -> None:
    """Of some columns of a tile: adds to the input's gradient, then the weight's gradient and Adam."""
    places = [(tile * linear.columns + column) * linear.rows for column in columns]
    gradient = tile * linear.rows + _output_gradient(linear, k.lanes)
    for blocks in _pairs(k, stride):
        for place, column in zip(places, columns, strict=True):
            weights = k.array(k.params).at(place * k.lanes + linear.weight)
            _add_input_gradient(k, linear, registers, blocks, weights, gradient, tile, column)
    for rows in _pieces(linear.rows, len(columns), registers):
        totals = k.zeros([(r, c) for r in rows for c in range(len(columns))])
        for b in k.loop(k.count):
            block = k.vectors(k.blocks).at(b * stride)
            d = block.at(gradient).of(F32)
            panels = [block.at(column * k.lanes + linear.panel) for column in columns]
            sums = {key: total.get() for key, total in totals.items()}
            for image in range(k.lanes):
                of_image = partial(_lane, d, k.lanes, image)
                _add_products(k, sums, of_image, [panel[image] for panel in panels])
            for key, total in totals.items():
                total.set(sums[key])
        for (r, c), total in totals.items():
            adam.update(places[c] + (linear.weight // k.lanes + r), total.get())


def _output_gradient(linear: Linear, lanes: int) -> int:
    return linear.output + -(-linear.rows * linear.tiles // lanes) * lanes


def _add_input_gradient(
    k: Code,
    linear: Linear,
    registers: int,
    blocks: list[Array],
    weights: Array,
    gradient: Num,
    tile: Num,
    column: Num,
) -> None:
    """din[i] += sum over the tile's rows of w[o, i] d[o], for the inputs of one column of the tile."""
    targets = [block.at(column * k.lanes + linear.gradient) for block in blocks]
    size = min(k.lanes, registers // 2 // len(blocks))
    for start in range(0, k.lanes, size):
        places = [(i, b) for i in range(start, start + size) for b in range(len(blocks))]
        sums = {(i, b): k.where(tile.equals(0), k.vector(0.0), targets[b][i]) for i, b in places}
        for r in range(linear.rows):
            row = weights.at(r * k.lanes)
            _add_products(k, sums, row.broadcast, [block.at(gradient)[r] for block in blocks])
        for i, b in places:
            targets[b][i] = sums[i, b]


def bias_gradients(k: Code, linear: Linear, stride: int) -> None:
    """Arguments: grads, blocks, count."""
    grads = k.array(k.grads)
    for o in k.loop(linear.outputs):
        total = k.var(k.vector(0.0))
        for b in k.loop(k.count):
            total.set(total.get() + k.vectors(k.blocks).at(b * stride)[o + _output_gradient(linear, k.lanes)])
        grads[o + linear.bias] = k.total(total.get())


def panel(k: Code, linear: Linear) -> None:
    """Arguments: block. The layer's input transposed: vectors over the features, for the weight's gradient."""
    block = k.vectors(k.block)
    for column in k.loop(linear.columns):
        rows = [block.at(column * k.lanes + linear.source)[i] for i in range(k.lanes)]
        target = block.at(column * k.lanes + linear.panel)
        for image, vector in enumerate(transposed(k, rows)):
            target[image] = vector


def mask(k: Code, linear: Linear, scale: float) -> None:
    """Arguments: block. The gradient through ReLU and dropout of the layer's input: none where that is not positive."""
    block = k.vectors(k.block)
    source, gradient = block.at(linear.source), block.at(linear.gradient)
    for i in k.loop(linear.inputs):
        gradient[i] = k.where(source[i] > 0.0, gradient[i] * scale, k.vector(0.0))


def transposed(k: Code, rows: list[Num]) -> list[Num]:
    """A square of lanes x lanes, rows for columns: at each stage pairs of rows exchange the blocks off the diagonal."""
    lanes, step = k.lanes, k.lanes // 2
    rows = list(rows)
    while step:
        low = [j if not j & step else lanes + j - step for j in range(lanes)]
        high = [j + step if not j & step else lanes + j for j in range(lanes)]
        for r in range(lanes):
            if not r & step:
                a, b = rows[r], rows[r + step]
                rows[r], rows[r + step] = k.shuffle(a, b, low), k.shuffle(a, b, high)
        step //= 2
    return rows


def pack(k: Code, linear: Linear, packing: bool) -> None:
    """Arguments: flat, packed. The weight out of the flat parameters into its tiles, or back."""
    lanes = k.lanes
    whole = linear.inputs // lanes
    for o in k.loop(linear.outputs):
        row = k.array(k.flat).at(o * linear.inputs + linear.flat)
        tile = (o // linear.rows) * (linear.columns * linear.rows * lanes) + (
            o - o // linear.rows * linear.rows
        ) * lanes
        target = k.array(k.packed).at(tile + linear.weight)
        for column in k.loop(whole):
            there, here = column * (linear.rows * lanes), column * lanes
            if packing:
                target.put_unaligned(there, row.unaligned(here))
            else:
                row.put_unaligned(here, target.unaligned(there))
        for i in range(linear.inputs - whole * lanes):
            at_tile, at_row = whole * linear.rows * lanes + i, whole * lanes + i
            if packing:
                target[at_tile] = row[at_row]
            else:
                row[at_row] = target[at_tile]


def pack_small(k: Code, runs: list[tuple[int, int, int]], packing: bool) -> None:
    """Arguments: flat, packed. Runs of numbers (where in flat, where in packed, how many) that lie together in both."""
    for flat, packed, count in runs:
        for i in k.loop(count):
            if packing:
                k.array(k.packed)[i + packed] = k.array(k.flat)[i + flat]
            else:
                k.array(k.flat)[i + flat] = k.array(k.packed)[i + packed]
