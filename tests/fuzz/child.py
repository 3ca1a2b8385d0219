"""One process of fuzzing: one parser, so many inputs; every find is written down and the next input tried.

python tests/fuzz/child.py TARGET COUNT SEED FOLDER        # FOLDER/state.json: how far; FOLDER/find-*: what was found

Atheris guides what is tried by the branches that an input reaches. A find is an exception other than `ModelFlowError`,
a message that is endless or holds control characters, more than 2 s of processor time, or more than 1 GiB; an input
that ends the process (a crash, a hang) is kept by the engine itself.
"""

import hashlib
import json
import random
import resource
import sys
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path

MAX_SECONDS = 2.0
MAX_MIB = 1024
MAX_GROWTH_MIB = 100  # by one input, where the process is as large already
MAX_MESSAGE = 2000
HANG_SECONDS = 30  # of elapsed time, on a machine that may be shared
INPUTS_BETWEEN_STATES = 200
TRIES_TO_MINIMISE = 500
CORPUS = Path(__file__).parents[1] / "corpus"


@dataclass
class State:
    """What was tried so far."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    slowest_ms: float = 0.0
    peak_mib: float = 0.0
    finds: dict[str, str] = field(default_factory=dict)  # signature -> file


def peak_mib() -> float:
    """The most memory that this process has used; what it was forked from does not count."""
    try:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    except FileNotFoundError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    return int(status["VmHWM"].split()[0]) / 1024


def limit_memory() -> None:
    """From here on this process is given no more than 1 GiB on top of what it has; on Linux."""
    if not Path("/proc/self/statm").exists():
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + (MAX_MIB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def signature(target, content: bytes, place: Path, state: State | None = None) -> str:
    """What is wrong with how `target` takes `content`, the same for the same fault; empty where nothing is."""
    from modelflow.errors import ModelFlowError

    state = state or State()
    before, start, found = peak_mib(), time.process_time(), ""
    try:
        taken = target.read(content, place)
        state.accepted, state.refused = state.accepted + taken, state.refused + (not taken)
    except ModelFlowError as error:
        state.refused += 1
        found = wrong_message(str(error))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        found = f"{type(error).__name__} at {Path(last.filename).name}:{last.name}"
    seconds = time.process_time() - start
    state.inputs += 1
    state.slowest_ms = max(state.slowest_ms, 1000 * seconds)
    state.peak_mib = max(state.peak_mib, peak_mib())
    if not found and seconds > MAX_SECONDS:
        found = "slow"
    if not found and state.peak_mib > max(before, MAX_MIB) and state.peak_mib - before > MAX_GROWTH_MIB:
        found = "large"
    return found


def wrong_message(message: str) -> str:
    """What is wrong with a message to the user."""
    if len(message) > MAX_MESSAGE:
        return "an endless message"
    if any(character != "\n" and not character.isprintable() and ord(character) < 0xA0 for character in message):
        return "control characters in a message"
    return ""


def minimised(content: bytes, still_found) -> bytes:
    """A part of `content` for which `still_found` holds, after at most `TRIES_TO_MINIMISE` cuts."""
    size, tries = len(content) // 2, 0
    while size and tries < TRIES_TO_MINIMISE:
        start = 0
        while start < len(content) and tries < TRIES_TO_MINIMISE:
            part, tries = content[:start] + content[start + size :], tries + 1
            if still_found(part):
                content = part
            else:
                start += size
        size //= 2
    return content


def kept(name: str) -> list[bytes]:
    """What was found before, but for what ended a process: this one is to go on."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*")) if not path.name.startswith("engine-")]


def fuzz(name: str, count: int, seed: int, folder: Path) -> None:
    """Tries `count` inputs; never returns."""
    import atheris

    with atheris.instrument_imports(include=["modelflow", "yaml", "json"]):
        from targets import TARGETS

        TARGETS[name].seeds()  # imports what is only imported when it is needed
    from mutations import most_bytes, mutated

    target = TARGETS[name]
    seeds, state = target.seeds(), State()
    place, begun = folder / "place", folder / "seeds"
    for path in (place, begun):
        path.mkdir(parents=True, exist_ok=True)
    for i, content in enumerate(seeds + kept(name)):
        (begun / f"seed-{i}").write_bytes(content)
    limit_memory()

    def tried(content: bytes) -> None:
        found = signature(target, content, place, state)
        if found and found not in state.finds:
            least = minimised(content, lambda part: signature(target, part, place) == found)
            path = folder / f"find-{hashlib.sha256(least).hexdigest()[:12]}"
            path.write_bytes(least)
            state.finds[found] = path.name
        if found or state.inputs % INPUTS_BETWEEN_STATES == 0 or state.inputs >= count:
            (folder / "state.json").write_text(json.dumps(asdict(state)))

    def made(content: bytes, most: int, number: int) -> bytes:
        draw = random.Random(number)
        if draw.random() < 0.3:
            return atheris.Mutate(content, most)
        return mutated(draw.choice((content, *seeds)), target, seeds, draw)[:most]

    engine = [f"-runs={count}", f"-seed={seed}", f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={2 * MAX_MIB}"]
    engine += [f"-max_len={most_bytes(target)}", f"-artifact_prefix={folder}/engine-", "-verbosity=0", "-len_control=0"]
    atheris.Setup([sys.argv[0], *engine, str(begun)], tried, custom_mutator=made)
    atheris.Fuzz()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    fuzz(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
