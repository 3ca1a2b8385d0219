"""Fully connected layers over all blocks of a batch; the weight is read once forward and once backward.

    forward     out[o] = relu(bias[o] + sum_i w[o,i] in[i])                     vectors over the images
    backward    din[i] = sum_o w[o,i] d[o]                                      vectors over the images
                dw[o,i] = sum over the images of d[o] in[i]                     vectors over i, from the panel

The backward pass goes through the weight's tiles once: with a tile in the cache it adds to the input's gradient, sums
the tile's own gradient in registers and updates it there, so that no weight gradient is ever written to memory.

A multiply-add of one sum alone takes two loads, so sums are made in pieces of rows x two (blocks, or columns), as many
as there are registers: each scalar serves two of them, each vector all rows. A batch of one block is paired over
columns only. Each sum is added up in the same order whatever the pieces, so that the bytes depend on neither registers
nor threads.
"""

from collections.abc import Callable, Iterable, Iterator

from modelflow.kernels.emit import F32, Array, Code, Num, Operand
from modelflow.kernels.layout import Linear
from modelflow.kernels.rules.rule import Update
from modelflow.kernels.threads import part

Sums = dict[tuple[int, int], Num]


def forward(k: Code, linear: Linear, stride: int, registers: int) -> None:
    """Arguments: params, blocks, count (of blocks, `stride` vectors apart); thread, threads."""
    begin, end = _part(k, linear, linear.tiles)
    for tile in k.loop(end, begin):
        for blocks in _twos(k, 0, k.count):
            for rows in _pieces(linear.rows, len(blocks), registers):
                _outputs(k, linear, stride, tile, rows, blocks)


def _part(k: Code, linear: Linear, count: int) -> tuple[Operand, Operand]:
    """The beginning and the end of what this thread does of a layer; all of it where the layer is not shared."""
    return part(k, count) if linear.large else (0, count)


def _twos(k: Code, begin: Operand, end: Operand) -> Iterator[list[Num]]:
    """The numbers from `begin` on by twos, so that what is loaded for one serves the other; the last alone if odd."""
    paired = begin + (end - begin) // 2 * 2
    for first in k.loop(paired, begin, 2):
        yield [first, first + 1]
    for last in k.loop(end, paired):
        yield [last]


def _pieces(rows: int, sums_a_row: int, registers: int) -> list[range]:
    """The rows in as few pieces as leave a register for each sum, two vectors, a scalar, and one to spare."""
    most = (registers - 4) // sums_a_row
    count = -(-rows // most)
    return [range(rows * i // count, rows * (i + 1) // count) for i in range(count)]


def _add_products(k: Code, sums: Sums, scalars: Iterable[tuple[int, Num]], vectors: list[Num]) -> None:
    """sums[r, c] += scalar of r * vectors[c], each of them loaded once."""
    for r, scalar in scalars:
        for c, vector in enumerate(vectors):
            sums[r, c] = k.fma(scalar, vector, sums[r, c])


def _block(k: Code, stride: int, b: Num) -> Array:
    return k.vectors(k.blocks).at(b * stride)


def _outputs(k: Code, linear: Linear, stride: int, tile: Num, rows: range, blocks: list[Num]) -> None:
    """Some rows of a tile, for each of the blocks."""
    lanes, at = k.lanes, [_block(k, stride, b) for b in blocks]
    weights = k.array(k.params).at(tile * (linear.rows * linear.columns * lanes) + linear.weight)
    biases = k.array(k.params).at(tile * linear.rows + linear.bias)
    totals = {(r, c): k.var(biases.broadcast(r)) for r in rows for c in range(len(at))}
    for column in k.loop(linear.columns):
        sources = [block.at(column * lanes + linear.source) for block in at]
        w = weights.at(column * (linear.rows * lanes))
        sums = {key: total.get() for key, total in totals.items()}
        for i in range(lanes):
            scalars = ((r, w.broadcast(r * lanes + i)) for r in rows)
            _add_products(k, sums, scalars, [source[i] for source in sources])
        for key, total in totals.items():
            total.set(sums[key])
    for (r, c), total in totals.items():
        value = total.get()
        at[c].at(tile * linear.rows + linear.output)[r] = k.relu(value) if linear.relu else value


def backward(k: Code, linear: Linear, stride: int, registers: int, update_in: Callable[[Code], Update]) -> None:
    """Arguments: params, scalars, blocks, count; thread, threads. Updates the weight only."""
    update, (begin, end) = update_in(k), _part(k, linear, linear.columns)
    for tile in k.loop(linear.tiles):
        for columns in _twos(k, begin, end):
            for i in k.loop(len(columns)):
                _add_input_gradient(k, linear, stride, registers, tile, columns[0] + i)
            for rows in _pieces(linear.rows, len(columns), registers):
                _update_weight(k, linear, stride, update, tile, rows, columns)


def _add_input_gradient(k: Code, linear: Linear, stride: int, registers: int, tile: Num, column: Num) -> None:
    """din[i] += sum over the tile's rows of w[o, i] d[o], for the inputs of one column of the tile."""
    weights = k.array(k.params).at(_place(linear, tile, column) * k.lanes + linear.weight)
    for blocks in _twos(k, 0, k.count):
        at = [_block(k, stride, b) for b in blocks]
        targets = [block.at(column * k.lanes + linear.gradient) for block in at]
        d = [block.at(tile * linear.rows + _output_gradient(linear, k.lanes)) for block in at]
        size = min(k.lanes, registers // 2 // len(blocks))
        for start in range(0, k.lanes, size):
            inputs = range(start, start + size)
            places = [(i, c) for i in inputs for c in range(len(at))]
            sums = {(i, c): k.where(tile.equals(0), k.vector(0.0), targets[c][i]) for i, c in places}
            for r in range(linear.rows):
                scalars = ((i, weights.broadcast(r * k.lanes + i)) for i in inputs)
                _add_products(k, sums, scalars, [gradient[r] for gradient in d])
            for i, c in places:
                targets[c][i] = sums[i, c]


def _update_weight(
    k: Code, linear: Linear, stride: int, update: Update, tile: Num, rows: range, columns: list[Num]
) -> None:
    """The weight's gradient and its update, for some rows of a tile and one or two of its columns."""
    totals = k.zeros([(r, c) for r in rows for c in range(len(columns))])
    for b in k.loop(k.count):
        block = _block(k, stride, b)
        d = block.at(tile * linear.rows + _output_gradient(linear, k.lanes)).of(F32)
        panels = [block.at(column * k.lanes + linear.panel) for column in columns]
        sums = {key: total.get() for key, total in totals.items()}
        for image in range(k.lanes):
            scalars = ((r, d.broadcast(r * k.lanes + image)) for r in rows)
            _add_products(k, sums, scalars, [panel[image] for panel in panels])
        for key, total in totals.items():
            total.set(sums[key])
    for (r, c), total in totals.items():
        update.apply(_place(linear, tile, columns[c]) + (linear.weight // k.lanes + r), total.get())


def _place(linear: Linear, tile: Num, column: Num) -> Num:
    """Where a column of a tile lies in the weight, counted in vectors."""
    return (tile * linear.columns + column) * linear.rows


def _output_gradient(linear: Linear, lanes: int) -> int:
    return linear.output + -(-linear.rows * linear.tiles // lanes) * lanes


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
