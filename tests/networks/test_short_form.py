"""The short form: what it says, item by item, and what has none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelflow.errors import SpecError
from modelflow.networks.description import LayerSpec, parse_spec
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.resolve import CARD, MODEL_NAME, is_model, name_of, named_spec, preset, resolve
from modelflow.networks.trace import trace

MODERN = {"padding": "same", "norm": "batch", "activation": "relu"}


def layers_of(text, **fields):
    return parse_spec({"input": [1, 28, 28], "classes": 10, "layers": text, **fields}).model_dump(mode="json")["layers"]


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("c16", {"conv": 16, **MODERN}),
        ("c16k5/2", {"conv": 16, "kernel": 5, "stride": 2, **MODERN}),
        ("c16k3x5/2x1", {"conv": 16, "kernel": [3, 5], "stride": [2, 1], **MODERN}),
        ("c16p1g4", {"conv": 16, "groups": 4, **MODERN, "padding": 1}),
        ("c16+valid-bn-act+bias", {"conv": 16, "bias": True}),
        ("c16-bias+gelu", {"conv": 16, "bias": False, **MODERN, "activation": "gelu"}),
        ("d3/2m2", {"depthwise": 3, "multiplier": 2, "stride": 2, **MODERN}),
        ("s24k5e4", {"separable": 24, "kernel": 5, "squeeze": 4, **MODERN}),
        ("e4", {"squeeze": 4}),
        ("m", {"pool": "max"}),
        ("a3/2p1", {"pool": "average", "size": 3, "stride": 2, "padding": 1}),
        ("gap", {"pool": "global_average"}),
        ("gmp", {"pool": "global_max"}),
        ("bn", {"norm": "batch"}),
        ("relu6", {"activation": "relu6"}),
        ("drop0.3+spatial", {"dropout": 0.3, "spatial": True}),
        ("flat", {"flatten": "maps"}),
        ("fc50drop0.5", {"linear": 50, "dropout": 0.5, "activation": "relu"}),
        ("fc", {"linear": 10}),
        ("ck1", {"conv": 10, "kernel": 1}),
        ("c16r", {"residual": [{"conv": 16, **MODERN}]}),
        ("c16/2r+conv", {"residual": [{"conv": 16, "stride": 2, **MODERN}], "shortcut": "conv", "norm": "batch"}),
        ("(c16)r", {"residual": [{"conv": 16, **MODERN}], "norm": "batch", "activation": "relu"}),
        ("(c16/2)r+conv-act", {"residual": [{"conv": 16, "stride": 2, **MODERN}], "shortcut": "conv", "norm": "batch"}),
        ("3*c16", {"repeat": 3, "layers": [{"conv": 16, **MODERN}]}),
        ("2*3*bn", {"repeat": 2, "layers": [{"repeat": 3, "layers": [{"norm": "batch"}]}]}),
        ("2*(bn m2)", {"repeat": 2, "layers": [{"norm": "batch"}, {"pool": "max", "size": 2}]}),
        ("2*bnr", {"repeat": 2, "layers": [{"residual": [{"norm": "batch"}]}]}),
        ("-bn+silu c16", {"conv": 16, "padding": "same", "activation": "silu"}),
    ],
)
def test_an_item_says(text, layer):
    assert layers_of(text) == [layer]


def test_blanks_do_not_matter_and_a_files_defaults_hold():
    assert layers_of(" ( c16  c16 )r\n 2*( bn ) ") == layers_of("(c16 c16)r 2*bn")
    assert layers_of("c16", defaults={"norm": "none"}) == layers_of("-bn c16")
    assert layers_of("+bn c16", defaults={"norm": "none"}) == layers_of("c16")


@pytest.mark.parametrize("name", CARD)
def test_the_cards_networks_cost_the_same_in_the_short_form(name):
    spec, short_form = trace(preset(name)), preset(name).short_form
    assert short_form.startswith("+valid-bn c")
    again = trace(resolve(short_form)[1])
    assert (again.parameters, again.macs) == (spec.parameters, spec.macs)


def test_what_most_layers_say_is_said_once():
    def short_of(text):
        return parse_spec({"layers": text}).short_form

    assert short_of("c16-bn c16-bn c16 fc") == "+same-bn c16 c16 c16+bn fc"
    assert short_of("c16 c16 c16-bn fc") == "c16 c16 c16-bn fc"
    assert short_of("+gelu+valid c16 s24 fc") == "+valid+gelu c16 s24 fc"


def test_a_kind_or_an_option_without_a_word_has_no_short_form():
    class Wordless(LayerKind):
        key = "wordless"

    spec = LayerSpec(input=(1, 8, 8), classes=10, layers=(Wordless(),))
    assert spec.short_form is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'': no layer in it. Write items such as c16"),
        ("+valid", "no layer in it"),
        ("c16 q3", "'q3': no layer begins so"),
        ("c16 gelo", "'gelo': no layer begins so. Did you mean 'gelu'?"),
        ("conv16 gap fc", "'conv16': no layer begins so. Did you mean 'c16'?"),
        ("2*(c16 c16-act r gap fc", "'r': no layer begins so. A residual's r stands right after its layer"),
        ("c16z2", "'c16z2': 'z2' is no mark of it, expected one of k2, /2, p2, g2, +valid"),
        ("c16k", "'k' is no mark of it"),
        ("c16+sme", "'+sme' is no mark of it. Did you mean '+same'?"),
        ("c16k3k5", "'c16k3k5': kernel is said twice"),
        ("d", "'d': expected a number after d"),
        ("relu5", "'relu5': relu takes no number"),
        ("(c16 c16)", "expected a residual (…)r, or layers several times 3*(…)"),
        ("(c16 (c16)r", "a bracket is not closed"),
        ("c16)r", "')r': no bracket is open there"),
        ("c16+spatial", "layers[0]: conv: unknown key 'spatial'"),
        ("+conv c16", "defaults: 'shortcut' is no option that layers take from there"),
        ("d3.5", "kernel = 3.5: expected a whole number"),
        ("s24+conv", "'s24+conv': +conv is of a residual's shortcut. Write s24r+conv."),
        ("c9999999999", "'c9999999999'"),
        ("c16 * fc", "'*"),
        ("(" * 40 + "c16" + ")r" * 40, "more than 20 deep"),
        ("1*" * 30_000 + "c16", "more than 20 deep"),
        ("c1 " * 1001, "layers"),
    ],
)
def test_what_is_no_item_is_refused_by_its_words(text, said):
    with pytest.raises(SpecError) as caught:
        layers_of(text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500


@given(st.text(alphabet="cdsekmafgpr/x0123456789.()*+- bnroplu", max_size=40))
def test_any_text_is_a_network_or_refused(text):
    try:
        spec = parse_spec({"layers": text})
    except SpecError:
        return
    assert parse_spec({"layers": spec.short_form}) == spec


@given(st.text(max_size=300))
def test_what_a_short_form_is_called_can_name_a_folder(text):
    assert MODEL_NAME.fullmatch(name_of("c16 " + text))


def test_where_a_model_is_given_a_short_form_will_do():
    spec = parse_spec({"layers": "c16/2 gap fc"})
    assert resolve("c16/2 gap fc") == named_spec("c16/2 gap fc") == ("c16-2-gap-fc", spec)
    assert named_spec({"name": "net", "spec": "c16/2 gap fc"}) == ("net", spec)
    assert named_spec({"name": "net", "spec": json.loads(json.dumps({"layers": "c16/2 gap fc"}))}) == ("net", spec)
    assert is_model("fc")
    assert not any(map(is_model, ["generic_22", "study.yaml", "c16 fc.yaml", "my/net", "nope", "crew"]))
    assert len(name_of("c16 " * 200)) == 100
