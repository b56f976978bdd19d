"""Which runs a report is made of."""

import pytest
from synthetic import write_run

from bench.cli.selection import chosen
from bench.errors import UsageError


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
        (["mini-none-s0"], None, True, "say which runs"),
        (None, "minni", False, "no finished run of the suite 'minni' in .* - did you mean 'mini'|minni"),
    ],
)
def test_anything_else_is_refused(root, named, suite, every, told):
    with pytest.raises(UsageError, match=told):
        chosen(root, named, suite, every=every)


def test_nothing_to_choose_from(tmp_path):
    with pytest.raises(UsageError, match="no finished run in"):
        chosen(tmp_path, None, None, every=True)
