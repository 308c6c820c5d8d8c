"""Field tables: both functions at the ends of every range and one past, golden bytes, old and new readers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gscodec.container import headers, packet
from gscodec.container.headers import Field, checksum, checksum_bytes, pack, unpack
from gscodec.errors import ConfigError, CorruptError, TruncatedError

TABLES = {
    name: table
    for module in (headers, packet)
    for name, table in vars(module).items()
    if name.isupper() and isinstance(table, tuple) and table and isinstance(table[0], Field)
}
CAPACITY = {"u8": (0, 255), "u16": (0, 65535), "u32": (0, (1 << 32) - 1), "uvar": (0, (1 << 64) - 1)}
CAPACITY |= {"svar": (-(1 << 63), (1 << 63) - 1), "bytes": (0, (1 << 32) - 1)}
ALL_FIELDS = [(f"{name}.{field.name}", field) for name, table in TABLES.items() for field in table]
NUMBERS = [pair for pair in ALL_FIELDS if pair[1].kind != "bytes"]

SEQUENCE = {
    "width": 640,
    "height": 360,
    "sar_num": 1,
    "sar_den": 1,
    "frame_rate_num": 30000,
    "frame_rate_den": 1001,
    "matrix": 1,
    "primaries": 2,
    "transfer": 3,
    "full_range": 1,
    "background": 1,
    "background_r": 10,
    "background_g": 20,
    "background_b": 30,
    "profile": 0,
    "entropy": 2,
    "quality_q8": 384,
    "blend": 0,
    "flags": 4,
    "hold": 6,
}
GOLDEN = [
    ("VERSION", {"version_major": 1, "version_minor": 0}, "01 00"),
    ("HEADER_BYTES", {"header_bytes": 300}, "ac 02"),
    (
        "FILE_HEADER",
        {
            "required_features": 0,
            "optional_features": 128,
            "n_streams": 1,
            "stream_headers": b"ab",
            "metadata": b"",
        },
        "00 80 01 01 02 61 62 00",
    ),
    ("STREAM_ENTRY", {"header": b"xyz"}, "03 78 79 7a"),
    (
        "STREAM_HEADER",
        {
            "kind": 1,
            "time_base_num": 1,
            "time_base_den": 48000,
            "step": 1024,
            "codec": b"aac",
            "extradata": b"\x12\x10",
        },
        "01 01 80 f7 02 80 08 03 61 61 63 02 12 10",
    ),
    (
        "SEQUENCE_HEADER",
        SEQUENCE,
        "80 02 68 01 01 01 b0 ea 01 e9 07 01 02 03 01 01 0a 14 1e 00 02 80 01 00 04 06",
    ),
    ("INDEX_HEADER", {"n_frames": 60, "n_keyframes": 1}, "3c 01"),
    ("INDEX_ENTRY", {"offset_change": 56, "pts_change": -1, "n_frames": 60}, "38 01 3c"),
    ("FOOTER", {"index_bytes": 9}, "09 00 00 00"),
    ("PACKET_HEAD", {"head": 0x51, "n_bytes": 128}, "51 80 01"),
    (
        "PACKET_BODY",
        {"stream": 1, "pts_change": -64, "duration": 512, "dts_change": 64},
        "01 7f 80 04 80 01",
    ),
]


def values_of(table: tuple[Field, ...]) -> st.SearchStrategy[dict]:
    def strategy(field: Field) -> st.SearchStrategy:
        if field.kind == "bytes":
            return st.binary(min_size=field.low, max_size=min(field.high, 200))
        ends = st.sampled_from([field.low, field.high])
        return ends | st.integers(field.low, field.high)

    return st.fixed_dictionaries({field.name: strategy(field) for field in table})


@pytest.mark.parametrize("name", TABLES)
@settings(deadline=None)
@given(data=st.data())
def test_what_was_packed_is_unpacked_and_nothing_more(name: str, data: st.DataObject) -> None:
    values = data.draw(values_of(TABLES[name]))
    got, rest = unpack(TABLES[name], pack(TABLES[name], values) + b"sentinel")
    assert got == values
    assert bytes(rest) == b"sentinel"


@pytest.mark.parametrize("name", TABLES)
@settings(deadline=None)
@given(data=st.data())
def test_a_header_cut_anywhere_is_truncated(name: str, data: st.DataObject) -> None:
    table, values = TABLES[name], data.draw(values_of(TABLES[name]))
    needed = pack(tuple(field for field in table if field.default is None), values)  # the end may be missing
    with pytest.raises(TruncatedError):
        unpack(table, pack(table, values)[: data.draw(st.integers(0, len(needed) - 1))])


@pytest.mark.parametrize("name", TABLES)
@settings(deadline=None)
@given(garbage=st.binary(max_size=60))
def test_garbage_is_unpacked_into_what_packs_to_it_or_is_rejected(name: str, garbage: bytes) -> None:
    try:
        values, rest = unpack(TABLES[name], garbage)
    except (TruncatedError, CorruptError):
        return
    packed = pack(TABLES[name], values) + bytes(rest)
    assert packed[: len(garbage)] == garbage  # defaults follow where garbage ends before appended fields


@pytest.mark.parametrize(("_name", "field"), ALL_FIELDS, ids=[name for name, _ in ALL_FIELDS])
def test_ranges_fit_their_kind(_name: str, field: Field) -> None:
    low, high = CAPACITY[field.kind]
    assert low <= field.low <= field.high <= high


@pytest.mark.parametrize(("_name", "field"), NUMBERS, ids=[name for name, _ in NUMBERS])
def test_one_past_the_range_is_rejected_by_writer_and_reader(_name: str, field: Field) -> None:
    wide = (field._replace(low=CAPACITY[field.kind][0], high=CAPACITY[field.kind][1]),)
    for value in (field.low - 1, field.high + 1):
        with pytest.raises(
            ConfigError, match=f"{field.name} is {value}; permitted: {field.low} to {field.high}"
        ):
            pack((field,), {field.name: value})
        if wide[0].low <= value <= wide[0].high:
            with pytest.raises(CorruptError, match=f"{field.name} is {value}.*at byte 7"):
                unpack((field,), pack(wide, {field.name: value}), 7)


def test_lengths_of_bytes_are_checked_before_the_bytes() -> None:
    field = Field("codec", "bytes", 1, 3)
    for value in (b"", b"abcd"):
        with pytest.raises(ConfigError, match=f"length of codec is {len(value)}"):
            pack((field,), {"codec": value})
        with pytest.raises(CorruptError, match=f"length of codec is {len(value)}"):
            unpack((field,), bytes([len(value)]))  # the bytes themselves are not there


def test_a_missing_field_is_rejected() -> None:
    with pytest.raises(ConfigError, match="version_minor is missing"):
        pack(headers.VERSION, {"version_major": 1})


@pytest.mark.parametrize(("name", "values", "golden"), GOLDEN, ids=[name for name, _, _ in GOLDEN])
def test_golden_bytes(name: str, values: dict, golden: str) -> None:
    assert pack(TABLES[name], values).hex(" ") == golden
    assert unpack(TABLES[name], bytes.fromhex(golden))[0] == values


def test_every_container_header_has_golden_bytes() -> None:
    payload = {name for name in TABLES if name.endswith("FRAME_HEADER")}
    assert {name for name, _, _ in GOLDEN} == TABLES.keys() - payload


@pytest.mark.parametrize(
    ("raw", "error", "message"),
    [
        (b"\x80", TruncatedError, "does not end"),
        (b"\x80\x00", CorruptError, "needless"),
        (b"\xff\x80\x00", CorruptError, "needless"),
        (b"\x80" * 9 + b"\x00", CorruptError, "needless"),
        (b"\xff" * 10 + b"\x01", CorruptError, "more than 10 bytes"),
        (b"\xff" * 9 + b"\x01", CorruptError, "permitted"),
    ],
)
def test_varints_have_one_spelling_and_an_end(raw: bytes, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        unpack((Field("n", "uvar", 0, 1 << 40),), raw)


def test_offsets_in_errors_are_those_of_the_field() -> None:
    with pytest.raises(CorruptError) as caught:
        unpack(headers.INDEX_ENTRY, b"\x80\x01\x00\x00", 100)
    assert caught.value.offset == 103


def test_old_reader_skips_what_was_appended() -> None:
    newer = (*headers.SEQUENCE_HEADER, Field("added", "uvar", 0, 1000, 5))
    data = pack(headers.STREAM_ENTRY, {"header": pack(newer, SEQUENCE | {"added": 999})}) + b"sentinel"
    entry, rest = unpack(headers.STREAM_ENTRY, data)
    values, appended = unpack(headers.SEQUENCE_HEADER, entry["header"])
    assert values == SEQUENCE
    assert bytes(appended) == b"\xe7\x07"
    assert bytes(rest) == b"sentinel"


def test_new_reader_takes_defaults_for_what_is_not_there_yet() -> None:
    newer = (
        *headers.SEQUENCE_HEADER,
        Field("added", "u16", 0, 1000, 5),
        Field("name", "bytes", 0, 9, b"none"),
    )
    data = pack(headers.STREAM_ENTRY, {"header": pack(headers.SEQUENCE_HEADER, SEQUENCE)}) + b"sentinel"
    entry, rest = unpack(headers.STREAM_ENTRY, data)
    values, _ = unpack(newer, entry["header"])
    assert values == SEQUENCE | {"added": 5, "name": b"none"}
    assert bytes(rest) == b"sentinel"
    one_more, _ = unpack(newer, entry["header"] + b"\x07\x00")
    assert one_more == SEQUENCE | {"added": 7, "name": b"none"}
    with pytest.raises(TruncatedError):  # half a field is no old file
        unpack(newer, entry["header"] + b"\x07")


def test_fields_with_defaults_come_last_and_within_range() -> None:
    for table in TABLES.values():
        has_default = [field.default is not None for field in table]
        assert has_default == sorted(has_default)
        for field in table:
            if field.default is not None:
                pack((field,), {})


def test_checksum_matches_the_published_check_values() -> None:
    assert checksum(b"123456789").hex() == "b129"
    assert checksum(b"1234", b"", b"56789").hex() == "b129"
    long = b"123456789" * 200
    assert checksum(long).hex() == checksum(long[:7], memoryview(long)[7:]).hex()
    assert [checksum_bytes(n) for n in (0, 1023, 1024)] == [2, 2, 4]
    assert len(checksum(bytes(1023))) == 2
    assert len(checksum(bytes(1024))) == 4


@pytest.mark.parametrize("n_covered", [1, 60, 1023, 1024, 5000])
def test_checksum_sees_every_damage_of_one_byte(n_covered: int) -> None:
    data = bytearray(i * 37 & 255 for i in range(n_covered))
    whole = checksum(data)
    for position in {0, n_covered // 2, n_covered - 1}:
        for change in range(1, 256):
            data[position] ^= change
            assert checksum(data) != whole
            data[position] ^= change
