"""Which code a figure, an artifact and contrastive sets rest on, for their keys."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.errors import MissingError
from bench.run.environment import Environment
from bench.store import keys
from bench.store.keys import NOT_BEHIND_FIGURES, code_hash, with_imports
from bench.suites import load_suite

SCRIPT = """
import json, sys
from bench.store.keys import code_hash, with_imports
found = {name: with_imports(name) for name in sys.argv[1:]}
hashes = [code_hash(names) for names in found.values()]
heavy = [name for name in ("torch", "transformers", "peft") if name in sys.modules]
print(json.dumps([found, heavy]))
"""


def test_the_code_is_a_methods_own_and_what_it_imports():
    found = with_imports("methods.contrastive")
    shared = {"adapter", "batches", "method", "options", "trainer"}
    assert {"methods.contrastive", *(f"methods.learning.{name}" for name in shared)} <= set(found)
    assert "methods.dpo" not in found
    assert not any("." in name.removeprefix("methods.learning.") for name in found if "learning." in name)


def test_finding_it_imports_nothing_heavy():
    """A repeat is answered from the records: that must not take the seconds that torch takes to load."""
    names = ["methods.contrastive", "methods.dexperts", "methods.preadd", "methods.adapter", "methods.none"]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *names], capture_output=True, text=True, check=True)
    found, heavy = json.loads(done.stdout)
    assert heavy == []
    assert {name: tuple(one) for name, one in found.items()} == {name: with_imports(name) for name in names}


# --- what is left out ---

Codes = Callable[..., dict[str, str]]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """What a test finds out about edited sources is forgotten."""
    yield
    _forget()


def _forget() -> None:
    for cached in (keys.code_hash, keys.with_imports, keys._folders, keys._file, keys._parse):
        cached.cache_clear()


@pytest.fixture
def codes(tmp_path, monkeypatch) -> Codes:
    """The code hashes in the keys of a suite for a method, as if a line were added to one module's source."""
    real = keys.source

    def hashes(edited: str = "", suite: str = "mini", method: str = "contrastive") -> dict[str, str]:
        env = Environment(load_suite(suite), AssetCatalogue(tmp_path, offline=True))
        _forget()
        path = keys._file(edited) if edited else None
        assert bool(path) == bool(edited)
        with monkeypatch.context() as patch:
            patch.setattr(keys, "source", lambda one: real(one) + ("\nEDITED = 1\n" if one == path else ""))
            return {
                "run": env.run_code(method),
                "method": env.method_code(method),
                "sets": env.sets_code,
            }

    return hashes


def test_what_is_left_out_is_this_and_no_more():
    assert NOT_BEHIND_FIGURES == (
        "bench",
        "bench.assets.base_results",
        "bench.assets.catalogue",
        "bench.assets.local",
        "bench.errors",
        "bench.progress",
        "bench.registry",
        "bench.store.aside",
        "bench.store.files",
        "bench.store.keys",
        "bench.store.lease",
        "bench.store.leftovers",
        "bench.store.legacy",
        "bench.store.lock",
        "bench.store.process",
        "bench.store.seal",
        "bench.store.temporary",
    )


def test_only_what_would_count_is_left_out(monkeypatch):
    """An entry that no figure could reach would say nothing."""
    roots = ("bench.run.measuring", "bench.tasks.rtp", "bench.tasks.outputs.paraphrase", "bench.scorers")
    monkeypatch.setattr(keys, "NOT_BEHIND_FIGURES", ())
    _forget()
    assert set(NOT_BEHIND_FIGURES) <= set(with_imports(*roots))


def test_an_edit_of_what_is_left_out_changes_no_key(codes):
    before = codes()
    assert {name: codes(name) for name in NOT_BEHIND_FIGURES} == dict.fromkeys(NOT_BEHIND_FIGURES, before)


