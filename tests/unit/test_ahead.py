"""Work in a thread beside the model's: in order, one item at a time, and nothing is lost when it fails."""

import threading

import pytest

from bench.engine.ahead import one_ahead


def test_an_item_is_worked_on_while_the_next_is_made():
    begun = [threading.Event() for _ in range(3)]

    def items():
        for number in range(3):
            if number:
                assert begun[number - 1].wait(30)  # in one thread, this would never come
            yield number

    def work(number):
        begun[number].set()
        return number * 10

    assert list(one_ahead(items(), work)) == [(0, 0), (1, 10), (2, 20)]


def test_nothing_is_made_of_nothing():
    assert list(one_ahead([], str)) == []


def test_what_the_work_raises_is_raised_after_what_came_before_it():
    pairs = one_ahead([2, 1, 0, 5], lambda number: 10 // number)
    assert [next(pairs), next(pairs)] == [(2, 5), (1, 10)]
    with pytest.raises(ZeroDivisionError):
        next(pairs)


def test_what_making_an_item_raises_comes_through():
    def items():
        yield 1
        raise KeyboardInterrupt

    pairs = one_ahead(items(), str)
    assert next(pairs) == (1, "1"), "what was done is not lost"
    with pytest.raises(KeyboardInterrupt):
        next(pairs)
