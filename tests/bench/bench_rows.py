"""Rows and options for the tests of gscodec.bench."""

from __future__ import annotations

from gscodec.bench.cache import Row

ENVIRONMENT = {"cpu": "a processor", "gscodec": "0"}


MATTE = "the package's network, on the original"


def row(
    codec="gscodec",
    clip="talk",
    suite="quick",
    protocol="masked",
    point="",
    status="ok",
    note="",
    matte=MATTE,
    **figures,
):
    """A Row; figures that tables need are filled in."""
    some = {"roi_psnr_db": 30.0, "psnr_db": 28.0, "n_bytes": 1000, "kbit_per_s": 20.0, "bpp": 0.01}
    some |= {"encode_fps": 10.0, "decode_fps": 200.0}
    return Row(
        suite,
        clip,
        codec,
        point,
        protocol,
        status,
        note,
        figures={**some, **figures} if status == "ok" else {},
        environment=ENVIRONMENT,
        matte=matte,
    )
