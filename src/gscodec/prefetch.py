"""An iterable's items, made on threads of their own while the last ones are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")
HELD = 2  # items that are ready and not yet taken


def prefetch(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items in the same order; close it, or use it up, to end the thread.

    Raises:
        whatever `items` raises, when its turn comes.
    """
    # SimpleQueue, whose calls cannot be torn: a handler that raises inside Queue.get leaves its mutex locked,
    # and the worker then waits for it for ever.
    ready: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()
    room: SimpleQueue[None] = SimpleQueue()  # a place for one more item each
    stopped: list[bool] = []
    for _ in range(HELD):
        room.put(None)

    def prepare() -> None:
        try:
            for item in items:
                room.get()
                if stopped:
                    return
                ready.put((item,))
            ready.put(None)
        except BaseException as error:  # handed over to whoever waits
            ready.put(error)

    worker = Thread(target=prepare, daemon=True)
    try:
        worker.start()
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            room.put(None)
            yield item[0]
    finally:
        stopped.append(True)
        room.put(None)  # it may wait for that
        if worker.is_alive():
            worker.join()


def in_order(function: Callable[[T], U], items: Iterable[T], threads: int) -> Generator[U, None, None]:
    """What a function makes of items, in their order, by several threads; close it, or use it up.

    Raises:
        whatever `items` or `function` raises, when its turn comes.
    """
    pending: deque[Future[U]] = deque()
    source = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        error: BaseException | None = None
        while error is None:
            try:
                pending.append(pool.submit(function, next(source)))
            except BaseException as raised:  # StopIteration too
                error = raised
            while pending and (error is not None or len(pending) > threads):
                yield pending.popleft().result()
    if not isinstance(error, StopIteration):
        raise error
