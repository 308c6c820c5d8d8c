"""The adaptive coder's tables: what its counters and weights are when a GOP begins, one file per blend.

They are part of the format (docs/bitstream.md, "Prior"), so a damaged one must never be used: their SHA-256
stands here. tools/train_prior.py makes them. A file is

    "GSVP"; streams u16, nodes u16, rows u32                             little-endian
    each row: stream u8, input u8, context u8, a counter u16 per node    256 times p in 1/256, plus bits seen
    a weight u8 for each stream, node and input                          in 1/64
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from gscodec.errors import GscodecError

SHA256 = {
    "normalised": "8d68ec83fadc842c472862b32ac3293002194497391f37922a4f823fa6ef2662",
    "sum": "2b1a043c735da6efea2227574dbafbfb5152f99c68b48a37319058b8884c00b7",
}


@cache
def prior(blend: str) -> bytes:
    """The table of a blend.

    Raises:
        GscodecError: it is missing or damaged.
    """
    file = resources.files("gscodec.coding") / "priors" / f"{blend}.bin"
    try:
        found = file.read_bytes()
    except OSError as error:
        raise GscodecError(f"{file} cannot be read ({error}); reinstall gscodec") from error
    if hashlib.sha256(found).hexdigest() != SHA256[blend]:
        raise GscodecError(f"{file} is damaged: its SHA-256 is another; reinstall gscodec")
    return found
