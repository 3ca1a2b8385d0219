"""In what two networks differ: layers side by side, words, costs."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelflow.networks.difference import as_data, difference
from modelflow.networks.resolve import preset, resolve
from modelflow.networks.trace import trace


def traced(text):
    return trace(resolve(text)[1])


def found(a, b):
    return difference(traced(a), traced(b))


def marks(pairs):
    return [pair.items for pair in pairs if not pair.is_same]


@pytest.mark.parametrize(
    ("a", "b", "differing", "words"),
    [
        (
            "c16 m2 gap fc",
            "c16/2 gap fc",
            [("c16", "c16/2"), ("m2", "")],
            "B has stride 2 where A pools (layers.0). B has 75 % fewer MACs, as many parameters, 75 % less activation "
            "memory at its peak.",
        ),
        (
            "c16/2 c16/2 gap fc",
            "c16 m2 c16 m2 gap fc",
            [("c16/2", "c16"), ("", "m2"), ("c16/2", "c16"), ("", "m2")],
            "B pools where A has stride 2 (2 layers). B has 4",
        ),
        ("c16 gap fc", "s16 gap fc", [("c16", "s16")], "B has separable 3x3, batch norm, ReLU where A has conv 3x3, "),
        ("c16 gap fc", "c16 drop0.5 gap fc", [("", "drop0.5")], "B adds dropout 0.5 (layers.1). B has as many MACs, "),
        ("c16 e4 gap fc", "c16 gap fc", [("e4", "")], "B leaves out squeeze 4 (layers.1)."),
        ("3*c16 gap fc", "c16 c16 c16 gap fc", [], "A and B are the same layer by layer."),
        (
            "c16k5 gap fc",
            "c16k3x5-bn gap fc",
            [("c16k5", "c16k3x5-bn")],
            "B has kernel 3x5 where A has 5 (layers.0). B has norm",
        ),
        ("(c4 c1)r gap fc", "(c8 c1)r gap fc", [("(c4 c1)r", "(c8 c1)r")], "B has layers (c8 c1) where A has (c4 c1)"),
        (
            "c8 c8 c8 gap fc",
            "c9 c9 c9 gap fc",
            [("c8", "c9")] * 3,
            "B has features 9 where A has 8 (3 layers). B has 2",
        ),
    ],
)
def test_the_layers_that_differ_and_how(a, b, differing, words):
    assert marks(found(a, b).pairs) == differing
    assert found(a, b).words.startswith(words)


def test_the_cards_two_forms_differ_in_a_dropout():
    said = difference(trace(preset("cnn2_5")), trace(preset("generic_0")))
    assert marks(said.pairs) == [("fcdrop0.3", "fc")]
    assert said.words.startswith("B has dropout 0 where A has 0.3 (fc_layers.1). B has as many MACs")


@pytest.mark.parametrize("other", ["generic_3", "+valid-bn c4k5 m2 fc20drop0.3 fc", "c4k5 gap fc"])
def test_the_rows_add_up_to_the_total_also_where_one_side_alone_says_that_it_flattens(other):
    said = as_data(difference(trace(preset("generic_2")), traced(other)))
    for side in "ab":
        for cost in ("parameters", "macs", "activation_bytes"):
            assert sum(row[side][cost] for row in said["layers"] if row[side]) == said[side][cost]
    flat = [row for row in said["layers"] if "flat" in [row[side]["item"] for side in "ab" if row[side]]]
    assert [row["same"] for row in flat] == [True]


def test_many_differences_are_counted():
    assert ". And 1 more. B has" in found("c8k5/2+valid-bn+gelu gap fc", "c9 gap fc").words


ITEMS = st.sampled_from(["c8", "c8/2", "s8", "m2p1", "e2", "bn", "c8r", "(c8 c8)r", "2*c8", "drop0.5", "d3"])
ENDS = st.sampled_from(["gap fc", "fc", "flat fc", "m1 flat drop0.5 fc9 fc"])
TEXTS = st.builds(lambda items, end: " ".join(["c8", *items, end]), st.lists(ITEMS, max_size=6), ENDS)


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS)
def test_every_layer_stands_once_in_its_order(a, b):
    said = found(a, b)
    for side, of in ((0, traced(a)), (1, traced(b))):
        layers = [layer for layer in ((pair.a, pair.b)[side] for pair in said.pairs) if layer]
        assert sum(layer.parameters for layer in layers) == of.parameters
        assert sum(layer.macs for layer in layers) == of.macs
        assert sum(layer.activation_bytes for layer in layers) == of.activation_bytes
        places = [[int(part) for part in layer.name.split(".")[1:]] for layer in layers]
        assert places == sorted(places)
    assert found(a, a).words == "A and B are the same layer by layer."
    assert (said.words == "A and B are the same layer by layer.") == (not marks(said.pairs))
    assert json.loads(json.dumps(as_data(said)))["words"] == said.words


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("c16 m2 fc", "c16 gap fc", "B has global average pool where A has max-pool 2x2 (layers.1)"),
        ("c16 gap fc", "c16 (c16 c16-act)r gap fc", "B adds a residual (c16 c16-act)r (layers.1)"),
        ("c16 (c16 c16-act)r gap fc", "c16 gap fc", "B leaves out a residual (c16 c16-act)r (layers.1)"),
    ],
)
def test_pools_are_said_by_what_they_take_and_residuals_by_what_is_in_them(a, b, said):
    assert said in found(a, b).words
