"""Random networks of any layers, for tests that hypothesis draws."""

from hypothesis import assume
from hypothesis import strategies as st

from modelflow.errors import ShapeError
from modelflow.networks.description import parse_spec
from modelflow.networks.trace import trace

FOLLOWING = {
    "norm": st.sampled_from(["none", "batch"]),
    "activation": st.sampled_from(
        ["none", "relu", "leaky_relu", "relu6", "hard_swish", "silu", "tanh", "sigmoid", "gelu"]
    ),
}


def one_or_two(most, least=1):
    one = st.integers(least, most)
    return one | st.lists(one, min_size=2, max_size=2)


CONV = st.fixed_dictionaries(
    {"conv": st.integers(1, 6)},
    optional={
        "kernel": one_or_two(5),
        "stride": one_or_two(3),
        "padding": st.sampled_from(["valid", "same"]) | st.integers(0, 3),
        "groups": st.integers(1, 3),
        "bias": st.booleans(),
        **FOLLOWING,
    },
)
POOL = st.fixed_dictionaries(
    {"pool": st.sampled_from(["max", "average"])},
    optional={"size": one_or_two(3, least=2), "stride": one_or_two(3), "padding": st.integers(0, 1)},
)
SMALL = [
    st.just({"norm": "batch"}),
    st.builds(lambda name: {"activation": name}, st.sampled_from(["relu", "gelu"])),
    st.fixed_dictionaries({"dropout": st.sampled_from([0.0, 0.5])}, optional={"spatial": st.booleans()}),
]
WINDOW = {"stride": one_or_two(2), "padding": st.sampled_from(["valid", "same"]), "bias": st.booleans(), **FOLLOWING}
DEPTHWISE = st.fixed_dictionaries(
    {"depthwise": st.integers(1, 3)}, optional={"multiplier": st.integers(1, 2), **WINDOW}
)
SEPARABLE = st.fixed_dictionaries(
    {"separable": st.integers(1, 6)}, optional={"kernel": one_or_two(3), "squeeze": st.integers(1, 2), **WINDOW}
)
SQUEEZE = st.fixed_dictionaries({"squeeze": st.integers(1, 3)})
PLAIN = st.one_of(CONV, POOL, DEPTHWISE, SEPARABLE, SQUEEZE, *SMALL)
KEEPING = st.fixed_dictionaries({"conv": st.integers(1, 6), "padding": st.just("same")}, optional=FOLLOWING)
SHORTCUTS = st.sampled_from(["identity", "conv"])
RESIDUAL = st.fixed_dictionaries(
    {"residual": st.lists(KEEPING | CONV | SQUEEZE, min_size=1, max_size=3)},
    optional={"shortcut": SHORTCUTS, **FOLLOWING},
)
REPEAT = st.fixed_dictionaries(
    {"repeat": st.integers(1, 3), "layers": st.lists(KEEPING | RESIDUAL, min_size=1, max_size=2)}
)
AROUND = st.builds(lambda item, shortcut: item | {"residual": True, "shortcut": shortcut}, KEEPING, SHORTCUTS)
ENDS = st.sampled_from(
    [
        [{"linear": "classes"}],
        [{"pool": "global_average"}, {"linear": "classes"}],
        [
            {"flatten": "maps"},
            {"linear": 7, "activation": "relu", "dropout": 0.5},
            {"linear": "classes", "bias": False},
        ],
        [{"conv": "classes", "kernel": 1}, {"pool": "global_max"}],
    ]
)
NETWORKS = st.fixed_dictionaries(
    {
        "input": st.lists(st.integers(1, 12), min_size=3, max_size=3),
        "classes": st.integers(1, 5),
        "layers": st.builds(list.__add__, st.lists(PLAIN | RESIDUAL | REPEAT | AROUND, max_size=4), ENDS),
    }
)


def that_fits(fields):
    """A drawn network and its trace; one whose layers do not fit its images is passed over."""
    spec = parse_spec(fields)
    try:
        return spec, trace(spec)
    except ShapeError:
        assume(False)
