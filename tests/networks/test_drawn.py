"""A trace that shows itself."""

import base64
import json
import re
from xml.etree import ElementTree

import pytest

import modelflow as mf
from modelflow.errors import SpecError
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.networks.trace import trace as traced


def test_a_trace_is_drawn_with_its_layers_in_a_table():
    found = mf.trace("generic_2")
    html = found._repr_html_()
    drawn = base64.b64decode(re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)[1])
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    assert html.count("<tr>") == 2 + len(found.layers) + 1
    assert "generic_2: 11,854 parameters, 69,320 multiply-accumulates per image" in html
    assert str(found) == repr(found) == str(traced(preset("generic_2")))
    assert (found.parameters, found.layers) == (11_854, traced(preset("generic_2")).layers)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("generic_2", "generic_2"),
        ("c16 s24/2 gap fc", "c16-s24-2-gap-fc"),
        (preset("generic_1"), preset("generic_1").short_form),
        (GenericCNN("c4 gap fc"), "c4 gap fc"),
    ],
)
def test_it_is_called_as_it_was_given(model, name):
    assert mf.trace(model).name == name


def test_a_file_is_called_by_its_name(tmp_path):
    (tmp_path / "my_net.json").write_text(json.dumps({"layers": "c4 gap fc"}))
    assert mf.trace(tmp_path / "my_net.json").name == "my_net"


def test_its_frame_and_its_latex_have_a_row_a_layer():
    pytest.importorskip("pandas")
    found = mf.trace("c8 gap fc")
    frame = found.to_frame()
    assert frame["parameters"].sum() == found.parameters
    assert frame["macs"].sum() == found.macs
    assert list(frame["output_shape"])[-1] == (10,)
    text = found.to_latex()
    assert text.count(r"\\") == 1 + 1 + len(found.layers) + 1
    assert f"Peak activation memory: {found.peak[0]:,} bytes per image" in text


def test_what_is_no_network_is_refused_as_before():
    with pytest.raises(SpecError):
        mf.trace({"layers": [{"conv": 3}]})
