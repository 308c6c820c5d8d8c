"""How commands end: every error is one line on stderr and the exit code that its class names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from gscodec.errors import describe, printable


class Failure(click.ClickException):
    """An error of gscodec or of the system, as click's."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


@contextmanager
def translated(source: str, target: str, verbose: int) -> Iterator[None]:
    """Turn errors into click's, which `cli` prints, with the name of the file they are about."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
        raise
    except Exception as error:
        if verbose > 1:
            import traceback

            say(traceback.format_exc().rstrip())
        raise Failure(describe(error, source, target), getattr(error, "exit_code", 1)) from error


def hint(error: click.ClickException) -> str:
    """Where to read on, for an error of usage; else nothing."""
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return ""
    return f" (see {error.ctx.command_path} --help)"


def fail(message: str, code: int) -> int:
    """Print an error as one line on stderr; return the exit code."""
    say(f"gscodec: error: {' '.join(message.split())}")
    return code


def say(line: str) -> None:
    """Print a line on stderr, with nothing in it that moves a terminal's cursor."""
    click.echo(printable(line), err=True)
