"""Convolution, max-pool and ReLU as one pass, and its gradients; each number is a vector over the images of a block.

    forward      out[o,y,x] = relu(max over the pool's window of  bias[o] + sum_i,ky,kx w[o,i,ky,kx] in[i,y+ky,x+kx])
    unpool       spread[o,y,x] = the gradient where (y,x) won its window and the output is positive, else 0
    weight       dw[o,i,ky,kx] = sum over y, x and the images of  spread[o,y,x] in[i,y+ky,x+kx]
    input        din[i,y,x] = sum_o,ky,kx w[o,i,ky,kx] spread[o,y-ky,x-kx]     (a convolution of the bordered `spread`)

Every multiply-add takes one broadcast weight and one vector; the accumulators of a tile of channels x positions stay in
registers. ReLU comes after the pool, where it gives the same on fewer numbers.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

from llvmlite import ir

from modelflow.kernels.emit import I8, I32, Array, Code, Num, Var
from modelflow.kernels.layout import Conv

UNROLLED = 640  # multiply-adds written out in one piece
LATENCY, PIPES = 4, 2  # cycles until a multiply-add's sum can be added to, and how many begin in each
Offset = tuple[int, int]
Accumulators = dict[tuple[int, Offset], Var]


@dataclass(frozen=True)
class Correlation:
    """What `correlate` sums: `depth` planes of `plane` x `plane` vectors, and the weight of (o, i, ky, kx)."""

    source: Array
    weights: Array
    depth: int
    plane: int
    kernel: int
    weight: Callable[[int, Num, Num | int, Num | int], Num | int]


def correlate(k: Code, sums: Accumulators, c: Correlation) -> None:
    """sums[o, (dy, dx)] += sum over i, ky, kx of weight(o, i, ky, kx) * source[i, dy + ky, dx + kx]."""
    per_row = c.kernel * len(sums)
    unroll_rows, unroll_taps = c.kernel * per_row <= UNROLLED, per_row <= UNROLLED
    everything = range(c.kernel)
    for i in k.loop(c.depth):
        plane = c.source.at(i * (c.plane * c.plane))
        if unroll_rows:
            _taps(k, sums, c, i, plane, product(everything, everything))
            continue
        for ky in k.loop(c.kernel):
            row = plane.at(ky * c.plane)
            if unroll_taps:
                _taps(k, sums, c, i, row, ((0, kx) for kx in everything), ky)
                continue
            for kx in k.loop(c.kernel):
                _taps(k, sums, c, i, row.at(kx), [(0, 0)], ky, kx)


def _taps(
    k: Code,
    sums: Accumulators,
    c: Correlation,
    i: Num,
    source: Array,
    taps: Iterable[Offset],
    ky0: Num | int = 0,
    kx0: Num | int = 0,
) -> None:
    acc = {key: var.get() for key, var in sums.items()}
    seen: dict[Offset, Num] = {}
    channels = sorted({o for o, _ in sums})
    offsets = sorted({offset for _, offset in sums})
    for ky, kx in taps:
        for o in channels:
            w = c.weights.broadcast(c.weight(o, i, ky0 + ky, kx0 + kx))
            for dy, dx in offsets:
                at = (dy + ky, dx + kx)
                if at not in seen:
                    seen[at] = source[at[0] * c.plane + at[1]]
                acc[o, (dy, dx)] = k.fma(w, seen[at], acc[o, (dy, dx)])
    for key, var in sums.items():
        var.set(acc[key])


def forward(
    k: Code,
    conv: Conv,
    registers: int,
    winners: bool,
    before_row: Callable[[Code, Num], None] = lambda _code, _row: None,
) -> None:
    """Arguments: params, block. Writes the outputs and, for training, which position of its window won.

    `before_row` writes what else is done before each row of outputs, unless the weights are so many that a row is
    gone through again and again; its arguments are the function's too.
    """
    tile = _pool_tile(conv, registers)
    small = conv.channels * conv.depth * conv.taps * 4 <= 24_000
    write = _PooledTile(k, conv, tile, winners)
    if small:
        for py in k.loop(conv.pooled):
            before_row(k, py)
            for px, group in _split(k, conv.pooled, tile.group):
                for o, channels in _split(k, conv.channels, tile.channels):
                    write(o, channels, py, px, group)
    else:
        for o, channels in _split(k, conv.channels, tile.channels):
            for py in k.loop(conv.pooled):
                for px, group in _split(k, conv.pooled, tile.group):
                    write(o, channels, py, px, group)


def _split(k: Code, count: int, size: int) -> Iterable[tuple[Num, int]]:
    """The beginnings and sizes of pieces of `size`, and of the rest."""
    whole = count // size * size
    for start in k.loop(whole, 0, size):
        yield start, size
    if count > whole:
        yield k.integer(whole), count - whole


@dataclass(frozen=True)
class Tile:
    """Channels x pooled outputs beside each other, whose conv outputs are summed at once, `chunk` of a window's row."""

    channels: int
    group: int
    whole_window: bool
    chunk: int


