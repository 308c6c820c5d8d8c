"""`python -m gscodec`."""

from gscodec.cli import main

if __name__ == "__main__":
    main()
