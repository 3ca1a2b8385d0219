"""Specs: the card's blocks as they stand, round trips, defaults, and what is refused, with the words of the refusal."""

import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from modelflow.errors import SpecError
from modelflow.io.config import MAX_FILE_BYTES, MAX_YAML_BYTES, read_fields
from modelflow.networks.description import Spec, parse_spec, read_spec
from modelflow.networks.resolve import preset
from modelflow.text import short

LEAST = {"in_channels": 1, "num_classes": 10}

CARD_BLOCKS = {
    "generic_1": """// Rede mais profunda
{
  "in_channels": 1,
  "num_classes": 10,
  "input_size": 28,
  "amnt_cov_layers": 3,
  "cov_kernel_sizes": [3, 3, 3],
  "cov_features": [8, 16, 32],
  "max_pool_sizes": [2, 2, 2],
  "amnt_fc_layers": 3,
  "fc_sizes": [100, 50],
  "p": 0.3
}
""",
    "generic_2": """// Rede Pequena
{
  "in_channels": 1,
  "num_classes": 10,
  "input_size": 28,
  "amnt_cov_layers": 1,
  "cov_kernel_sizes": [5],
  "cov_features": [4],
  "max_pool_sizes": [2],
  "amnt_fc_layers": 2,
  "fc_sizes": [20],
  "p": 0.3
}
""",
    "generic_3": """// Rede Muitos FC
{
\t"in_channels": 1,
\t"num_classes": 10,
\t"input_size": 28,
\t"amnt_cov_layers": 2,
\t"cov_kernel_sizes": [3, 3],
\t"cov_features": [5, 5],
\t"max_pool_sizes": [2, 2],
\t"amnt_fc_layers": 10,
\t"fc_sizes": [int(1024 + i * (25 - 1024) / (9 - 1)) for i in range(9)],
\t"p": 0.3
},
""",
}


