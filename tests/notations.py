"""Random networks of the card's, and the same written as layers, in each of the ways in which they can be."""

from hypothesis import strategies as st

from modelflow.errors import ShapeError
from modelflow.networks.description import LayerSpec, Spec, parse_spec
from modelflow.networks.layers.flatten import Flatten
from modelflow.networks.trace import trace


def lists(elements, count):
    return st.lists(elements, min_size=count, max_size=count)


@st.composite
def specs(draw) -> Spec:
    """Small specs of the card that can be built, of every kind."""
    blocks, hidden = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    size = draw(st.integers(1, 20))
    left, kernels, pools = size, [], []
    for _ in range(blocks):
        kernels.append(draw(st.integers(1, min(left, 9))))
        left = left - kernels[-1] + 1
        pools.append(draw(st.integers(1, min(left, 6))))
        left //= pools[-1]
    spec = Spec(
        in_channels=draw(st.integers(1, 4)),
        num_classes=draw(st.integers(1, 30)),
        input_size=size,
        cov_kernel_sizes=kernels,
        cov_features=draw(lists(st.integers(1, 18), blocks)),
        max_pool_sizes=pools,
        amnt_cov_layers=blocks,
        amnt_fc_layers=hidden + 1,
        fc_sizes=draw(lists(st.integers(1, 40), hidden)),
        p=draw(st.sampled_from([0.0, 0.3, 0.5])),
        family=draw(st.sampled_from(["generic", "cnn2"])),
    )
    try:
        trace(spec)
    except ShapeError:
        raise AssertionError("the strategy should draw only specs that fit") from None
    return spec


def as_layers(spec):
    """The same network as a list of layers: their options say ReLU and dropout."""
    layers = [layer for _, layer in spec.named_layers() if not isinstance(layer, Flatten)]
    return LayerSpec(input=spec.input_shape, classes=spec.num_classes, layers=tuple(layers))


@st.composite
def notations(draw, spec):
    """The same network as a list of layers, in any other words."""
    items = []
    for block in zip(spec.cov_kernel_sizes, spec.cov_features, spec.max_pool_sizes, strict=True):
        written = draw(_block(*block))
        items += [{"repeat": 1, "layers": written}] if draw(st.booleans()) else written
    shares = [layer.dropout for name, layer in spec.named_layers() if layer.key == "linear"]
    for i, (share, features) in enumerate(zip(shares, [*spec.fc_sizes, spec.num_classes], strict=True)):
        items += draw(_linear(features, share, is_first=i == 0, is_last=i == len(spec.fc_sizes)))
    return parse_spec({"input": list(spec.input_shape), "classes": spec.num_classes, "layers": items})


@st.composite
def _block(draw, kernel, features, size):
    padding = draw(st.sampled_from(["valid", 0, *(["same"] if kernel == 1 else [])]))
    conv = {"conv": features, "kernel": kernel, "padding": padding}
    pool = [{"pool": "max", "size": size}] if size > 1 or draw(st.booleans()) else []
    if draw(st.booleans()):
        return [conv | {"activation": "relu"}, *pool]
    relu = [{"activation": "relu"}]
    return [conv, *(relu + pool if draw(st.booleans()) else pool + relu)]


@st.composite
def _linear(draw, features, share, is_first, is_last):
    by_itself = draw(st.booleans())
    dropout = [{"dropout": share}] if by_itself else []
    flatten = [{"flatten": "maps"}] if is_first and draw(st.booleans()) else []
    before = dropout + flatten if draw(st.booleans()) else flatten + dropout
    linear = {"linear": features, "dropout": 0.0 if by_itself else share}
    if is_last:
        return [*before, linear]
    if draw(st.booleans()):
        return [*before, linear | {"activation": "relu"}]
    return [*before, linear, {"activation": "relu"}]
