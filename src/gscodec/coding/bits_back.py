"""Bits-back: a set without its order, through an ANS state that gives bits back (paper §3.3 B).

Which element comes next is *popped* from the state, as a rank among those that are left: sampling without
replacement. Then the element itself is pushed. A decoder pops the element and pushes the rank, and so holds
again the state from before: the log2 n! bits of the order were never spent. They can only be given back
where the state holds bits already, so a frame pushes the rest of its payload first and its set last; from an
empty state every pop is rank 0 and gives nothing. Specified in docs/bitstream.md, "Bits-back"; what it saves
in docs/bits.md. Source: Severo et al., "Compressing multisets with large alphabets" (2021).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from typing import Any

import numpy as np

from gscodec.errors import CorruptError

TOTAL_LOG2 = 24
_TOTAL = 1 << TOTAL_LOG2
_WORD = 32


class Ans:
    """A stack of symbols in one number: the coder of docs/bitstream.md, one symbol at a time.

    `entropy` uses constriction's, which is the same coder and faster on whole arrays; words go between them.
    """

    def __init__(self, words: list[int]) -> None:
        """Take over words as they stand in a payload, the top of the stack last."""
        self._stack = list(words)
        self._x = 0
        if self._stack and self._stack[-1] == 0:
            raise CorruptError("the coded symbols do not start an ANS stream: the last word is 0")
        for _ in range(2):
            self._refill()

    def _refill(self) -> None:
        if self._x < 1 << _WORD and self._stack:
            self._x = self._x << _WORD | self._stack.pop()

    def push(self, low: int, high: int) -> None:
        """Append the symbol that has the interval [low, high) of 2^24."""
        frequency = high - low
        if self._x >> 64 - TOTAL_LOG2 >= frequency:
            self._stack.append(self._x & (1 << _WORD) - 1)
            self._x >>= _WORD
        quotient, rest = divmod(self._x, frequency)
        self._x = quotient << TOTAL_LOG2 | low + rest

    def peek(self) -> int:
        """Where in [0, 2^24) the symbol on top lies."""
        return self._x & _TOTAL - 1

    def pop(self, low: int, high: int) -> None:
        """Take off the symbol on top, whose interval holds `peek()`."""
        self._x = (self._x >> TOTAL_LOG2) * (high - low) + self.peek() - low
        self._refill()

    def words(self) -> list[int]:
        """The whole state as words, to be taken over again."""
        low, high = self._x & (1 << _WORD) - 1, self._x >> _WORD
        return self._stack + ([low, high] if high else [low] if low else [])


def push_uniform(coder: Ans, value: int, n: int) -> None:
    """Append a number below n ≤ 2^24, all of which are equally likely."""
    coder.push((value << TOTAL_LOG2) // n, (value + 1 << TOTAL_LOG2) // n)


def pop_uniform(coder: Ans, n: int) -> int:
    """Take off what `push_uniform` appended."""
    value = ((coder.peek() + 1) * n - 1) >> TOTAL_LOG2
    coder.pop((value << TOTAL_LOG2) // n, (value + 1 << TOTAL_LOG2) // n)
    return value


def push_multiset(coder: Ans, elements: list[Any], push: Callable[[Ans, Any], None]) -> None:
    """Append elements, equal ones permitted, as a multiset: their order is not kept.

    Args:
        elements: of one kind that can be sorted. push: appends one of them.
    """
    left = sorted(elements)
    while left:
        n = len(left)
        rank = ((coder.peek() + 1) * n - 1) >> TOTAL_LOG2
        first, end = bisect_left(left, left[rank]), bisect_right(left, left[rank])
        coder.pop((first << TOTAL_LOG2) // n, (end << TOTAL_LOG2) // n)
        push(coder, left.pop(first))


def pop_multiset(coder: Ans, n: int, pop: Callable[[Ans], Any]) -> list[Any]:
    """Take off what `push_multiset` appended, sorted.

    Args:
        pop: takes off one element.
    """
    found: list[Any] = []
    for size in range(1, n + 1):
        element = pop(coder)
        first, end = bisect_left(found, element), bisect_right(found, element) + 1
        insort(found, element)
        coder.push((first << TOTAL_LOG2) // size, (end << TOTAL_LOG2) // size)
    return found


def push_set(words: np.ndarray, members: np.ndarray, n: int) -> np.ndarray:
    """Words of an ANS stream, uint32, after different numbers below n were pushed as a set.

    A member is named by its place among the numbers that no later one takes, so the whole costs
    log2 C(n, members) bits, less what an empty state could not give back.
    """
    coder, left = Ans(words.tolist()), members.tolist()
    while left:
        rank = pop_uniform(coder, len(left))
        member = left.pop(rank)
        push_uniform(coder, member - rank, n - len(left))
    return np.array(coder.words(), np.uint32)


def pop_set(words: np.ndarray, count: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """What `push_set` did, undone: the numbers ascending, int64, and the words from before.

    Raises:
        CorruptError: the words start no stream.
    """
    coder = Ans(words.tolist())
    found: list[int] = []
    for size in range(count):
        place = pop_uniform(coder, n - size)
        rank = bisect_right(range(size), place, key=lambda i: found[i] - i)
        found.insert(rank, place + rank)
        push_uniform(coder, rank, size + 1)
    return np.array(found, np.int64), np.array(coder.words(), np.uint32)