def written(folder, text, name="net.json"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(fields):
    with pytest.raises(SpecError) as caught:
        parse_spec(fields)
    return str(caught.value)


def refused_file(path):
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert str(path).replace("\0", r"\x00") in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", CARD_BLOCKS)
def test_the_blocks_of_the_card_load_as_they_stand(tmp_path, name):
    assert read_spec(written(tmp_path, CARD_BLOCKS[name])) == preset(name)


@pytest.mark.parametrize("name", ["generic_3", "cnn2_5"])
def test_a_spec_is_the_same_after_a_round_trip(tmp_path, name):
    spec = preset(name)
    assert read_spec(written(tmp_path, spec.to_json())) == spec
    assert read_spec(written(tmp_path, yaml.safe_dump(spec.model_dump(mode="json")), "net.yaml")) == spec
    assert read_spec(written(tmp_path, spec.to_json(), "net.yml")) == spec


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    assert read_spec(written(tmp_path, b"\xef\xbb\xbf" + json.dumps(LEAST).encode())) == Spec(**LEAST)


def test_what_is_left_out_takes_its_default():
    spec = Spec(**LEAST)
    assert (spec.input_size, spec.p, spec.family) == (28, 0.3, "generic")
    assert (spec.cov_kernel_sizes, spec.cov_features, spec.max_pool_sizes) == ((3, 3), (16, 16), (2, 2))
    assert (spec.amnt_cov_layers, spec.amnt_fc_layers, spec.fc_sizes) == (2, 2, (50,))


def test_counts_and_lists_complete_each_other():
    by_list = parse_spec({**LEAST, "cov_features": [8, 8, 8], "fc_sizes": []})
    assert (by_list.amnt_cov_layers, by_list.cov_kernel_sizes, by_list.amnt_fc_layers) == (3, (3, 3, 3), 1)
    by_count = parse_spec({**LEAST, "amnt_cov_layers": 1, "amnt_fc_layers": 4})
    assert (by_count.cov_features, by_count.fc_sizes) == ((16,), (50, 50, 50))
    assert parse_spec({**LEAST, "cov_features": None, "fc_sizes": None}) == Spec(**LEAST)


def test_a_spec_cannot_be_changed_and_serves_as_a_key():
    spec = parse_spec({**LEAST, "cov_features": [8, 16]})
    with pytest.raises(ValidationError, match="frozen"):
        spec.p = 0.5
    assert isinstance(spec.cov_features, tuple)
    assert {spec: 1}[parse_spec({**LEAST, "cov_features": [8, 16]})] == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cov_feature": [8]}, "spec: unknown key 'cov_feature'. Did you mean 'cov_features'?"),
        ({"zzz": None}, "spec: unknown key 'zzz'. Known keys: in_channels, num_classes, input_size"),
        ({1: 2}, "spec: unknown key 1. Known keys"),
        (
            {"cov_features": [8], "amnt_cov_layers": 3},
            "cov_features = [8] has 1 entries, expected 3 (amnt_cov_layers = 3). Add 2.",
        ),
        (
            {"fc_sizes": [9, 9, 9], "amnt_fc_layers": 3},
            "fc_sizes = [9, 9, 9] has 3 entries, expected 2 "
            "(amnt_fc_layers = 3, one fewer: the last layer is num_classes). Drop 1.",
        ),
        ({"input_size": 28.0}, "input_size = 28.0: expected a whole number. Write 28"),
        ({"input_size": 28.5}, "input_size = 28.5: expected a whole number"),
        ({"input_size": "28"}, "input_size = '28': expected a whole number. Write 28"),
        ({"input_size": True}, "input_size = True: expected a whole number"),
        ({"input_size": None}, "input_size = None: expected a whole number. Give a value, or leave the key out"),
        ({"input_size": 0}, "input_size = 0: expected at least 1"),
        ({"input_size": -28}, "input_size = -28: expected at least 1"),
        ({"input_size": 1 << 21}, "input_size = 2097152: expected at most 1048576"),
        ({"input_size": 16**10_000}, "input_size = a number of thousands of digits: expected at most 1048576"),
        ({"in_channels": 0}, "in_channels = 0: expected at least 1"),
        ({"num_classes": -1}, "num_classes = -1: expected at least 1"),
        ({"amnt_cov_layers": 0}, "amnt_cov_layers = 0: expected at least 1"),
        ({"amnt_fc_layers": 0}, "amnt_fc_layers = 0: expected at least 1"),
        ({"amnt_cov_layers": 10**9}, "amnt_cov_layers = 1000000000: expected at most 1000"),
        ({"amnt_fc_layers": 10**9}, "amnt_fc_layers = 1000000000: expected at most 1000"),
        ({"amnt_cov_layers": 2.0}, "amnt_cov_layers = 2.0: expected a whole number. Write 2"),
        ({"cov_features": []}, "amnt_cov_layers = 0: expected at least 1"),
        ({"cov_features": 8}, "cov_features = 8: expected a list of whole numbers"),
        ({"cov_features": "88"}, "cov_features = '88': expected a list of whole numbers"),
        ({"cov_features": {8, 9}}, "cov_features = {8, 9}: expected a list of whole numbers"),
        ({"cov_features": [8, 0]}, "cov_features[1] = 0: expected at least 1"),
        ({"cov_kernel_sizes": [3, 3.5]}, "cov_kernel_sizes[1] = 3.5: expected a whole number"),
        ({"max_pool_sizes": [2, None]}, "max_pool_sizes[1] = None: expected a whole number"),
        ({"fc_sizes": [True]}, "fc_sizes[0] = True: expected a whole number"),
        ({"fc_sizes": [[9]]}, "fc_sizes[0] = [9]: expected a whole number"),
        ({"p": 1}, "p = 1: expected less than 1"),
        ({"p": 1.0}, "p = 1.0: expected less than 1"),
        ({"p": -0.1}, "p = -0.1: expected at least 0"),
        ({"p": float("nan")}, "p = nan: expected less than 1"),
        ({"p": float("inf")}, "p = inf: expected less than 1"),
        ({"p": "0.3"}, "p = '0.3': expected a number"),
        ({"p": False}, "p = False: expected a number"),
        ({"p": None}, "p = None: expected a number. Give a value, or leave the key out"),
        ({"family": "cnn3"}, "family = 'cnn3': expected 'generic' or 'cnn2'. Did you mean 'cnn2'?"),
    ],
    ids=short,
)
def test_bad_fields_are_refused_with_field_value_expected_and_mend(fields, message):
    assert message in refusal(LEAST | fields)


