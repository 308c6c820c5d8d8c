"""Items made ahead: order, errors in their turn, and no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from gscodec.prefetch import HELD, in_order, prefetch


def test_items_come_in_order_even_if_they_are_none_or_errors() -> None:
    items = [1, None, ValueError("an item, not a failure"), (2,)]
    assert list(prefetch(iter(items))) == items


def test_an_error_comes_when_its_turn_comes() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    made = prefetch(items())
    assert [next(made), next(made)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(made)


def test_it_runs_ahead_but_not_away() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    with closing(prefetch(items())) as taken:
        assert next(taken) == 0
        until = time.monotonic() + 10
        while len(made) < HELD + 2 and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.02)
        assert len(made) == HELD + 2  # taken, waiting, and one in hand


def test_closing_early_ends_the_thread() -> None:
    before = threading.active_count()
    with closing(prefetch(iter(range(1000)))) as taken:
        next(taken)
    assert threading.active_count() == before


def test_results_keep_the_order_of_their_items() -> None:
    def slow_at_first(i: int) -> int:
        time.sleep(0.02 if i == 0 else 0)
        return 10 * i

    assert list(in_order(slow_at_first, range(9), 4)) == [10 * i for i in range(9)]
    assert list(in_order(slow_at_first, [], 4)) == []


def test_failures_of_items_and_of_the_function_come_in_their_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    made = in_order(lambda i: 1 // (2 - i), items(), 3)
    assert next(made) == 1
    with pytest.raises(ZeroDivisionError):
        next(made)
    made = in_order(str, items(), 3)
    assert [next(made), next(made)] == ["1", "2"]
    with pytest.raises(OSError, match="the disk is gone"):
        next(made)


def test_closing_ends_the_threads_that_make_results() -> None:
    before = threading.active_count()
    with closing(in_order(str, iter(range(1000)), 3)) as taken:
        next(taken)
    assert threading.active_count() == before