@pytest.mark.parametrize(
    "module",
    [
        "bench.sets.written.stats",
        "bench.sets.written.runner",
        "bench.tasks.outputs.paraphrase",
        "bench.tasks.judge",
        "bench.scorers.detoxify",
        "bench.run.runner",
        "bench.run.environment",
        "bench.cli.run",
        "methods.dpo",
        "methods.steering",
    ],
)
def test_what_a_suite_does_not_use_makes_none_of_its_records_stale(codes, module):
    assert codes(module) == codes()


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("bench.tasks.rtp", {"run"}),
        ("bench.tasks.lm_eval.model", {"run"}),
        ("bench.stats.estimate", {"run"}),
        ("bench.stats.resampling", {"run"}),
        ("bench.run.measuring", {"run"}),
        ("bench.engine.sampling", {"run", "sets"}),
        ("bench.engine.likelihood", {"run", "method", "sets"}),  # `sets.negatives: above` asks for likelihoods
        ("bench.engine.model", {"run", "sets"}),
        ("bench.scorers.svm", {"run", "sets"}),
        ("bench.scorers.checked", {"run", "sets"}),
        ("bench.sets.own", {"sets"}),
        ("bench.run.making", {"sets"}),
        ("bench.run.tokenless", {"sets"}),
        ("bench.run.anchors", {"sets"}),
        ("bench.run.artifact", {"run", "method"}),
        ("bench.sets.format", {"run", "method", "sets"}),
        ("methods.contrastive", {"run", "method"}),
        ("methods.learning.trainer", {"run", "method"}),
    ],
)
def test_an_edit_of_what_computes_changes_the_keys_that_rest_on_it(codes, module, changed):
    before, after = codes(), codes(module)
    assert {name for name in before if before[name] != after[name]} == changed


@pytest.mark.parametrize(("suite", "changed"), [("mini-edit", set()), ("mini-edit-single", {"run", "method"})])
def test_what_divides_facts_into_groups_counts_where_they_are_edited_in_groups(codes, suite, changed):
    before, after = codes("", suite, "rome"), codes("bench.run.groups", suite, "rome")
    assert {name for name in before if before[name] != after[name]} == changed


# --- how imports are followed ---


@pytest.fixture
def package(tmp_path, monkeypatch) -> Callable[..., None]:
    """Write modules of packages of a test's own, by dotted name; a package is `NAME.__init__`."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules: str) -> None:
        for name, text in modules.items():
            path = Path(tmp_path, *name.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        _forget()

    return write


def test_imports_are_followed_in_functions_and_not_for_a_type_checker(package, monkeypatch):
    monkeypatch.setattr(keys, "OURS", ("ours", "also_ours"))
    package(
        **{
            "ours.__init__": "",
            "ours.first": (
                "import typing\nfrom typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from ours import hints\nelse:\n    import ours.otherwise\n"
                "if typing.TYPE_CHECKING:\n    import ours.hints\n"
                "def f():\n    from also_ours import inner\n"
            ),
            "ours.hints": "",
            "ours.otherwise": "",
            "ours.apart": "",
            "also_ours.__init__": "from .beside import thing",
            "also_ours.inner": "from ours.first import f\nimport json",
            "also_ours.beside": "thing = 1",
            "also_ours.apart": "",
        }
    )
    expected = ("also_ours", "also_ours.beside", "also_ours.inner", "ours", "ours.first", "ours.otherwise")
    assert with_imports("ours.first") == expected


def test_a_third_partys_code_is_its_whole_package_and_what_that_imports_from_ours(package):
    package(
        **{
            "their_package.__init__": "",
            "their_package.method": "class Method: ...",
            "their_package.deep.inner": "def f():\n    from bench.stats.spread import spread\n",
        }
    )
    found = with_imports("their_package.method")
    assert {"their_package", "their_package.method", "their_package.deep.inner", "bench.stats.spread"} <= set(found)
    assert "bench.engine.sampling" not in found
    before = code_hash(found)
    package(**{"their_package.deep.inner": "def f():\n    from bench.stats.spread import spread as s\n"})
    assert code_hash(found) != before


def test_a_single_module_is_a_third_party_too(package):
    package(their_module="from bench.stats import resampling")
    assert {"their_module", "bench.stats.resampling"} <= set(with_imports("their_module"))


def test_code_that_cannot_be_read_is_refused(package):
    with pytest.raises(MissingError, match="the source of module 'no_such_package' is not at hand"):
        with_imports("no_such_package.method")
    with pytest.raises(MissingError, match=r"the source of module 'bench\.nothing' is not at hand"):
        code_hash(("bench.nothing",))
    with pytest.raises(MissingError, match=r"the source of module 'bench\.nothing' is not at hand"):
        with_imports("bench.nothing")