def test_missing_fields_are_named():
    assert refusal({}) == "spec: in_channels is missing. Add it. num_classes is missing. Add it."


@pytest.mark.parametrize("fields", [None, 3, "x", [], [LEAST]], ids=str)
def test_what_is_no_object_is_refused(fields):
    assert refusal(fields).startswith(f"spec: expected an object of fields such as in_channels, got {fields!r}")


@pytest.mark.parametrize("p", [0, 0.0, 0.999])
def test_dropout_may_be_anything_from_0_to_below_1(p):
    assert parse_spec({**LEAST, "p": p}).p == p


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("net.json", '{"in_channels": 1, "num_classes": 10, "p": 0.1, "p": 0.2}', "the key 'p' appears twice"),
        ("net.json", '{"in_channels": 1, "num_classes": 10, "p": 0.1, "p": 0.2},', "the key 'p' appears twice"),
        ("net.yaml", "in_channels: 1\nnum_classes: 10\nin_channels: 2\n", "line 3: the key 'in_channels' appears"),
        ("net.json", "", "empty"),
        ("net.yaml", " \n", "empty"),
        ("net.json", '{"in_channels": 1', "not readable as JSON: Expecting ',' delimiter: line 1 column 18"),
        ("net.json", '// a\n\n// b\n{"in_channels" 1}', "line 4 column 16"),
        ("net.json", "hello", "line 1: 'hello': expected numbers, lists, arithmetic"),
        ("net.json", "[" * 100_000, "nested too deeply"),
        ("net.json", '{"a":' * 100_000, "nested too deeply"),
        ("net.json", '{"input_size": ' + "9" * 5000 + "}", "not readable as JSON: Exceeds the limit"),
        ("net.yaml", "[" * 10_000, "nested too deeply"),
        ("net.yaml", "- " * 10_000 + "1", "nested too deeply"),
        ("net.yaml", "a: [1", "not readable as YAML"),
        ("net.yaml", "a: !!python/object/apply:os.system ['true']", "is not supported. Remove it"),
        ("net.yaml", f"\na: !{'9' * 2000}!b 1", "line 2, column 4"),
        (
            "net.yaml",
            "p: 0.1\nlayers: a: b\n",
            "line 2, column 10 ('layers: a: b'): mapping values are",
        ),
        ("net.yaml", "b:\n  p: 0.2\n  <<: {p: 0.1}", "line 3: the merge key << is not supported. Write the keys out."),
        (
            "net.yaml",
            "layers:\n\t- {conv: 4}",
            "line 2, column 1 ('- {conv: 4}'): a tab, where YAML takes blanks alone",
        ),
        ("net.yaml", "- conv: 4\n kernel: 3", "line 2, column 2 ('kernel: 3'): indented otherwise"),
        ("net.yaml", "- {conv: 16}", "got [{'conv': 16}]. Write layers: before the list."),
        (
            "net.yaml",
            "layer: [{linear: classes}]",
            "layers is missing. Add it. unknown key 'layer'. Did you mean 'layers'",
        ),
        ("net.yaml", "default: {norm: batch}", "unknown key 'default'. Did you mean 'defaults'?"),
        (
            "net.yaml",
            "input: [28, 28]\nlayers: fc",
            "input = [28, 28]: expected channels, height and width, such as [1",
        ),
        ("net.yaml", "a: " + "[" * 51 + "]" * 51, "line 1: nested too deeply, expected at most 50 levels"),
        ("net.yaml", "{[1]: 2}", "not readable as YAML"),
        ("net.yaml", "p: 0.1\nlayers:\n  - {conv: 010}", "line 3: '010' is 8 in YAML. Write 8, or a number without"),
        ("net.yaml", "epochs: -0_17", "'-0_17' is -15 in YAML"),
        ("net.yaml", "epochs: 1:30", "'1:30' is 90 in YAML"),
        ("net.yaml", "lr: 1:30.5", "'1:30.5' is 90.5 in YAML"),
        ("net.yaml", "a: &a [*a]", "the alias '*a' is not supported"),
        ("net.yaml", "just words", "expected an object of fields such as in_channels, got 'just words'"),
        ("net.json", b"\x89PNG\r\n\x1a\n\x00\xff", "not a text file in UTF-8"),
        ("net.yaml", bytes(range(256)), "not a text file in UTF-8. Is it the right file? If so, save it as UTF-8."),
        ("net.yaml", b"a\x00b", "not readable as YAML"),
        ("net.json", b" " * (MAX_FILE_BYTES + 1), "larger than 1,048,576 bytes"),
        ("net.yaml", b" " * (MAX_YAML_BYTES + 1), "larger than 65,536 bytes"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_files_are_refused_by_name(tmp_path, name, text, message):
    assert message in refused_file(written(tmp_path, text, name))


def test_files_that_are_none_are_refused(tmp_path):
    assert refused_file(tmp_path / "none.json").endswith("no such file. Give the path of a JSON or YAML file.")
    assert refused_file(tmp_path).endswith("not a file. Give the path of a JSON or YAML file.")
    assert "no such file" in refused_file(tmp_path / ("x" * 300))
    with pytest.raises(SpecError, match=r"a\\x00b: no such file"):  # shown so that no terminal obeys it
        read_spec(tmp_path / "a\0b")


BILLION_LAUGHS = "a0: &a0 [3, 3]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30))
MERGE_BOMB = "a0: &a0 {p: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 30)
)


