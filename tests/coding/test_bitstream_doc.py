"""docs/bitstream.md prints the field tables of the code and an example file: here they are compared."""

from __future__ import annotations

import io
import re
from fractions import Fraction
from pathlib import Path

import pytest

from gscodec.container import headers, packet
from gscodec.container.container import GsvWriter, Packet, Stream
from gscodec.container.headers import Field, pack

DOC = (Path(__file__).parents[2] / "docs" / "bitstream.md").read_text(encoding="utf-8")
TABLES = {
    name: table
    for module in (headers, packet)
    for name, table in vars(module).items()
    if name.isupper() and isinstance(table, tuple) and table and isinstance(table[0], Field)
}
EXAMPLE = {field.name: field.low for field in headers.SEQUENCE_HEADER}
EXAMPLE |= {"width": 640, "height": 360, "frame_rate_num": 30, "matrix": 1, "primaries": 1, "transfer": 1}
EXAMPLE |= {"entropy": headers.ENTROPY_CODES.index("ans"), "quality_q8": 256}


def spell(value: int) -> str:
    """A bound as the document prints it: 2^20, 2^32-1, -2^62, or plain below 2^17."""
    for number, suffix in ((abs(value), ""), (value + 1, "-1")):
        if abs(value) > 1 << 16 and number & (number - 1) == 0:
            return f"{'-' if value < 0 else ''}2^{number.bit_length() - 1}{suffix}"
    return str(value)


def row(field: Field) -> str:
    default = "—" if field.default is None else str(field.default)
    cells = f"`{field.name}`", f"`{field.kind}`", spell(field.low), spell(field.high), default
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("name", TABLES)
def test_the_document_prints_the_table_of_the_code(name: str) -> None:
    match = re.search(rf"<!-- table: {name} -->\n\|.*\n\|.*\n((?:\|.*\n)+)", DOC)
    assert match, f"docs/bitstream.md has no table {name}"
    printed = [line for line in match[1].splitlines() if line]
    expected = [row(field) for field in TABLES[name]]
    starts = ["|".join(line.split("|")[:6]) + "|" for line in printed]
    assert starts == expected, "docs/bitstream.md should have these rows:\n" + "\n".join(expected)


def test_the_document_prints_no_other_table() -> None:
    assert set(re.findall(r"<!-- table: (\w+) -->", DOC)) == TABLES.keys()


def test_the_document_gives_the_constants() -> None:
    assert headers.SIGNATURE.hex(" ").upper() in DOC
    assert headers.FOOTER_MAGIC.hex(" ").upper() in DOC
    assert f"fewer\nthan {headers.CRC16_BELOW} covered bytes" in DOC
    assert f"version {headers.VERSION_MAJOR}.{headers.VERSION_MINOR}\n" in DOC
    for names in (headers.STREAM_KINDS, headers.BACKGROUND_CODES, headers.ENTROPY_CODES):
        assert all(f"{number} {name}" in DOC for number, name in enumerate(names))


def test_the_example_file_is_what_the_writer_makes() -> None:
    streams = [Stream("video", "gscodec", Fraction(1, 15360), pack(headers.SEQUENCE_HEADER, EXAMPLE), 512)]
    file = io.BytesIO()
    with GsvWriter(file, streams) as writer:
        n_header_bytes = writer.n_bytes
        for i in range(60):
            writer.write(Packet(0, 512 * i, i == 0, bytes(50 if i else 2000), 512))
    data = file.getvalue()
    section = DOC[DOC.index("## What the container costs") :].split("\n## ")[0]
    lines = re.findall(r"^    ((?:[0-9A-F]{2} )+) ", section, re.MULTILINE)
    assert bytes.fromhex("".join(lines)) == data[:n_header_bytes] + data[-19:]
    assert f"file header | {n_header_bytes}:" in section
    assert f"The file has {len(data)} bytes: {(len(data) - 4950) / 49.5:.1f} % is container" in section
