"""Every advice in a message is true: what it names exists, and what it says to do helps."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from pydantic import BaseModel

from bench import registry
from bench.cli.app import app
from bench.errors import UsageError, did_you_mean
from bench.run.plan import Request, make_experiments, parse_method, parse_seeds, split
from bench.sets.written.recipe import Recipe
from bench.spec import SuiteSpec

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
OTHERS = {"--private", "--force-reinstall", "--help", "--head"}
"""Of pip, of Ray, and of every command."""


def texts(node: ast.expr, names: dict[str, list[ast.expr]], deep: int = 0) -> Iterator[str]:
    """The texts that an expression may give, `X` for what is filled in; of a name, those that are assigned to it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        found = [""]
        for part in node.values:
            more = [part.value] if isinstance(part, ast.Constant) else ["X"]
            if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name) and part.value.id.isupper():
                more = [*texts(part.value, names, deep + 1)] or ["X"]
            found = [before + str(one) for before in found for one in more]
        yield from found
    elif isinstance(node, ast.Name) and deep < 3:
        for value in names.get(node.id, []):
            yield from texts(value, names, deep + 1)
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body, names, deep)
        yield from texts(node.orelse, names, deep)


def advices() -> dict[str, str]:
    """Each advice of the code, and the file that it stands in."""
    found: dict[str, str] = {}
    for package in ("bench", "methods", "reports"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text("utf-8"))
            names: dict[str, list[ast.expr]] = {}
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    names.setdefault(node.targets[0].id, []).append(node.value)
            given = [word.value for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords
                     if word.arg == "mend"]  # fmt: skip
            for text in [*(one for value in given for one in texts(value, names)),
                         *(one for value in names.get("mend", []) for one in texts(value, names))]:  # fmt: skip
                found.setdefault(text, str(path.relative_to(ROOT)))
    return found


ADVICES = advices()


def commands(command: click.Command, path: str = "bench") -> dict[str, click.Command]:
    subs: dict[str, Any] = getattr(command, "commands", {})
    return {path: command} | {k: v for name, sub in subs.items() for k, v in commands(sub, f"{path} {name}").items()}


COMMANDS = commands(typer.main.get_command(app))
PARAMETERS = [parameter for command in COMMANDS.values() for parameter in command.params]
OPTIONS = {flag for parameter in PARAMETERS for flag in (*parameter.opts, *parameter.secondary_opts)}
VARIABLES = {parameter.envvar for parameter in PARAMETERS if parameter.envvar} | {"BENCH_DEBUG"}
FIELDS = {
    field
    for kind in ("methods", "tasks", "scorers")
    for name in registry.names(kind)
    for field in registry.load(kind, name).Config.model_fields
}


def has_key(model: Any, path: list[str]) -> bool:
    """Whether a configuration has a key; a plain mapping has any."""
    field = model.model_fields.get(path[0])
    if field is None:
        return False
    inner = field.annotation
    return len(path) == 1 or not (isinstance(inner, type) and issubclass(inner, BaseModel)) or has_key(inner, path[1:])


def test_all_advices_are_found():
    assert len(ADVICES) > 150
    assert "add --format latex" in ADVICES
    assert any(text.startswith("free some") for text in ADVICES)


NAMED = {
    "option": re.compile(r"(?<![\w-])--[a-z][a-z-]+"),
    "command": re.compile(r"[`'](bench [^`']+)[`']"),
    "key_to_set": re.compile(r"--set ([a-z][\w.]*)\.?"),
    "extra": re.compile(r"contrastive-bench\[(\w+)\]"),
    "variable": re.compile(r"BENCH_\w+"),
    "page": re.compile(r"docs/[\w-]+\.md"),
    "named": re.compile(r"(method|task|scorer) '(\w+)'"),
    "assignment": re.compile(r"(?<![\w.=])([a-z_]+)=(?!X\b)[\w\[]"),
}
"""What an advice may name, and how it is found."""


def without_flags(text: str) -> str:
    return re.sub(r"--set \S+|--[a-z-]+=\S+", "", text)


@pytest.mark.parametrize("what", NAMED)
def test_there_are_advices_that_name(what):
    assert any(NAMED[what].search(without_flags(text) if what == "assignment" else text) for text in ADVICES)


