"""Fully connected layers over all blocks of a batch; the weight is read once forward and once backward.

    forward     out[o] = relu(bias[o] + sum_i w[o,i] in[i])                     vectors over the images
    backward    din[i] = sum_o w[o,i] d[o]                                      vectors over the images
                dw[o,i] = sum over the images of d[o] in[i]                     vectors over i, from the panel

The backward pass goes through the weight's tiles once: with a tile in the cache it adds to the input's gradient, sums
the tile's own gradient in registers and applies Adam to it there, so that no weight gradient is ever written to memory.
"""

from modelflow.kernels.adam import Adam
from modelflow.kernels.emit import Array, Code, Num
from modelflow.kernels.plan import Linear
from modelflow.kernels.threads import share


def forward(k: Code, linear: Linear, stride: int) -> None:
    """Arguments: params, blocks, count (of blocks, `stride` vectors apart); thread, threads."""
    params = k.array(k.params)
    rows, lanes = range(linear.rows), k.lanes
    for tile in share(k, linear.tiles) if linear.large else k.loop(linear.tiles):
        weights = params.at(tile * (linear.rows * linear.columns * lanes) + linear.weight)
        biases = params.at(tile * linear.rows + linear.bias)
        for b in k.loop(k.count):
            block = k.vectors(k.blocks).at(b * stride)
            sums = [k.var(biases.broadcast(r)) for r in rows]
            for column in k.loop(linear.columns):
                x = block.at(column * lanes + linear.source)
                w = weights.at(column * (linear.rows * lanes))
                acc = [total.get() for total in sums]
                for i in range(lanes):
                    value = x[i]
                    acc = [k.fma(w.broadcast(r * lanes + i), value, acc[r]) for r in rows]
                for total, value in zip(sums, acc, strict=True):
                    total.set(value)
            out = block.at(tile * linear.rows + linear.output)
            for r in rows:
                out[r] = k.relu(sums[r].get()) if linear.relu else sums[r].get()


def backward(k: Code, linear: Linear, stride: int) -> None:
    """Arguments: params, first, second, rates, hyper, blocks, count; thread, threads. Updates the weight only."""
    adam = Adam(k)
    rows, lanes = linear.rows, k.lanes
    out_gradient = _output_gradient(linear, lanes)
    for tile in k.loop(linear.tiles):
        for column in share(k, linear.columns) if linear.large else k.loop(linear.columns):
            place = (tile * linear.columns + column) * rows
            weights = k.array(k.params).at(place * lanes + linear.weight)
            sums = k.zeros(list(range(rows)))
            for b in k.loop(k.count):
                block = k.vectors(k.blocks).at(b * stride)
                d = block.at(tile * rows + out_gradient)
                _add_input_gradient(k, linear, block, weights, d, tile, column)
                panel = block.at(column * lanes + linear.panel)
                d_scalars = d.of(weights.element)
                acc = [sums[r].get() for r in range(rows)]
                for image in range(lanes):
                    x = panel[image]
                    acc = [k.fma(d_scalars.broadcast(r * lanes + image), x, acc[r]) for r in range(rows)]
                for r in range(rows):
                    sums[r].set(acc[r])
            for r in range(rows):
                adam.update(place + (linear.weight // lanes + r), sums[r].get())


def _output_gradient(linear: Linear, lanes: int) -> int:
    return linear.output + -(-linear.rows * linear.tiles // lanes) * lanes


def _add_input_gradient(
    k: Code, linear: Linear, block: Array, weights: Array, d: Array, tile: Num, column: Num
) -> None:
    """din[i] += sum over the tile's rows of w[o, i] d[o], for the inputs of one column of the tile."""
    target = block.at(column * k.lanes + linear.gradient)
    fresh = tile.equals(0)
    halves = range(0, k.lanes, 8) if k.lanes > 8 else range(0, k.lanes, k.lanes)
    size = min(k.lanes, 8)
    for start in halves:
        inputs = range(start, start + size)
        acc = {i: k.where(fresh, k.vector(0.0), target[i]) for i in inputs}
        for r in range(linear.rows):
            value = d[r]
            for i in inputs:
                acc[i] = k.fma(weights.broadcast(r * k.lanes + i), value, acc[i])
        for i in inputs:
            target[i] = acc[i]


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
