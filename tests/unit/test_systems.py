"""Which runs are of one system, and which of several of one seed counts."""

import pytest
from synthetic import write_run

from bench.store.runs import Run, load_run
from bench.store.systems import by_age, grouped, latest, system_of


@pytest.fixture
def run(tmp_path):
    """Write a run of a method and load it; `created` is its second."""

    def make(name: str, created: int, method: str = "contrastive", seed: int = 0, **more: object) -> Run:
        path = write_run(
            tmp_path / "runs", method, seed, run_id=name, created=f"2030-01-01T00:00:{created:02}+00:00", **more
        )
        return load_run(path)

    return make


def names(runs) -> list[str]:
    return [run.id for run in runs]


def test_the_latest_of_each_seed_counts_and_says_whom_it_replaced(run):
    first, second, third, other = run("a", 1), run("b", 2), run("c", 3), run("d", 0, seed=1)
    found = latest([third, first, other, second])
    assert names(found.runs) == ["d", "c"]
    assert [(one.older.id, one.later.id) for one in found.replaced] == [("a", "b"), ("b", "c")]


def test_a_run_that_is_given_twice_replaces_nothing(run, tmp_path):
    first = run("a", 1)
    (tmp_path / "link").symlink_to(first.path)
    found = latest([first, first, load_run(tmp_path / "link")])
    assert (len(found.runs), found.replaced) == (1, ())


def test_of_two_runs_of_the_same_second_the_last_one_given_counts(run):
    first, second = run("a", 1), run("b", 1)
    assert names(latest([first, second]).runs) == ["b"]
    assert names(latest([second, first]).runs) == ["a"]


def test_another_method_option_or_sets_is_another_system(run):
    runs = [
        run("a", 1),
        run("b", 2, method="dpo"),
        run("c", 3, config={"steps": 9}),
        run("d", 4, method__sets_key="e" * 64),
        run("e", 5, method__sets_key="f" * 64),
    ]
    assert len({system_of(one) for one in runs}) == 5
    assert names(latest(runs).runs) == ["a", "b", "c", "d", "e"]


def test_a_reader_may_say_otherwise_what_a_system_is(run):
    runs = [run("a", 1), run("b", 2, config={"steps": 9}), run("c", 3, method="dpo")]
    found = latest(runs, lambda one: one.method)
    assert names(found.runs) == ["b", "c"]
    assert [names(group) for group in grouped(runs, lambda one: one.method)] == [["a", "b"], ["c"]]


def test_systems_are_in_order_of_first_appearance_with_their_runs_as_given(run):
    runs = [run("a", 3, seed=1), run("b", 1, method="dpo"), run("c", 2, seed=0)]
    assert [names(group) for group in grouped(runs)] == [["a", "c"], ["b"]]
    assert names(by_age(runs)) == ["b", "c", "a"]
    assert grouped([]) == []
    assert latest([]).runs == ()
