"""Which runs a report is made of."""

import pytest
from synthetic import write_run

from bench import api
from bench.cli.selection import chosen, of_methods, the_one
from bench.errors import UsageError
from bench.store.latest import remember


@pytest.fixture
def root(tmp_path):
    write_run(tmp_path, "none")
    write_run(tmp_path, "dpo", finished=False)
    write_run(tmp_path, "sft", suite__name="smoke", run_id="smoke-sft")
    return tmp_path


def ids(runs):
    return [run.id for run in runs]


def test_runs_are_named_or_of_a_suite_or_all(root):
    assert ids(chosen(root, ["mini-d", "smoke-sft"], None, every=False)) == ["mini-dpo-s0", "smoke-sft"]
    assert ids(chosen(root, None, "mini", every=False)) == ["mini-none-s0"]
    assert set(ids(chosen(root, None, None, every=True))) == {"mini-none-s0", "smoke-sft"}


@pytest.mark.parametrize(
    ("named", "suite", "every", "told"),
    [
        (None, None, False, "say which runs"),
        (["mini-none-s0"], None, True, "runs are chosen in one way, and here are names and --all; keep one of them"),
        (None, "minni", False, "no finished run of the suite 'minni' in .* - did you mean 'mini'|minni"),
    ],
)
def test_anything_else_is_refused(root, named, suite, every, told):
    with pytest.raises(UsageError, match=told):
        chosen(root, named, suite, every=every)


def asked_for(root, *names):
    remember(root, [root / name for name in names])


@pytest.mark.parametrize("last", [("mini-none-s0", "smoke-sft"), ("smoke-sft",)])
def test_the_last_requests_edited_run_is_the_one(root, last):
    asked_for(root, *last)
    assert the_one(root, "last").id == "smoke-sft"
    assert ids(of_methods(root, ["last"])) == ["smoke-sft"]
    assert set(ids(api.results("last", runs_dir=root).runs)) == set(last)


def test_the_base_is_the_one_where_nothing_was_edited(root):
    asked_for(root, "mini-none-s0")
    assert the_one(root, "last").id == the_one(root, "mini-n").id == "mini-none-s0"


def test_of_several_one_is_asked_for_by_name(root):
    asked_for(root, "mini-none-s0", "smoke-sft", "mini-dpo-s0")
    with pytest.raises(UsageError, match=r"2 runs of edited models, .* say which: smoke-sft, mini-dpo-s0"):
        the_one(root, "last")
    with pytest.raises(UsageError, match="no last request"):
        the_one(root / "elsewhere", "last")
    with pytest.raises(UsageError, match="no last request"):
        api.results("last", runs_dir=root / "elsewhere")


def test_nothing_to_choose_from(tmp_path):
    with pytest.raises(UsageError, match="no finished run in"):
        chosen(tmp_path, None, None, every=True)