@pytest.mark.parametrize("text", sorted(ADVICES))
def test_what_an_advice_names_exists(text):
    for option in NAMED["option"].findall(text):
        assert option in OPTIONS | OTHERS, f"no command has {option}"
    for words in NAMED["command"].findall(text):
        path = " ".join(word for word in shlex.split(words) if word.isalpha() and word.islower())
        assert path in COMMANDS or words in ("bench X --help", "X --help"), f"no command '{path}'"
    for key in NAMED["key_to_set"].findall(text):
        head, _, rest = key.rstrip(".").partition(".")
        known = has_key(SuiteSpec, rest.split(".")) if head == "suite" else head in FIELDS | set(Recipe.model_fields)
        assert known, f"nothing has the key {key}"
    for key in NAMED["assignment"].findall(without_flags(text)):
        assert key in FIELDS, f"no method, task or scorer has the option {key}"
    for extra in NAMED["extra"].findall(text):
        assert extra in EXTRAS
        assert f"'contrastive-bench[{extra}]'" in text, "a shell may take the brackets for a pattern"
    for variable in NAMED["variable"].findall(text):
        assert variable in VARIABLES, f"nothing reads {variable}"
    for page in NAMED["page"].findall(text):
        assert (ROOT / page).is_file()
    for kind, name in NAMED["named"].findall(text):
        assert name in ("X", *registry.names(f"{kind}s"))  # type: ignore[arg-type]


# --- advice that is followed ---


@pytest.mark.parametrize("path", ["/a:b", "/a,b", "/a:b,c", "/a,b:c=d", "/it's:here", '/"a":b', "/[a:b"])
def test_a_path_with_separators_goes_in_quotes_or_by_set(path, tmp_path):
    quote = "'" if "'" not in path else '"'
    quoted = f"adapter:path={quote}{path}{quote}:scale=2"
    (name, options), (other, _) = map(parse_method, split(f"{quoted},none"))
    assert (name, options, other) == ("adapter", {"path": path, "scale": 2}, "none")
    setting = f"adapter.path={path}" if path[1] not in '["' else f"adapter.path='{path}'"
    (experiment,) = make_experiments(Request(["adapter"], "mini", settings=[setting], base=False))
    assert experiment.config.path == path


@pytest.mark.parametrize(
    ("text", "follow"),
    [("adapter:path=/a:b", "adapter:path='/a:b'"), ("adapter:path=/a,b", "adapter:path='/a,b'")],
)
def test_the_remedies_for_a_path_with_separators_are_named_and_help(text, follow):
    with pytest.raises(UsageError) as caught:
        make_experiments(Request(split(text), "mini"))
    assert follow.partition(":")[2] in (caught.value.mend or "")
    assert "--set adapter.path=VALUE" in (caught.value.mend or "")
    assert make_experiments(Request(split(follow), "mini"))


@pytest.mark.parametrize("text", ["5-2", "10-0"])
def test_a_turned_range_of_seeds_helps(text):
    with pytest.raises(UsageError) as caught:
        parse_seeds(text)
    assert parse_seeds(str(caught.value.mend).removeprefix("say "))


@pytest.mark.parametrize(
    ("request_", "follow"),
    [
        (Request(["contrastve"], "mini"), Request(["contrastive"], "mini")),
        (Request(["contrastive"], "mni"), Request(["contrastive"], "mini")),
        (Request(["contrastive"], "mini", settings=["tu=0.5"]), Request(["contrastive"], "mini", settings=["tau=0.5"])),
        (Request([], "mini"), Request(["none"], "mini")),
        (Request(["none", "none"], "mini"), Request(["none"], "mini")),
    ],
)
def test_the_suggested_name_helps(request_, follow):
    with pytest.raises(UsageError) as caught:
        make_experiments(request_)
    new = (set(follow.methods) | {follow.suite} | {one.partition("=")[0] for one in follow.settings}) - {"none"}
    old = set(request_.methods) | {request_.suite} | {one.partition("=")[0] for one in request_.settings}
    for name in new - old:
        assert name in str(caught.value.mend)
    assert make_experiments(follow)


def test_of_many_names_the_nearest_few_are_suggested():
    names = [f"task_{number}" for number in range(20_000)]
    said = did_you_mean("zzzzzzzz" * 10_000, names)
    assert said.startswith("the nearest of 20,000 are ")
    assert len(said) < 200
    assert did_you_mean("task_19_999", names) == "did you mean 'task_19999'?"
