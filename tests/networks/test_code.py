"""Networks that only code says: read without being run, refused with what is wrong, run once a process."""

import pickle
import re
import sys
from pathlib import Path

import pytest

from modelflow.errors import SpecError, UsageError
from modelflow.io.files import sha256
from modelflow.networks.code import Code, code_in_file, parse_code
from modelflow.networks.resolve import named_spec

TEXT = "import sys\nsys.ran = getattr(sys, 'ran', 0) + 1\nclass Net:\n    pass\nnumber = 3\n"


@pytest.fixture
def folder(tmp_path):
    sys.ran = 0
    (tmp_path / "nets.py").write_text(TEXT)
    yield tmp_path
    del sys.ran


def test_a_file_is_read_and_not_run_until_its_maker_is_asked_for(folder):
    name, code = named_spec({"name": "r", "module": "nets.py:Net"}, folder)
    assert (name, code.code, code.sha256) == ("r", "nets.py:Net", sha256(TEXT.encode()))
    assert code.place == f"{folder / 'nets.py'}:Net"
    assert sys.ran == 0
    assert code.maker("r")().__class__.__name__ == "Net"
    code.maker("r")
    assert sys.ran == 1


def test_the_bytes_that_were_read_are_those_that_run(folder):
    """Also in another process, which is sent the bytes."""
    code = code_in_file("nets.py:Net", "r", folder)
    (folder / "nets.py").write_text("raise ValueError")
    there = pickle.loads(pickle.dumps(code))
    assert there == code
    assert there.maker("r")().__class__.__name__ == "Net"


def test_what_is_written_and_read_back_is_the_same_and_has_its_file_where_it_lies_beside(folder):
    code = code_in_file("nets.py:Net", "r", folder)
    fields = code.model_dump(mode="json")
    assert set(fields) == {"code", "sha256"}
    parse_code(fields, "r", folder).check_at_hand("r")
    with pytest.raises(UsageError, match=r"r: was made by the code nets.py:Net, which is not at hand. Call it where"):
        parse_code(fields, "r", folder / "elsewhere").maker("r")
    (folder / "nets.py").write_text(TEXT + "\n")
    with pytest.raises(
        UsageError, match=r"r: the code .*nets.py:Net has changed: SHA-256 stored \w{12}, now \w{12}\. Re"
    ):
        parse_code(fields, "r", folder).maker("r")
    assert sys.ran == 0


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("nets:Net", "module = 'nets:Net': expected a file and a name in it, such as 'nets.py:ResNet'"),
        ("nets.py", "expected a file and a name"),
        ("nets.py:a.b", "expected a file and a name"),
        ("nets.py:Net()", "expected a file and a name"),
        (["nets.py", "Net"], "expected a file and a name"),
        ("other.py:Net", r"other.py: no such file\. Give its path as seen from the study file"),
        ("folder.py:Net", "folder.py: no such file"),
        ("large.py:Net", "large.py: larger than 1,048,576 bytes, the limit"),
    ],
)
def test_what_names_no_file_is_refused(folder, module, said):
    (folder / "folder.py").mkdir()
    (folder / "large.py").write_bytes(b"#" * 2**21)
    with pytest.raises((UsageError, SpecError), match=said):
        named_spec({"name": "r", "module": module}, folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", "nets.py: cannot be imported: SyntaxError: .* (line 1)"),
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all' (line 1)"),
        ("x = 1\n1 / 0", "ZeroDivisionError: division by zero (line 2)"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3 (line 1)"),
        ("\0", "cannot be imported"),
        ("class Nets: pass", "nets.py defines no function or class Net. Did you mean 'Nets'?"),
        ("Net = 3", "defines no function or class Net"),
    ],
)
def test_what_goes_wrong_in_it_is_told_with_file_and_line(tmp_path, text, said):
    (tmp_path / "nets.py").write_text(text)
    with pytest.raises(UsageError, match=re.escape(said).replace(r"\.\*", ".*")):
        code_in_file("nets.py:Net", "r", tmp_path).maker("r")


@pytest.mark.parametrize(
    "fields",
    [
        {"code": "nets.py:Net"},
        {"code": "nets.py:Net", "sha256": "0"},
        {"code": "", "sha256": "0" * 64},
        {"code": 3, "sha256": "0" * 64},
        {"code": "nets.py:Net", "sha256": "0" * 64, "_file": ["/etc/passwd", ""]},
        {"code": "nets.py:Net", "sha256": "0" * 64, "file": "/etc/passwd"},
    ],
)
def test_a_record_of_other_fields_is_refused(fields):
    with pytest.raises(SpecError):
        parse_code(fields, "r")


def test_code_of_a_function_is_named_by_what_it_makes():
    code = Code.of_function(dict, "Net", "0" * 64)
    assert not code.is_in_file
    assert code.maker("r") is dict
    with pytest.raises(UsageError, match=r"made by the code Net, which is not at hand\. Call run_models with it again"):
        parse_code(code.model_dump(mode="json"), "r", Path()).maker("r")