def expression(text):
    return '{"in_channels": 1, "num_classes": 10, "cov_features": ' + text + "},"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("net.yaml", "in_channels: 1\nnum_classes: 10\n" + BILLION_LAUGHS + "cov_features: *a29\n"),
        ("net.yaml", BILLION_LAUGHS.replace("a29:", "in_channels:")),
        ("net.yaml", MERGE_BOMB),
        ("net.yaml", "in_channels: 1" + ":59" * 20_000),
        ("net.yaml", "in_channels: 0x" + "f" * 60_000),
        ("net.json", expression("__import__('os').system('true')")),
        ("net.json", expression("[9**9**9]")),
        ("net.json", expression("[3999999**3999999]")),
        ("net.json", expression("[1 << 10000000000]")),
        ("net.json", expression("[i for i in range(10**10)]")),
        ("net.json", expression("[i for i in range(1000000000)]")),
        ("net.json", expression("'a' * 10**10")),
        ("net.json", expression("[1] * 1000000000")),
        ("net.json", expression("'a'.ljust(10000000000)")),
        ("net.json", expression("f'{1:>10000000000}'")),
        ("net.json", expression("'%10000000000d' % 1")),
        ("net.json", expression("(1).__class__.__base__.__subclasses__()")),
        ("net.json", expression("[[[0 for a in range(999)] for b in range(999)] for c in range(999)]")),
        ("net.json", expression("[" + "[i for i in range(999)]," * 2000 + "]")),
        ("net.json", expression("[" + "(" * 5000 + "1" + ")" * 5000 + "]")),
        ("net.json", expression("[" + "1+" * 20_000 + "1]")),
        ("net.json", expression("[" + "-" * 20_000 + "1]")),
        ("net.json", expression("[1 / 0]")),
        ("net.json", expression("[int(1e400)]")),
        ("net.json", expression("[x for x in 3]")),
        ("net.json", expression("(lambda: 1)()")),
        ("net.json", expression("open('net.json')")),
        ("net.json", expression("{**{}}")),
        ("net.json", expression("[i for i in range(3) if i]")),
        ("net.json", "{}\n{}"),
    ],
    ids=lambda value: value[:16] if value.endswith((".json", ".yaml")) else value[54:90],
)
def test_hostile_files_are_refused_at_once_and_in_little_memory(tmp_path, name, text):
    path = written(tmp_path, text, name)
    tracemalloc.start()
    start = time.process_time()
    message = refused_file(path)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 3  # under tracemalloc, which slows it several times
    assert peak < 100e6
    assert len(message) < 1000


