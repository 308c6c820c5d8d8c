"""Seeded fuzzing of the container reader: whatever the bytes, only BitstreamError, and little memory."""

from __future__ import annotations

import io
import random
import tracemalloc
from fractions import Fraction

import pytest

from gscodec.container import headers
from gscodec.container.container import GsvReader, GsvWriter, Packet, Stream
from gscodec.container.headers import SIGNATURE, checksum, pack
from gscodec.container.packet import pack_unit
from gscodec.errors import BitstreamError

N_CASES = 1500
MAX_PEAK_BYTES = 4 << 20
SEQUENCE = {field.name: field.low for field in headers.SEQUENCE_HEADER}


def make_file(rng: random.Random) -> bytes:
    """A small valid file."""
    video = Stream("video", "gscodec", Fraction(1, 15360), pack(headers.SEQUENCE_HEADER, SEQUENCE), 512)
    file = io.BytesIO()
    with GsvWriter(file, [video, Stream("audio", "aac", Fraction(1, 48000))], {"title": "x"}) as writer:
        for i in range(rng.randrange(1, 8)):
            payload = rng.randbytes(rng.choice((0, 5, 60, 1500)))
            writer.write(Packet(0, 512 * i, i % 3 == 0, payload, 512))
            writer.write(Packet(1, rng.randrange(-99, 99999), True, b"sound", 0, rng.randrange(-99, 99999)))
    return file.getvalue()


def mutated(rng: random.Random) -> bytes:
    """A valid file with bytes changed, removed, inserted, repeated, or cut."""
    data = bytearray(make_file(rng))
    for _ in range(rng.randrange(1, 6)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 1, 2, 20, 500)))
        replacement = rng.choice((b"", rng.randbytes(end - start), rng.randbytes(3), data[start:end] * 2))
        data[start:end] = replacement
    return bytes(data)


def garbage_header(rng: random.Random) -> bytes:
    """Random bytes where the header should be, with a right check sum."""
    body = rng.randbytes(rng.randrange(1, 40))
    if rng.random() < 0.7:  # past the first fields, into streams and metadata
        values = {"required_features": 0, "optional_features": 0, "n_streams": rng.randrange(1, 4)}
        body = pack(headers.FILE_HEADER, values | {"stream_headers": body, "metadata": rng.randbytes(9)})
    start = SIGNATURE + b"\x01\x00" + pack(headers.HEADER_BYTES, {"header_bytes": len(body)})
    return start + body + checksum(start, body)


def garbage_units(rng: random.Random) -> bytes:
    """A valid header, then units with right check sums around random heads and bodies."""
    data = make_file(rng)
    start = data[: GsvReader(io.BytesIO(data)).offset]
    units = [
        pack_unit(rng.choice((rng.randrange(256), rng.randrange(4), 0x12)), rng.randbytes(rng.randrange(12)))
        for _ in range(rng.randrange(1, 20))
    ]
    return start + b"".join(units) + data[-10:]


def garbage(rng: random.Random) -> bytes:
    """Random bytes, most of them behind the signature and version."""
    return rng.choice((b"", SIGNATURE, SIGNATURE + b"\x01\x00")) + rng.randbytes(rng.randrange(200))


@pytest.mark.parametrize("make", [mutated, garbage_header, garbage_units, garbage])
def test_only_bitstream_errors_and_little_memory(make) -> None:
    rng = random.Random(make.__name__)
    tracemalloc.start()
    for case in range(N_CASES):
        data = make(rng)
        try:
            reader = GsvReader(io.BytesIO(data))
            index = reader.index()
            if index is not None and index.keyframes and case % 2:
                reader.seek(rng.randrange(len(index.keyframes)))
            for _ in reader:
                pass
        except BitstreamError as error:
            str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MAX_PEAK_BYTES
