"""The README and the tree tell the truth: paths, Python, commands, examples."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from modelflow import cli, load_dataset
from modelflow.analysis.verdicts import seeds_wanted
from modelflow.networks import short_form
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import parse_spec
from modelflow.networks.layers.registry import kinds
from modelflow.networks.resolve import is_spec, trace
from modelflow.results import settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def blocks(language, page=README):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.S | re.M)
    return [text for name, text in fenced if name == language]


def captioned_tree():
    """Paths of the block that begins with src/modelflow/, by the indentation of its lines."""
    lines = next(block for block in blocks("", ARCHITECTURE) if block.startswith("src/modelflow/")).splitlines()
    parents, paths = [], set()
    for line in lines:
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [name.rstrip("/")]
        paths.add("/".join(parents))
    return paths


def tree_of_the_disk():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    modules = {path for path in tracked if path.startswith("src/") and not path.endswith(("__init__.py", ".json"))}
    folders = {str(Path(path).parent) for path in modules} | {"src/modelflow/networks/presets"}
    others = {path.split("/")[0] for path in tracked if "/" in path and not path.startswith((".", "src/"))}
    return modules | folders | others | {"src/modelflow/__init__.py"}


def test_the_tree_is_the_disks():
    assert captioned_tree() == tree_of_the_disk()


def test_every_file_of_the_tree_has_a_caption():
    block = next(block for block in blocks("", ARCHITECTURE) if block.startswith("src/modelflow/"))
    assert [line for line in block.splitlines() if len(line.split()) < 3] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")) if "://" not in target]
    assert [target for target in targets if not leads_somewhere(page, *target.partition("#")[::2])] == []


def leads_somewhere(page, file, anchor):
    """Whether the file is there, and has a heading of that anchor as GitHub names it."""
    target = page.parent / file if file else page
    if not anchor or target.suffix != ".md" or not target.exists():
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
    shown = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower() for heading in headings]
    return anchor in [re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in shown]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lists_within_lists_are_indented_by_four_as_the_site_needs(page):
    words = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.S | re.M)
    assert [line for line in re.findall(r"^ +(?:-|\d+\.) .*", words, re.M) if not re.match(r"    \S", line)] == []


@pytest.mark.parametrize("page", ["README.md", "docs/reference/python.md"])
def test_the_python_example_runs(page, tmp_path):
    code = blocks("python", (ROOT / page).read_text("utf-8"))[0]
    assert len(code.strip().splitlines()) <= 10
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1].split()[0]) > 0.7
    assert (tmp_path / "results" / "my_model" / "run.json").is_file()


@pytest.mark.parametrize(
    "line",
    sorted(
        {
            line
            for page in PAGES
            for block in blocks("sh", page.read_text("utf-8"))
            for line in block.splitlines()
            if line.startswith("modelflow")
        }
    ),
)
def test_the_commands_exist_with_their_options(line):
    words = shlex.split(line, comments=True)[1:]
    command = cli.cli
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    with command.make_context("modelflow", words, resilient_parsing=False) as context:
        assert context.params


def test_the_example_studies_are_valid():
    study = settings.read_study(ROOT / "examples" / "my_study.yaml")
    assert list(study.specs()) == ["generic_2", "my_net", "wide"]
    assert list(settings.read_study(ROOT / "examples" / "quick_study.yaml").specs()) == ["narrow", "wide"]
    modern = settings.read_study(ROOT / "examples" / "modern.yaml").specs()
    styles = ["plain", "vgg_like", "resnet_like", "mobilenet_like", "squeeze_and_excite", "all_convolutional"]
    assert list(modern) == styles
    assert max(trace(spec).macs for spec in modern.values()) < 2_000_000  # an epoch takes less than a minute


def test_help_lists_every_command():
    listed = CliRunner().invoke(cli.cli, ["--help"]).output
    assert all(f"  {name} " in listed for name in cli.cli.commands)


def test_the_table_of_the_card_is_made_from_the_records_kept():
    made = runpy.run_path(str(ROOT / "benchmarks" / "card_repeated.py"))
    page = made["PAGE"].read_text("utf-8")
    assert made["written_into"](page) == page
    assert len(made["table"]().splitlines()) == 9


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_network_files_on_the_pages_can_be_traced(page):
    for text in blocks("yaml", page.read_text("utf-8")):
        fields = yaml.safe_load(text)
        if is_spec(fields):
            assert trace(parse_spec(fields)).parameters > 0


def kinds_of(layers):
    for layer in layers:
        yield layer.key
        yield from kinds_of(getattr(layer, "layers", ()))


def test_the_page_of_layers_has_an_example_of_each_kind_which_runs_and_costs_what_it_says():
    page, found = (ROOT / "docs" / "how-to" / "layers.md").read_text("utf-8"), set()
    examples = [text for text in blocks("yaml", page) if is_spec(yaml.safe_load(text))]
    for text in examples:
        spec = parse_spec(yaml.safe_load(text))
        assert text.startswith(f"# {spec.short_form}: {trace(spec).parameters:,} parameters\n")
        assert parse_spec({"layers": spec.short_form}) == spec
        assert GenericCNN(spec)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
        found |= set(kinds_of(spec.layers))
    assert found == set(kinds())
    headings = re.findall(r"^## (.*)$", page, re.M)
    assert {kind for heading in headings for kind in heading.split(", ")} - {"What is compiled", "In one line"} == set(
        kinds()
    )


def test_every_word_and_mark_of_the_short_form_is_on_the_page_of_files():
    page = (ROOT / "docs" / "reference" / "files.md").read_text("utf-8").partition("### The short form")[2]
    said = [word.rstrip("0123456789.") for word in re.findall(r"`([^`\n]+)`", page)]
    assert not [word for word in short_form.words() if word.rstrip("6") not in said]
    assert not [
        mark for mark, (name, _) in short_form.SIGNED.items() if f"`{mark}`" not in page and name != "activation"
    ]
    letters = {letter for kind in kinds().values() for letter in kind.short_marks}
    assert letters <= set(said)


def test_every_kind_of_layer_is_on_the_page_of_files():
    page = (ROOT / "docs" / "reference" / "files.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `(\w+)[:`]", page.partition("## Study file")[0].partition("| Kind |")[2], re.M))
    assert listed == set(kinds())
    for kind in kinds().values():
        named = {name for name in kind.model_fields if name != kind.main}
        assert not [name for name in named if f"`{name}`" not in page], kind


def test_images_are_written_as_the_page_says(tmp_path):
    page = (ROOT / "docs" / "how-to" / "own-images.md").read_text("utf-8")
    made = {}
    exec(next(text for text in blocks("python", page) if "def write_images" in text), made)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 12, 12), np.uint8), np.arange(40) % 3
    made["write_images"](tmp_path / "mine", images[:30], labels[:30], images[30:], labels[30:])
    data = load_dataset(f"idx:{tmp_path / 'mine'}")
    assert (data.num_classes, data.image_size, len(data.train_y_N), len(data.test_y_N)) == (3, (12, 12), 30, 10)
    assert data.test_y_N.tolist() == labels[30:].tolist()


def test_the_reference_is_made_from_the_code():
    for path, page in runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"].items():
        assert path.read_text("utf-8") == page(), "run python docs/generate.py"


@pytest.mark.parametrize(
    "example", [*sorted((ROOT / "examples").glob("*study.yaml")), ROOT / "examples" / "modern.yaml"]
)
def test_studies_among_the_examples_have_seeds_enough_for_a_claim(example):
    study = settings.read_study(example)
    assert seeds_wanted(len(study.models), len(study.seeds)) == ""
