"""Work in parts: who takes which, and what becomes of parts whose holder dies or is too late."""

import json

import pytest

from bench.store import lease
from bench.store.files import write_text
from bench.store.lease import Lease, LostError
from bench.store.parts import Parts, in_order
from bench.store.process import machine


@pytest.fixture
def parts(tmp_path) -> Parts:
    return Parts.publish(tmp_path / "samples" / "rtp.parts", {"seed": 0}, ["a", "b", "c", "d"])


def finish(parts: Parts, taken: tuple[int, Lease] | None) -> int:
    assert taken
    number, held = taken
    write_text(parts.path(number), "done\n")
    held.release()
    return number


def test_the_owner_takes_the_first_and_each_part_is_had_once(parts):
    assert finish(parts, parts.take(first=True)) == 0
    held = [parts.take(first=True) for _ in range(3)]
    assert [one and one[0] for one in held] == [1, 2, 3]
    assert parts.take(first=True) is None, "all are held"
    assert Parts.all_in(parts.folder.parent) == []
    for one in held:
        finish(parts, one)
    assert parts.take(first=False) is None, "all are done"


def test_helpers_take_any_of_the_first(parts):
    taken = {finish(parts, parts.take(first=False)) for _ in range(4)}
    assert taken == {0, 1, 2, 3}
    orders = [list(in_order(9, {0}, {1}, first=False)) for _ in range(200)]
    assert {order[0] for order in orders} == {2}
    assert {order[1] for order in orders} == {3, 4}, "another was faster: any of two"
    assert {order[2] for order in orders} == {3, 4, 5, 6, 7}, "any of four"
    assert all(sorted(order) == [2, 3, 4, 5, 6, 7, 8] for order in orders)
    assert list(in_order(6, {0}, {1, 3}, first=True)) == [2, 4, 5, 1, 3], "holders may be dead: theirs come last"
    assert list(in_order(6, {0}, {2, 3, 4, 5}, first=True)) == [2, 3, 4, 5], "four helpers do the last one"
    assert next(in_order(6, {0}, {2, 3, 4, 5}, first=False)) == 1


def test_a_part_of_a_dead_process_is_taken_last(parts):
    dead = parts.path(0).with_name(f".{parts.path(0).name}{lease.SUFFIX}")
    dead.parent.mkdir()
    dead.write_text(f"{machine()}-{2**22 + 1}-1 {'0' * 32}\n")
    assert [finish(parts, parts.take(first=True)) for _ in range(4)] == [1, 2, 3, 0]


def test_what_is_put_together_already_is_not_written(parts):
    taken = parts.take(first=False)
    assert taken
    parts.drop()
    assert parts.take(first=False) is None
    assert not parts.folder.exists()
    with pytest.raises(LostError):
        finish(parts, taken)


def test_a_plan_is_found_again_and_another_one_replaces_it(parts):
    finish(parts, parts.take(first=True))
    (found,) = Parts.all_in(parts.folder.parent)
    assert found == parts
    assert finish(found, found.take(first=True)) == 1
    other = Parts.publish(parts.folder, {"seed": 1}, ["a"])
    assert Parts.found(parts.folder) == other
    assert finish(other, other.take(first=True)) == 0, "nothing of the first plan is left"


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"facts": 1, "plan": []}), json.dumps({"facts": {}})])
def test_a_damaged_plan_is_none(parts, text):
    (parts.folder / "plan.json").write_text(text)
    assert Parts.found(parts.folder) is None
    assert Parts.all_in(parts.folder.parent) == []


def test_there_may_be_many(tmp_path):
    parts = Parts.publish(tmp_path / "rtp.parts", {}, list(range(205)))
    assert {finish(parts, parts.take(first=True)) for _ in range(203)} == set(range(203))
    held = parts.take(first=False)
    assert parts.seen() == (set(range(203)), {held[0] if held else None})
    other = Parts.found(parts.folder)
    assert other
    assert finish(other, other.take(first=True)) in {203, 204}
    assert finish(parts, held) in {203, 204}
    assert parts.take(first=True) is None
