"""A short form of `make fuzz`: every parser with some hundred inputs, what was found before, single bytes changed."""

import random
from pathlib import Path

import changed_bytes
import pytest
from child import CORPUS, kept, minimised, signature, wrong_message
from mutations import mutated
from targets import TARGETS, Target

from modelflow.errors import DataError

INPUTS = 300
FOUND = [(path.parent.name, path.name) for path in sorted(CORPUS.glob("*/*"))]


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_valid_is_taken(name: str, tmp_path: Path) -> None:
    assert all(TARGETS[name].read(content, tmp_path) for content in valid(name))


def valid(name: str) -> list[bytes]:
    seeds = TARGETS[name].seeds()
    return [content for content in seeds if b"../" not in content and b"my_net" not in content]


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_of_it_are_taken_or_refused(name: str, tmp_path: Path) -> None:
    target, draw = TARGETS[name], random.Random(1)
    seeds = target.seeds()
    pool = list(seeds)
    for _ in range(INPUTS):
        content = mutated(draw.choice(pool), target, seeds, draw)
        assert signature(target, content, tmp_path) == "", content
        pool = [*pool[-20:], *seeds, content]


@pytest.mark.parametrize(("name", "file"), FOUND, ids=lambda value: value)
def test_what_was_found_before_is_taken_or_refused(name: str, file: str, tmp_path: Path) -> None:
    assert signature(TARGETS[name], (CORPUS / name / file).read_bytes(), tmp_path) == ""


def test_the_corpus_is_of_parsers_that_exist() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)
    assert kept("run_json")


def planted(read) -> Target:
    return Target(read, "bytes", lambda: [b"aaaa"], (b"bug",))


def test_a_planted_fault_is_found_and_minimised(tmp_path: Path) -> None:
    def read(content: bytes, _place: Path) -> bool:
        if b"bug" in content:
            return {}[content]  # type: ignore[return-value]
        raise DataError("no")

    target, draw = planted(read), random.Random(1)
    inputs = (mutated(b"aaaa", target, [b"aaaa"], draw) for _ in range(1000))
    found = next(content for content in inputs if signature(target, content, tmp_path))
    assert signature(target, found, tmp_path) == "KeyError at test_fuzz.py:read"
    assert minimised(b"x" * 99 + found, lambda part: signature(target, part, tmp_path) != "") == b"bug"


def test_messages_are_to_be_short_and_plain() -> None:
    assert wrong_message("net.json: p = 1: expected less than 1") == ""
    assert wrong_message("x" * 3000) == "an endless message"
    assert wrong_message("red \x1b[31m") == "control characters in a message"


def test_every_changed_byte_is_noticed() -> None:
    done = changed_bytes.check(600)
    assert done["changes"] == 600
    assert len(done["files"]) == 3
    assert done["unnoticed"] == []
