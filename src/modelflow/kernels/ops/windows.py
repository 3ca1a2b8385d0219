"""Windows of maps in NumPy, for references."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from modelflow.kernels.ops.operation import Numbers
from modelflow.networks.layers.kind import Shape

Pair = tuple[int, int]


def windows(x_BCHW: Numbers, shape: Shape, size: Pair, stride: Pair, before: Pair, beyond: float = 0.0) -> Numbers:
    """The window of each place of output maps of a `shape`: B x C x their height x their width x `size`.

    `before` places are added above and to the left, as many below and to the right as are needed, all `beyond`.
    """
    needed = [(n - 1) * step + k for n, step, k in zip(shape[1:], stride, size, strict=True)]
    after = [max(0, n - given - b) for n, given, b in zip(needed, x_BCHW.shape[2:], before, strict=True)]
    border = [(0, 0), (0, 0), *zip(before, after, strict=True)]
    slid = sliding_window_view(np.pad(x_BCHW, border, constant_values=beyond), size, axis=(2, 3))
    return slid[:, :, :: stride[0], :: stride[1]][:, :, : shape[1], : shape[2]]
