"""The documentation is true where a program can tell: lists, links, names, commands, files, the examples."""

import functools
import importlib
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import typer

from bench import registry
from bench.cli.app import app
from bench.run.families import expand
from bench.run.plan import Request, make_experiments, parse_seeds, split
from bench.run.sweep import make_sweep

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = {
    "adding-a-method.md": "plugin",
    "adding-a-task.md": "plugin_task",
    "adding-a-scorer.md": "plugin_scorer",
    "adding-a-figure.md": "plugin_figure",
}
"""The guides that show whole packages, and the folders of `tests` that hold them."""
MACHINE = re.compile(r"(?<![\w.])/(work|root|tmp|home|mnt|workspace)/|file://|localhost|127\.0\.0\.1")


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- lists ---


def generator():
    spec = spec_from_file_location("generate_lists", DOCS / "generate_lists.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["methods.md", "tasks.md", "scorers.md", "models.md", "licences.md"])
def test_lists_are_as_the_registry_has_them(page):
    assert (DOCS / page).read_text(encoding="utf-8") == generator().render(page), "run python docs/generate_lists.py"


def test_every_page_is_in_the_table_of_contents():
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", read("docs/index.md")))
    assert listed == {path.name for path in PAGES} - {"index.md"}


# --- links and paths ---


def anchors(path: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(path: Path, text: str) -> list[str]:
    broken = []
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", FENCE.sub("", text)):
        if re.match(r"https?:|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("name", names(TEXTS))
def test_links_lead_somewhere(name):
    assert broken_links(ROOT / name, read(name)) == []


def test_a_broken_link_is_seen():
    text = "[a](nowhere.md) [b](sets.md#no-such-part) [c](sets.md#the-format) [d](https://example.org)"
    assert broken_links(DOCS / "index.md", text) == ["nowhere.md", "sets.md#no-such-part"]


@pytest.mark.parametrize("name", names(TEXTS))
def test_no_path_of_a_machine_is_named(name):
    assert [line for line in read(name).splitlines() if MACHINE.search(line)] == []


def test_pages_that_the_code_names_are_there():
    sources = [path for package in ("bench", "methods", "reports") for path in (ROOT / package).rglob("*.py")]
    named = {found for path in sources for found in re.findall(r"docs/[\w-]+\.md", path.read_text(encoding="utf-8"))}
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


# --- names of the code ---

DOTTED = re.compile(r"(?<![\w./-])(?:bench|methods|reports)(?:\.[A-Za-z_]\w*)+")
PLACE = re.compile(r"(?<![\w./-])(?:bench|methods|reports|tests|docs|\.github)/[\w./-]*[\w/]")
_FILE = re.compile(r"\.(md|py|html|json|yaml|yml|svg|pdf|tex|csv|log)$")
"""What is a file and no dotted name."""
PRESENT = [name for name in names(TEXTS) if name != "CHANGELOG.md"]  # which says what things were called


def groups() -> set[str]:
    """The entry point groups that packages may use."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    return {*project["entry-points"], "bench.figures"}


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or what is in one; a field of a class counts."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if part in getattr(thing, "__annotations__", {}):
                return True
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


def wrong_names(text: str) -> Iterator[str]:
    """The dotted names and the paths in a text that are of nothing in the repository."""
    for name in dict.fromkeys(DOTTED.findall(text)):
        if not _FILE.search(name) and name not in groups() and not resolves(name):
            yield name
    for path in dict.fromkeys(PLACE.findall(text)):
        if not (ROOT / path).exists():
            yield path


@pytest.mark.parametrize("name", PRESENT)
def test_names_and_paths_of_the_code_are_there(name):
    assert list(wrong_names(read(name))) == []


def test_the_architecture_names_the_code():
    """The page that follows things through the code says where, and names every room."""
    text = read("docs/architecture.md")
    assert len(set(DOTTED.findall(text))) > 100
    assert len(set(PLACE.findall(text))) > 10
    rooms = {f"{path.parent.name}.{path.stem}" for path in (ROOT / "bench").glob("*.py") if path.stem[0] != "_"}
    rooms |= {f"{path.parts[-3]}.{path.parts[-2]}" for path in ROOT.glob("bench/*/__init__.py")}
    rooms |= {f"{path.parts[-3]}.{path.parts[-2]}" for path in ROOT.glob("reports/*/__init__.py")}
    assert [room for room in sorted(rooms) if room not in text] == []


def test_a_wrong_name_is_seen():
    text = (
        "`bench.run.plan.split` bench.recipes, `bench.run.plan.Requests` (methods.training) reports.plots.FIGURES "
        "`bench.run.plan.Request.methods`, `bench.tasks`, methods.md bench/tasks/rtp.py bench/tasks/harness.py. "
        "PATH/TO/bench/nothing.py"
    )
    assert list(wrong_names(text)) == [
        "bench.recipes",
        "bench.run.plan.Requests",
        "methods.training",
        "bench/tasks/harness.py",
    ]


# --- commands ---


def commands(text: str) -> list[str]:
    """Every `bench …` line in a block, and every one in running text; also behind `&&` or another command."""
    lines = [line.strip() for kind, block in FENCE.findall(text) if not kind for line in block.splitlines()]
    lines += re.findall(r"`(bench [^`]+)`", FENCE.sub("", text))
    return [line for line in lines if re.search(r"(^|&& |bench\)\" )(bench|run) ", line)]


def words(line: str) -> list[list[str]]:
    """The arguments of a line's command; `ls|fetch` in a word stands for several, and a verb alone for its help."""
    line = line.rpartition("&& ")[2].replace('"$(which bench)"', "&& bench").rpartition("&& ")[2]
    parts = itertools.takewhile(lambda word: word not in ("|", ">", "2>"), shlex.split(line, comments=True))
    arguments = list(parts)[1:]
    if len(arguments) == 1 or (arguments[0] == "data" and len(arguments) == len(["data", "verb"])):
        arguments.append("--help")
    return [list(choice) for choice in itertools.product(*(word.split("|") for word in arguments))]


SHOWN = sorted({line for name in names(TEXTS) for line in commands(read(name))})


def check(arguments: list[str]) -> None:
    """Parse a command as the program does; for `bench run`, go on to the experiments that it would carry out."""
    command = typer.main.get_command(app)
    silence(command)
    command.main(arguments, prog_name="bench", standalone_mode=False)


def silence(command) -> None:
    """Let no verb do its work."""
    command.callback = {"run": plan, "sweep": plan_sweep}.get(command.name, lambda **_: None)
    for sub in getattr(command, "commands", {}).values():
        silence(sub)


def request(asked) -> Request:
    methods, seeds, settings = split(asked["method"]), parse_seeds(asked["seeds"]), asked["settings"] or []
    base = asked.get("base", True)
    return expand(Request(methods, asked["suite"], asked["model"], seeds, settings, asked["limit"], base))[0]


def plan(**asked) -> None:
    assert make_experiments(request(asked))


def plan_sweep(**asked) -> None:
    values = split(asked["values"]) if asked["values"] else None
    assert make_experiments(make_sweep(request(asked), asked["over"], values, asked["points"]).request)


@functools.cache
def files_of(page: str) -> dict[str, str]:
    """The files that a page shows, by name: a block whose first line is `# NAME`."""
    blocks = [(re.match(r"# ([\w-]+\.\w+)\n", block), block) for kind, block in FENCE.findall(read(page)) if kind]
    return {first[1]: block for first, block in blocks if first}


@pytest.fixture
def shown_files(tmp_path, monkeypatch):
    """The files that the documentation shows, in the working folder."""
    for page in names(PAGES):
        for name, block in files_of(page).items():
            (tmp_path / name).write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for variable in ("METHOD", "SUITE", "MODEL", "SEEDS", "LIMIT", "CONFIG", "OFFLINE", "CACHE", "RUNS"):
        monkeypatch.delenv(f"BENCH_{variable}", raising=False)
    return tmp_path


@pytest.fixture
def example(shown_files, monkeypatch):
    """What the pages on adding something show, as if it were installed."""
    monkeypatch.syspath_prepend(str(shown_files))
    points = {}
    for page in EXAMPLES:
        project = tomllib.loads(files_of(f"docs/{page}")["pyproject.toml"])["project"]
        for group, targets in project["entry-points"].items():
            points[group] = {name: EntryPoint(name, target, group) for name, target in targets.items()}
    assert {"sharpen", "margin"} == set(points["bench.methods"])
    real = registry._points
    monkeypatch.setattr(registry, "_points", lambda kind: {**real(kind), **points.get(f"bench.{kind}", {})})
    return importlib.import_module("bench_sharpen")


@pytest.mark.parametrize("page", EXAMPLES)
def test_the_example_is_the_package_that_the_tests_install(page):
    """So that it is known to install, to run and to keep the contract."""
    shown = files_of(f"docs/{page}")
    held = [path for path in (ROOT / "tests" / EXAMPLES[page]).iterdir() if path.is_file()]
    assert len(held) >= 2
    for path in held:
        assert shown[path.name] == path.read_text(encoding="utf-8")


def test_there_are_commands():
    assert len(SHOWN) > 20
    assert any("torchrun" in line for line in SHOWN)


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("line", SHOWN)
def test_commands_are_valid(line):
    shown = words(line)
    assert all(shown)
    for arguments in shown:
        check(arguments)


@pytest.mark.usefixtures("shown_files")
@pytest.mark.parametrize(
    "line",
    [
        "bench run --methods contrastive",
        "bench run --method contrastiv",
        "bench run --method contrastive --set leraning_rate=1",
        "bench run --method contrastive --suite nosuch",
        "bench run --method contrastive:objective=none",
        "bench sweep --method contrastive --over taau --values 1",
        "bench data get",
        "bench table a b --nothing",
        "bench tabel",
    ],
)
def test_a_wrong_command_is_seen(line):
    (arguments,) = words(line)
    with pytest.raises(Exception, match=r"(?i)no such|unknown|missing|no method|objective|has the option"):
        check(arguments)


# --- the example method ---


def test_the_example_method_edits_the_model_and_is_the_base_at_strength_0(example, tiny_model, tmp_path):
    import torch

    from bench.assets.resolved import Resolved
    from bench.engine.model import load_model
    from bench.method import Artifact, RunContext
    from bench.policy import HFPolicy
    from bench.spec import ModelSpec

    base = load_model(ModelSpec(id="tiny"), Resolved("tiny", tiny_model, "0", None, None, "local"))
    ids = torch.tensor([base.tokenizer("The river rises")["input_ids"]])
    plain = HFPolicy(base.model, base.tokenizer).forward(ids, torch.ones_like(ids))[0]
    for sharpness in (0.0, 0.5):
        method = example.Sharpen(example.Sharpen.Config(sharpness=sharpness))
        assert method.prepare(base, None, RunContext(tmp_path)) == {}
        with method.applied(base, Artifact(tmp_path, "0")) as policy:
            logits = policy.forward(ids, torch.ones_like(ids))[0]
        assert torch.equal(logits, plain * (1 + sharpness))
