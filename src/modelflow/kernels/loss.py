"""Softmax cross-entropy: loss and gradient of the logits, vectors over the images.

    loss = log(sum_c exp(z_c - z_max)) + z_max - z_label;     dz_c = (exp(z_c - z_max) / sum - [c = label]) / images

exp and log are Cephes' single-precision polynomials (Moshier 1989), good to about 1e-7.
"""

from modelflow.kernels.emit import F32, F64, I32, Array, Code, Num
from modelflow.kernels.layout import Layout

EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
LOG = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)


def cross_entropy(k: Code, layout: Layout) -> None:
    """Arguments: block, valid (images in this block), number (in the batch).

    Writes the gradients of the logits and returns the sum of the block's losses.
    """
    last = layout.linears[-1]
    width = -(-last.rows * last.tiles // k.lanes) * k.lanes
    logits = k.vectors(k.block).at(last.output)
    k.give(_cross_entropy(k, logits, logits.at(width), k.vectors(k.block).at(layout.labels), layout.classes))


def cross_entropy_of(k: Code, classes: int) -> None:
    """Arguments: source (the logits), gradient (theirs), labels, valid, number, loss (in 64 bits, which is added to).

    The gradients and losses of `cross_entropy`.
    """
    _add(k, _cross_entropy(k, k.vectors(k.source), k.vectors(k.gradient), k.vectors(k.labels), classes))


def weighted_cross_entropy_of(k: Code, classes: int) -> None:
    """As `cross_entropy_of`, with the table of `extras.Targets` at `targets`, its factor at `scale` for `number`.

    dz_c = (sum_c t_c * exp(z_c - z_max) / sum - t_c) * factor
    """
    logits, gradients, targets = k.vectors(k.source), k.vectors(k.gradient), k.array(k.targets)
    labels, valid = k.vectors(k.labels).of(k.ints)[0], k.lane_numbers() < k.splat(k.convert(k.valid, I32))
    zero, scale = k.vector(0.0), k.array(k.scale).broadcast(0)

    def target(c: Num) -> Num:
        own = k.where(labels.equals(k.splat(k.convert(c, I32))), targets.broadcast(c), zero)
        return own + targets.broadcast(c + classes)

    largest, total, mass, chosen = k.var(logits[0]), k.var(zero), k.var(zero), k.var(zero)
    for c in k.loop(classes):
        largest.set(k.where(largest.get() > logits[c], largest.get(), logits[c]))
    for c in k.loop(classes):
        beyond = logits[c] - largest.get()
        gradients[c] = exp(k, beyond)
        total.set(total.get() + gradients[c])
        mass.set(mass.get() + target(c))
        chosen.set(k.fma(target(c), beyond, chosen.get()))
    share = mass.get() * scale / total.get()
    for c in k.loop(classes):
        gradients[c] = k.where(valid, gradients[c] * share - target(c) * scale, zero)
    losses = mass.get() * log(k, total.get()) - chosen.get()
    _add(k, k.convert(k.total(k.where(valid, losses, zero)), F64))


def _add(k: Code, losses: Num) -> None:
    total = k.array(k.loss, F64)
    total[0] = total[0] + losses


def _cross_entropy(k: Code, logits: Array, gradients: Array, labels_in: Array, classes: int) -> Num:
    """Writes the gradients; the sum of the losses."""
    labels = labels_in.of(k.ints)[0]
    valid = k.lane_numbers() < k.splat(k.convert(k.valid, I32))
    largest, chosen, total = k.var(logits[0]), k.var(k.vector(0.0)), k.var(k.vector(0.0))
    for c in k.loop(classes):
        z = logits[c]
        largest.set(k.where(largest.get() > z, largest.get(), z))
        chosen.set(k.where(labels.equals(k.splat(k.convert(c, I32))), z, chosen.get()))
    for c in k.loop(classes):
        e = exp(k, logits[c] - largest.get())
        gradients[c] = e
        total.set(total.get() + e)
    scale = k.splat(k.constant(1.0, F32) / k.convert(k.number, F32))
    share = scale / total.get()
    for c in k.loop(classes):
        hit = labels.equals(k.splat(k.convert(c, I32)))
        d = gradients[c] * share - k.where(hit, scale, k.vector(0.0))
        gradients[c] = k.where(valid, d, k.vector(0.0))
    losses = log(k, total.get()) + largest.get() - chosen.get()
    return k.convert(k.total(k.where(valid, losses, k.vector(0.0))), F64)


def exp(k: Code, x: Num) -> Num:
    """e**x for x <= 0: 2**n times a polynomial in the rest; below -87 it is 0, NaN stays NaN."""
    inside = x > -87.0
    safe = k.where(inside, x, k.vector(-87.0))
    n = k.convert(safe * 1.44269504 - 0.5, k.ints)
    n_float = k.convert(n, k.floats)
    r = k.fma(n_float, k.vector(-0.693359375), safe)
    r = k.fma(n_float, k.vector(2.12194440e-4), r)
    y = k.vector(EXP[0])
    for coefficient in EXP[1:]:
        y = k.fma(y, r, k.vector(coefficient))
    y = k.fma(y, r * r, r + 1.0)
    power = k.bits((n + 127) << 23, k.floats)
    return k.where(inside, y * power, k.where(x.is_number(), k.vector(0.0), x))


def log(k: Code, x: Num) -> Num:
    """The natural logarithm of a finite x >= 1; of anything else infinite or NaN, itself."""
    bits = k.bits(x, k.ints)
    exponent = k.convert((bits >> 23) - 126, k.floats)
    fraction = k.bits((bits & 0x007FFFFF) | 0x3F000000, k.floats)  # in [0.5, 1)
    low = fraction < 0.70710678
    exponent = k.where(low, exponent - 1.0, exponent)
    f = k.where(low, fraction + fraction, fraction) - 1.0
    square = f * f
    y = k.vector(LOG[0])
    for coefficient in LOG[1:]:
        y = k.fma(y, f, k.vector(coefficient))
    y = y * f * square
    y = k.fma(exponent, k.vector(-2.12194440e-4), y)
    y = k.fma(square, k.vector(-0.5), y)
    result = k.fma(exponent, k.vector(0.693359375), f + y)
    return k.where((x < 3.0e38) & x.is_number(), result, x)