def _pool_tile(conv: Conv, registers: int) -> Tile:
    """The tile with the fewest instructions that fits the registers."""
    p = conv.pool
    if p * p > 9:
        chunk = min(p, 4)
        channels = min(range(1, conv.channels + 1), key=lambda o: _effort(conv, registers, o, 1, 1, chunk))
        return Tile(channels, 1, False, chunk)
    pairs = list(product(range(1, min(conv.channels, 28) + 1), range(1, min(conv.pooled, 28) + 1)))
    channels, group = min(pairs, key=lambda og: _effort(conv, registers, og[0], og[1], p, p * og[1]))
    return Tile(channels, group, True, p)


def _effort(conv: Conv, registers: int, channels: int, group: int, height: int, width: int) -> float:
    return effort(registers, channels, height, width, conv.kernel, conv.channels, -(-conv.pooled // group) * group)


def effort(registers: int, channels: int, height: int, width: int, kernel: int, all_channels: int, all_x: int) -> float:
    """Cycles a useful multiply-add, roughly, of a tile of channels x height x width positions."""
    sums = channels * height * width
    window = (width + kernel - 1) * height
    multiply_adds = sums * kernel**2
    loads = (width + kernel - 1) * (height + kernel - 1)
    broadcasts = channels * kernel**2
    spilled = max(0, sums + min(window, 12) + 2 - registers)
    latency = max(1.0, 7 / sums)
    waste = (-(-all_channels // channels) * channels) / all_channels
    cycles = multiply_adds * latency + 0.7 * loads + 0.3 * broadcasts + 2 * spilled * kernel**2 + 4
    return cycles / multiply_adds * waste * (1 + all_x / 1e6)


class _PooledTile:
    """Writes one tile of `forward`."""

    def __init__(self, k: Code, conv: Conv, tile: Tile, winners: bool) -> None:
        self.k, self.conv, self.tile = k, conv, tile
        block = k.vectors(k.block)
        self.source, self.output = block.at(conv.source), block.at(conv.output)
        self.winners = block.at(conv.winners).of(winner_type(k, conv)) if winners and conv.pool > 1 else None
        self.params = k.array(k.params)

    def __call__(self, o: Num, channels: int, py: Num, px: Num, group: int) -> None:
        conv = self.conv
        corner = self.source.at(py * (conv.pool * conv.size) + px * conv.pool)
        weights = self.params.at(o * (conv.depth * conv.taps) + conv.weight)
        where = o * conv.pooled**2 + py * conv.pooled + px
        pools = {(c, g): _Maximum(self.k) for c in range(channels) for g in range(group)}
        biases = {c: self.params.broadcast(o + (conv.bias + c)) for c in range(channels)}
        if self.tile.whole_window:
            window = list(product(range(conv.pool), range(conv.pool)))
            self._sums(pools, biases, corner, weights, window, None)
        else:
            self._rows(pools, biases, corner, weights)
        for (c, g), pool in pools.items():
            self.output[where + (c * conv.pooled**2 + g)] = self.k.relu(pool.value())
            if self.winners is not None:
                self.winners[where + (c * conv.pooled**2 + g)] = self.k.convert(pool.winner(), self.winners.element)

    def _rows(self, pools: "Pools", biases: dict[int, Num], corner: Array, weights: Array) -> None:
        """A window too large to write out: loops over its rows and over pieces of a row."""
        k, conv = self.k, self.conv
        for pool in pools.values():
            pool.start(float("-inf"))
        for wy in k.loop(conv.pool):
            for wx, chunk in _split(k, conv.pool, self.tile.chunk):
                piece = [(0, x) for x in range(chunk)]
                self._sums(pools, biases, corner.at(wy * conv.size + wx), weights, piece, wy * conv.pool + wx)

    def _sums(
        self,
        pools: "Pools",
        biases: dict[int, Num],
        corner: Array,
        weights: Array,
        window: list[Offset],
        first: Num | None,
    ) -> None:
        k, conv = self.k, self.conv
        sums = {(c, (y, x + g * conv.pool)): k.var(biases[c]) for (c, g), (y, x) in product(pools, window)}
        per_channel = conv.depth * conv.taps
        correlate(
            k,
            sums,
            Correlation(
                corner,
                weights,
                conv.depth,
                conv.size,
                conv.kernel,
                lambda o, i, ky, kx: i * conv.taps + (ky * conv.kernel + kx + o * per_channel),
            ),
        )
        for (c, g), pool in pools.items():
            for y, x in window:
                index = y * conv.pool + x
                number = k.constant(index, k.ints) if first is None else k.splat(k.convert(first + index, I32))
                pool.see(sums[c, (y, x + g * conv.pool)].get(), number)


class _Maximum:
    """The largest of what it has seen, the first of equals; NaN stays."""

    def __init__(self, k: Code) -> None:
        self.k = k
        self._value: Var | None = None
        self._winner: Var | None = None

    def start(self, value: float) -> None:
        self._value, self._winner = self.k.var(self.k.vector(value)), self.k.var(self.k.constant(0, self.k.ints))

    def see(self, value: Num, number: Num) -> None:
        if self._value is None or self._winner is None:
            self._value, self._winner = self.k.var(value), self.k.var(number)
            return
        best = self._value.get()
        larger = self.k.greater_or_nan(value, best) & best.is_number()
        self._value.set(self.k.where(larger, value, best))
        self._winner.set(self.k.where(larger, number, self._winner.get()))

    def value(self) -> Num:
        assert self._value is not None
        return self._value.get()

    def winner(self) -> Num:
        assert self._winner is not None
        return self._winner.get()


Pools = dict[tuple[int, int], _Maximum]


def winner_type(k: Code, conv: Conv) -> ir.Type:
    """Bytes where the window has at most 256 positions."""
    return ir.VectorType(I8 if conv.pool <= 16 else I32, k.lanes)


def unpool(k: Code, conv: Conv, scale: float) -> None:
    """Arguments: shared, block, grads. Writes `spread`, adds to the bias gradients; `scale` is dropout's."""
    p, size, pooled = conv.pool, conv.spread_size, conv.pooled
    block = k.vectors(k.block)
    gradient, output = block.at(conv.gradient), block.at(conv.output)
    winners = block.at(conv.winners).of(winner_type(k, conv))
    spread = k.vectors(k.shared).at(conv.spread + conv.border * (size + 1))
    grads = k.array(k.grads)
    for o in k.loop(conv.channels):
        bias = k.var(k.vector(0.0))
        for py in k.loop(pooled):
            for px in k.loop(pooled):
                at = o * pooled**2 + py * pooled + px
                d = k.where(output[at] > 0.0, gradient[at] * scale, k.vector(0.0))
                bias.set(bias.get() + d)
                window = spread.at(o * size**2 + py * (p * size) + px * p)
                if p == 1:
                    window[0] = d
                    continue
                winner = k.convert(winners[at], k.ints)
                _put(k, window, size, p, d, winner)
        grads[o + conv.bias] = grads[o + conv.bias] + k.total(bias.get())


def _put(k: Code, window: Array, size: int, p: int, d: Num, winner: Num) -> None:
    """`d` at the winner's position of the window, zeros elsewhere."""

    def put(y: Num | int, x: Num | int) -> None:
        number = k.splat(k.convert(k.integer(y * p + x), I32))
        window[y * size + x] = k.where(winner.equals(number), d, k.vector(0.0))

    if p <= 3:
        for y, x in product(range(p), range(p)):
            put(y, x)
        return
    for row in k.loop(p):
        for column in k.loop(p):
            put(row, column)


def weight_gradient(k: Code, conv: Conv, registers: int) -> None:
    """Arguments: shared, block, grads. Adds to the weight gradients."""
    rows, channels, columns = _weight_tile(conv, registers)
    for o, count in _split(k, conv.channels, channels):
        for i in k.loop(conv.depth):
            for ky, height in _split(k, conv.kernel, rows):
                for kx, width in _split(k, conv.kernel, columns):
                    _weight_tile_sums(k, conv, (o, count), i, (ky, height), (kx, width))


def _weight_tile(conv: Conv, registers: int) -> tuple[int, int, int]:
    """Tap rows, output channels and taps of a row that are summed at once."""
    most = registers - 5
    columns = min(conv.kernel, most)
    sizes = [
        (rows, channels, columns)
        for rows, channels in product(range(1, conv.kernel + 1), range(1, conv.channels + 1))
        if rows * channels * columns <= most
    ]

    def effort_of(size: tuple[int, int, int]) -> float:
        rows, channels, columns = size
        taps = rows * columns
        waste = -(-conv.channels // channels) * channels * (-(-conv.kernel // rows)) * rows
        per_position = max(channels * taps, LATENCY * PIPES) + 0.6 * (taps + channels) + 1
        return waste * per_position / (channels * taps)

    return min(sizes, key=effort_of)


def _weight_tile_sums(
    k: Code, conv: Conv, outputs: tuple[Num, int], i: Num, rows: tuple[Num, int], columns: tuple[Num, int]
) -> None:
    (o, channels), (ky, height), (kx, width) = outputs, rows, columns
    size, wide = conv.size, conv.spread_size
    taps = list(product(range(height), range(width)))
    source = k.vectors(k.block).at(i * size**2 + ky * size + kx + conv.source)
    spread = k.vectors(k.shared).at(o * wide**2 + (conv.spread + conv.border * (wide + 1)))
    sums = k.zeros(list(product(range(channels), taps)))
    for y in k.loop(conv.covered):
        for x in k.loop(conv.covered):
            d = [spread.at(y * wide + x)[c * wide**2] for c in range(channels)]
            at = source.at(y * size + x)
            for dy, dx in taps:
                value = at[dy * size + dx]
                for c in range(channels):
                    sums[c, (dy, dx)].set(k.fma(d[c], value, sums[c, (dy, dx)].get()))
    first = o * (conv.depth * conv.taps) + i * conv.taps + ky * conv.kernel + kx + conv.weight
    grads = k.array(k.grads).at(first)
    for (c, (dy, dx)), total in sums.items():
        at_tap = c * conv.depth * conv.taps + dy * conv.kernel + dx
        grads[at_tap] = grads[at_tap] + k.total(total.get())


def input_gradient(k: Code, conv: Conv, target: int, registers: int) -> None:
    """Arguments: params, shared, block. Writes the gradient of the block's input at `target`.

    Either gathered (each input sums over the bordered `spread`) or, where that leaves fewer multiply-adds, scattered:
    each pool's window adds to the inputs that it saw, which leaves out the border and what no pool reads.
    """
    rows = _rows_at_once(conv, registers)
    if rows and _scattered_effort(conv, rows) < conv.size**2 * conv.taps:
        _scatter(k, conv, target, rows, registers)
    else:
        _gather(k, conv, target, registers)


def _window(conv: Conv) -> int:
    """Rows of the input that one pool's window sees."""
    return conv.pool + conv.kernel - 1


def _rows_at_once(conv: Conv, registers: int) -> int:
    """Rows of a window that are summed at once, all windows in as few pieces as can be; 0 when not even one fits."""
    window = _window(conv)
    most = (registers - 6) // window
    return -(-window // -(-window // most)) if most and conv.pool**2 * conv.taps <= UNROLLED else 0


def _scattered_effort(conv: Conv, rows: int) -> float:
    """Multiply-adds, what the sums' way in and out is worth of them, and waiting for sums that are too few."""
    sums = rows * _window(conv)
    multiply_adds = (conv.pooled * conv.pool) ** 2 * conv.taps
    return multiply_adds * max(1.0, LATENCY * PIPES / sums) + 5 * conv.pooled**2 * _window(conv) ** 2 / conv.channels


def _scatter(k: Code, conv: Conv, target: int, rows: int, registers: int) -> None:
    size, window = conv.size, _window(conv)
    out = k.vectors(k.block).at(target)
    for i in k.loop(conv.depth * size**2):
        out[i] = k.vector(0.0)
    pieces = [_chains(conv, range(y, min(y + rows, window)), registers) for y in range(0, window, rows)]
    for i in k.loop(conv.depth):
        for py in k.loop(conv.pooled):
            for px in k.loop(conv.pooled):
                inputs = out.at(i * size**2 + py * (conv.pool * size) + px * conv.pool)
                for chains in pieces:
                    sums = {(y, x): [k.var(inputs[y * size + x])] for y, x in chains}
                    for at, total in sums.items():
                        total += [k.var(k.vector(0.0)) for _ in range(1, chains[at])]
                    _scatter_window(k, conv, sums, i, py * (conv.pool * conv.spread_size) + px * conv.pool)
                    for (y, x), parts in sums.items():
                        inputs[y * size + x] = sum((part.get() for part in parts[1:]), parts[0].get())


def _chains(conv: Conv, rows: range, registers: int) -> dict[Offset, int]:
    """The positions of a window in these rows, and how many sums each is divided into.

    Two where one sum, to which as much is added one after the other, would be waited for, and registers are left.
    """
    places, taps = product(range(conv.pool), range(conv.pool)), list(product(range(conv.kernel), range(conv.kernel)))
    added = Counter((y + ky, x + kx) for y, x in places for ky, kx in taps if y + ky in rows)
    chains = {at: 1 + (LATENCY * PIPES * count > added.total()) for at, count in added.items()}
    return chains if sum(chains.values()) <= registers - 6 else dict.fromkeys(added, 1)


def _scatter_window(k: Code, conv: Conv, sums: dict[Offset, list[Var]], i: Num, corner: Num) -> None:
    """sums[y + ky, x + kx] += w[o, i, ky, kx] spread[o, y, x] for the channels o and one pool's window (y, x)."""
    wide = conv.spread_size
    taps, places = (list(product(range(n), range(n))) for n in (conv.kernel, conv.pool))
    spread = k.vectors(k.shared).at(corner + (conv.spread + conv.border * (wide + 1)))
    for o in k.loop(conv.channels):
        weights = k.array(k.params).at(o * (conv.depth * conv.taps) + i * conv.taps + conv.weight)
        gradients = spread.at(o * wide**2)
        acc = {at: deque(part.get() for part in parts) for at, parts in sums.items()}
        d: dict[Offset, Num] = {}
        for ky, kx in taps:
            w = weights.broadcast(ky * conv.kernel + kx)
            for y, x in places:
                if (y + ky, x + kx) not in acc:
                    continue
                if (y, x) not in d:
                    d[y, x] = gradients[y * wide + x]
                parts = acc[y + ky, x + kx]
                parts.append(k.fma(w, d[y, x], parts.popleft()))
        for at, kept in sums.items():
            for part, value in zip(kept, acc[at], strict=True):
                part.set(value)


def _gather(k: Code, conv: Conv, target: int, registers: int) -> None:
    size, wide = conv.size, conv.spread_size
    params = k.array(k.params).at(conv.weight)
    spread = k.vectors(k.shared).at(conv.spread)
    out = k.vectors(k.block).at(target)
    pairs = list(product(range(1, min(conv.depth, 28) + 1), range(1, min(size, 28) + 1)))
    channels, width = min(
        pairs,
        key=lambda cw: (
            effort(registers, cw[0], 1, cw[1], conv.kernel, conv.depth, size) * (-(-size // cw[1]) * cw[1] / size)
        ),
    )
    last = conv.taps - 1
    for y in k.loop(size):
        for x, w in _split(k, size, width):
            for i, count in _split(k, conv.depth, channels):
                sums = k.zeros(list(product(range(count), [(0, dx) for dx in range(w)])))
                flipped = Correlation(
                    spread.at(y * wide + x),
                    params.at(i * conv.taps),
                    conv.channels,
                    wide,
                    conv.kernel,
                    lambda c, o, ky, kx: (
                        o * (conv.depth * conv.taps) + (c * conv.taps + last) - (ky * conv.kernel + kx)
                    ),
                )
                correlate(k, sums, flipped)
                for (c, (_, dx)), total in sums.items():
                    out[i * size**2 + y * size + x + (c * size**2 + dx)] = total.get()
