"""How a run ends on Ctrl-C, SIGTERM or a terminal that closes: at once, with 128 and the signal's number.

No signal ever raises an exception here. One that does may come in the middle of any line, also of the line
that holds a lock: `encode` then waited for ever, and a second one while threads were ending tore the process
apart. Instead the system's handler writes a byte into a pipe, whatever the main thread is doing (a native
call of seconds included). A thread that does nothing but wait for that byte deletes what is unfinished and
leaves, without unwinding anything. Whoever makes a file that must not stay behind keeps it in `unfinished`:

    with interrupts.lock:                  # so that the file cannot exist without being known
        make(path)
        interrupts.unfinished.add(path)
    ...
    with interrupts.lock:
        os.replace(path, target)
        interrupts.unfinished.discard(path)

That thread needs the interpreter's lock: no native code may keep it for long, which ours and FFmpeg's do not.

Only the command installs this; a program that uses gscodec as a library keeps its own handlers.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from contextlib import suppress

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOCK_S = 0.5  # whoever holds the lock makes or renames one file; a dead disk must not keep us from leaving

lock = threading.Lock()
unfinished: set[str] = set()  # files and folders to delete
notes: dict[int, str] = {signal.SIGINT: "interrupted"}  # what is said of a signal; else "terminated"
_ours: list[int] = []


def install() -> None:
    """From here on, until `too_late`, the signals end the process. A second call does nothing.

    Signals that are ignored stay so: of those that nohup and a shell's `&` keep away nothing is known here.
    """
    if _ours or threading.current_thread() is not threading.main_thread():
        return
    _occupy_standard_streams()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # a full pipe has signals enough
    threading.Thread(target=_wait, args=(reader,), name="interrupts", daemon=True).start()
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in NUMBERS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _nothing)
            signal.siginterrupt(number, False)  # no system call fails because of it
            _ours.append(number)


def too_late() -> None:
    """What is to be done is done: the process ends by itself, with the code it has."""
    for number in _ours:
        signal.signal(number, signal.SIG_IGN)


def _nothing(_number: int, _frame: object) -> None:
    """Python's part of a handler; the byte in the pipe is the system's, and earlier."""


def _occupy_standard_streams() -> None:
    """Let no file get the number of a standard stream that was closed: what prints would write into it."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


def _wait(reader: int) -> None:
    while (number := os.read(reader, 1)[0]) not in _ours:
        pass
    _leave(number)


def _leave(number: int) -> None:
    """End the process; the lock is kept, so that nothing new is made meanwhile."""
    lock.acquire(timeout=LOCK_S)
    for path in list(unfinished):
        with suppress(OSError):
            if os.path.isdir(path):
                import shutil

                shutil.rmtree(path)
            else:
                os.unlink(path)
    with suppress(OSError, ValueError):  # the terminal may be gone
        _say(f"gscodec: error: {notes.get(number, 'terminated')}\n")
    os._exit(128 + number)


def _say(line: str) -> None:
    """Write a line on standard error unless that would wait for someone who does not read."""
    if sys.__stderr__ is None:
        return
    ready = select.poll()
    ready.register(2, select.POLLOUT)
    if any(events & select.POLLOUT for _, events in ready.poll(100)):
        wipe = (
            "\r" + " " * (min(os.get_terminal_size(2).columns or 80, 110) - 1) + "\r" if os.isatty(2) else ""
        )
        os.write(2, (wipe + line).encode(errors="backslashreplace"))