def test_sizes_may_be_computed(tmp_path):
    text = expression("[int(2 * i + 8 // 2 - 1 % 2) for i in range(1, 3)]")
    assert read_spec(written(tmp_path, text)).cov_features == (5, 7)
    assert read_spec(written(tmp_path, expression("[n * 2 for n in [4, 8]]"))).cov_features == (8, 16)
    assert "cov_features[0] = 1.5: expected a whole number" in refused_file(written(tmp_path, expression("[3 / 2]")))


def test_yaml_reads_numbers_as_people_write_them(tmp_path):
    path = written(tmp_path, "a: 3e-4\nb: 1E3\nc: 3e\nd: 2\ne: 10_000\nf: 0\ng: 0.05\n", "study.yaml")
    assert read_fields(path) == {"a": 3e-4, "b": 1000.0, "c": "3e", "d": 2, "e": 10_000, "f": 0, "g": 0.05}
    assert yaml.safe_load("3e-4") == "3e-4"  # why our loader adds to it


def test_values_in_messages_are_short_whatever_they_are():
    nested = [1]
    for _ in range(100):
        nested = [nested] * 10
    for value in (nested, "x" * 10**6, 10**4000, 16**10**5, dict.fromkeys(range(1000)), b"x" * 1000, {1, 2}):
        assert len(short(value)) <= 80
    assert short("a\x1b[31m") == r"'a\x1b[31m'"


def test_a_study_in_the_place_of_a_spec_is_called_one(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("models: [generic_2]\nepochs: 3\n")
    with pytest.raises(SpecError, match=r"study.yaml: is a study .it has models., expected one spec.*modelflow run"):
        read_spec(path)


def test_fields_are_read_without_a_file_and_numpys_numbers_are_numbers(tmp_path):
    spec = Spec(**LEAST, cov_features=[3, 4], p=0.25)
    fields = {
        "in_channels": np.int64(1),
        "num_classes": np.uint8(10),
        "cov_features": np.array([3, 4]),
        "p": np.float32(0.25),
    }
    for read in (read_spec(fields), read_spec(spec), Spec(**fields), parse_spec(fields)):
        assert read == spec
        assert read.to_json() == spec.to_json()
    (tmp_path / "net.json").write_text(spec.to_json())
    assert read_spec(tmp_path / "net.json") == read_spec(str(tmp_path / "net.json")) == spec
    with pytest.raises(SpecError, match="expected an object of fields such as in_channels, got 5"):
        read_spec(5)


def test_what_is_quoted_stays_in_one_line():
    class Tall:
        def __repr__(self):
            return "Tall(\n  one\n)"

    assert short(Tall()) == "Tall( one )"


def test_a_presets_name_will_do_where_no_file_is_called_so(tmp_path, monkeypatch):
    from modelflow.networks.build import GenericCNN
    from modelflow.networks.resolve import CARD, preset

    monkeypatch.chdir(tmp_path)
    assert [read_spec(name) for name in CARD] == [read_spec(Path(name)) for name in CARD] == list(map(preset, CARD))
    assert read_spec(GenericCNN("generic_2")) == preset("generic_2")
    for near in ("generic_22", "Generic_2"):
        with pytest.raises(SpecError, match=rf"^{near}: no such file or preset. Did you mean 'generic_2'\?$"):
            read_spec(near)
    for other in ("quite_other", "generic_2.json", "../generic_2", "models/generic_2"):
        with pytest.raises(SpecError, match="no such file"):
            read_spec(other)
    Path("generic_2").write_text("in_channels: 1\nnum_classes: 3\n")
    assert read_spec("generic_2").num_classes == 3
    with pytest.raises(SpecError, match="expected an object of fields"):
        read_spec(3)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        ("smae", "padding = 'smae': expected 'valid' or 'same' or a whole number. Did you mean 'same'?"),
        (-1, "padding = -1: expected 'valid' or 'same' or at least 0."),
    ],
)
def test_an_option_that_may_be_a_word_or_a_number_is_explained_once(padding, expected):
    layers = [{"conv": 4, "padding": padding}, {"linear": 10}]
    assert refusal({"input": [1, 8, 8], "layers": layers}).endswith(expected)
