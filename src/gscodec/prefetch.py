"""An iterable's items, made on threads of their own while the last ones are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")
HELD = 2  # items that are ready and not yet taken


def prefetch(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items in the same order; close it, or use it up, to end the thread.

    Raises:
        whatever `items` raises, when its turn comes.
    """
    ready: Queue[tuple[T] | BaseException | None] = Queue(maxsize=HELD)
    stop = Event()

    def prepare() -> None:
        try:
            for item in items:
                ready.put((item,))
                if stop.is_set():
                    return
            ready.put(None)
        except BaseException as error:  # handed over to whoever waits
            ready.put(error)

    worker = Thread(target=prepare, daemon=True)
    worker.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stop.set()
        while worker.is_alive():  # it may wait to put one more
            with suppress(Empty):
                ready.get(timeout=0.01)
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
