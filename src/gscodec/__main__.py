"""`gscodec` and `python -m gscodec`."""

from __future__ import annotations

from typing import NoReturn

from gscodec import interrupts


def main() -> NoReturn:
    """Run the command; entry point of `gscodec`."""
    interrupts.install()  # before click is loaded, so that hardly a moment is without
    from gscodec.cli import main as run

    run()


if __name__ == "__main__":
    main()
