"""Packets and their framing: round trip, prediction of times, golden bytes, overhead, rejected bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gscodec.container.headers import MAX_TICKS, FrameType, checksum_bytes, pack
from gscodec.container.packet import (
    FLAG_DTS,
    FLAG_KEYFRAME,
    FLAG_PTS,
    PACKET_BODY,
    RESERVED,
    Clock,
    Packet,
    PacketKind,
    pack_packet,
    unpack_packet,
)
from gscodec.errors import ConfigError, CorruptError, TruncatedError, UnsupportedError

STEPS = (512, 1024, 0)


def split(unit: bytes) -> tuple[int, memoryview]:
    """Head and body of a unit, by the shortest code that can do it."""
    n_length = next(i for i, byte in enumerate(unit[1:], 1) if byte < 0x80)
    n_bytes = sum((byte & 0x7F) << 7 * i for i, byte in enumerate(unit[1 : n_length + 1]))
    assert len(unit) == 1 + n_length + n_bytes + checksum_bytes(1 + n_length + n_bytes)
    return unit[0], memoryview(unit)[1 + n_length : 1 + n_length + n_bytes]


ticks = st.sampled_from([-MAX_TICKS, MAX_TICKS, 0]) | st.integers(-MAX_TICKS, MAX_TICKS) | st.integers(-9, 9)
durations = st.sampled_from([0, 512, MAX_TICKS]) | st.integers(0, MAX_TICKS)
payloads = st.binary(max_size=300) | st.sampled_from([bytes(1000), bytes(1024), bytes(20_000)])
videos = st.builds(Packet, st.just(0), ticks, st.booleans(), payloads, durations)
sides = st.builds(Packet, st.integers(1, 2), ticks, st.booleans(), payloads, durations, ticks)


@settings(deadline=None)
@given(packets=st.lists(videos | sides, max_size=12))
def test_any_sequence_of_packets_comes_back(packets: list[Packet]) -> None:
    writer, reader = Clock(STEPS), Clock(STEPS)
    for packet in packets:
        assert unpack_packet(*split(pack_packet(packet, writer)), reader) == packet


@settings(deadline=None)
@given(packets=st.lists(videos | sides, min_size=1, max_size=12), data=st.data())
def test_reading_may_start_at_any_i_frame(packets: list[Packet], data: st.DataObject) -> None:
    writer = Clock(STEPS)
    units = [pack_packet(packet, writer) for packet in packets]
    starts = [i for i, packet in enumerate(packets) if packet.frame_type is FrameType.I] or [0]
    start = data.draw(st.sampled_from(starts))
    reader = Clock(STEPS)
    assert [unpack_packet(*split(unit), reader) for unit in units[start:]] == packets[start:]


def test_golden_bytes() -> None:
    clock = Clock(STEPS)
    units = [
        pack_packet(Packet(0, 512, True, b"I", 512), clock),
        pack_packet(Packet(1, 2048, True, b"sound", 1024, dts=1024), clock),
        pack_packet(Packet(0, 1024, False, b"P", 512), clock),
        pack_packet(Packet(1, 3072, True, b"sound", 1000, dts=3072), clock),
        pack_packet(Packet(2, -1, False, b"", 0, dts=-1), clock),
    ]
    assert [unit[:-2].hex(" ") for unit in units] == [
        "10 03 80 08 49",
        "5a 0a 01 80 20 ff 0f 73 6f 75 6e 64",
        "01 01 50",
        "2a 08 01 e8 07 73 6f 75 6e 64",
        "12 02 02 01",
    ]
    assert units[2][-2:].hex(" ") == "68 92"


def test_a_calm_p_frame_costs_four_bytes() -> None:
    clock = Clock([512])
    pack_packet(Packet(0, 0, True, bytes(2000), 512), clock)
    for i in range(1, 60):
        assert len(pack_packet(Packet(0, 512 * i, False, bytes(50), 512), clock)) == 50 + 4


def test_an_unpromised_constant_step_is_learnt_from_two_frames() -> None:
    clock = Clock([0])
    sizes = [len(pack_packet(Packet(0, 40 * i, i == 0, b"", 0), clock)) for i in range(5)]
    assert sizes == [4, 5, 4, 4, 4]


def test_a_change_of_step_is_paid_once() -> None:
    clock = Clock([512])
    times = [0, 512, 1024, 1600, 2176, 2752]
    sizes = [len(pack_packet(Packet(0, pts, pts == 0, b"", 512), clock)) for pts in times]
    assert sizes == [4, 4, 4, 6, 4, 4]


def test_frame_type_is_that_of_the_video_only() -> None:
    assert Packet(0, 0, True, b"").frame_type is FrameType.I
    assert Packet(0, 0, False, b"").frame_type is FrameType.P
    assert Packet(0, 0, False, b"", is_recovery=True).frame_type is FrameType.RECOVERY
    assert Packet(0, 0, False, b"", is_bframe=True).frame_type is FrameType.B
    assert Packet(1, 0, True, b"").frame_type is None


def test_a_recovery_point_is_a_flag_of_p_frames() -> None:
    for packet in (Packet(0, 0, False, b"x", 512), Packet(0, 0, False, b"x", 512, is_recovery=True)):
        unit = pack_packet(packet, Clock(STEPS))
        assert unit[0] & 0b1111 == (0b1001 if packet.is_recovery else 0b0001)
        assert unpack_packet(*split(unit), Clock(STEPS)) == packet
    for packet in (Packet(0, 0, True, b"", is_recovery=True), Packet(1, 0, False, b"", is_recovery=True)):
        with pytest.raises(ConfigError, match="recovery point; permitted: P-frames"):
            pack_packet(packet, Clock(STEPS))


def test_a_bframe_has_its_kind_and_no_payload() -> None:
    packet = Packet(0, 0, False, b"", 512, is_bframe=True)
    unit = pack_packet(packet, Clock(STEPS))
    assert unit[0] == PacketKind.B_FRAME
    assert len(unit) == 4
    assert unpack_packet(*split(unit), Clock(STEPS)) == packet
    for body, flags, message in ((b"x", 0, "1 bytes of payload"), (b"", FLAG_KEYFRAME, "flags of a side")):
        with pytest.raises(CorruptError, match=message):
            unpack_packet(PacketKind.B_FRAME | flags, memoryview(body), Clock(STEPS))
    for wrong in ({"payload": b"x"}, {"is_keyframe": True}, {"stream": 1}, {"is_recovery": True}):
        with pytest.raises(ConfigError, match=r"B-frame has a payload|recovery point; permitted"):
            pack_packet(replace(packet, **wrong), Clock(STEPS))


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (Packet(3, 0, True, b""), "stream is 3; permitted: 0 to 2"),
        (Packet(-1, 0, True, b""), "stream is -1"),
        (Packet(0, 0, True, b"", dts=0), "video packet has a dts"),
        (Packet(0, MAX_TICKS + 1, True, b""), "pts is"),
        (Packet(1, 0, True, b"", dts=-MAX_TICKS - 1), "dts is"),
        (Packet(0, 0, True, b"", MAX_TICKS + 1), "duration is"),
        (Packet(0, 0, True, b"", -1), "duration is -1"),
    ],
)
def test_what_cannot_be_written_is_a_config_error(packet: Packet, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pack_packet(packet, Clock(STEPS))


def test_a_side_packet_without_dts_is_decoded_when_it_is_shown() -> None:
    unit = pack_packet(Packet(1, 7, True, b"x"), Clock(STEPS))
    assert unpack_packet(*split(unit), Clock(STEPS)).dts == 7


@pytest.mark.parametrize(
    ("head", "body", "error"),
    [
        (PacketKind.P_FRAME | RESERVED, b"", UnsupportedError),
        (PacketKind.I_FRAME | FLAG_KEYFRAME, b"", CorruptError),
        (PacketKind.P_FRAME | FLAG_DTS, b"\x00", CorruptError),
        (PacketKind.SIDE, b"", TruncatedError),
        (PacketKind.SIDE, b"\x00", CorruptError),
        (PacketKind.SIDE, b"\x03", CorruptError),
        (PacketKind.I_FRAME | FLAG_PTS, pack(PACKET_BODY[1:2], {"pts_change": MAX_TICKS + 1}), CorruptError),
        (
            PacketKind.SIDE | FLAG_DTS,
            b"\x01" + pack(PACKET_BODY[3:], {"dts_change": -MAX_TICKS - 1}),
            CorruptError,
        ),
    ],
)
def test_bodies_that_no_writer_makes(head: int, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error, match="at byte 40"):
        unpack_packet(head, memoryview(body), Clock(STEPS), 40)
