"""Sound, subtitles and data that travel untouched: packets as they are, a stream's head as a tiny media file.

`SideStream.extradata` is zstd(one line of JSON, then a media file). The media file has only this one stream
and one meaningless packet; opened again it gives a template from which any muxer recreates the stream.
Matroska carries nearly every codec, NUT, MP4 and MOV the rest: the first one that gives all parameters back
is taken.
"""

from __future__ import annotations

import io
import json
import os
from contextlib import ExitStack, suppress
from fractions import Fraction
from typing import Any

import av
import zstandard

from gscodec.errors import CorruptError
from gscodec.video.frame import SidePacket, SideStream

KINDS = ("audio", "subtitle", "data")
_HEAD_FORMATS = ("matroska", "nut", "mp4", "mov")
_MAX_HEAD_BYTES = 1 << 20
_TITLES = ("language", "title")
_DUMMY = b"\0\1a"  # also a well-formed packet of mov_text, whose muxer looks inside


def describe(stream: Any, time_base: Fraction, adts: bytes = b"") -> SideStream:
    """Return what is needed to write this input stream again.

    Args:
        stream: av stream of type audio, subtitle or data.
        time_base: seconds per tick of its packets.
        adts: see `adts_packet`; the head is then that of the AAC without ADTS.

    Raises:
        ValueError: no container that we know gives this stream back.
    """
    for name in ("mp4",) if adts else _HEAD_FORMATS:  # MP4's muxer turns ADTS into a head of its own
        try:
            media = write_sample_file(stream, name, payload=adts)
            with av.open(io.BytesIO(media), format=name) as again:
                if not adts and _parameters(again.streams[0]) != _parameters(stream):
                    continue
        except (av.FFmpegError, ValueError, IndexError):
            continue
        facts: dict[str, Any] = {"format": name, "disposition": int(stream.disposition)}
        facts |= {key: clean_text(stream.metadata[key]) for key in _TITLES if key in stream.metadata}
        head = json.dumps(facts).encode() + b"\n" + media
        extradata = zstandard.ZstdCompressor(level=19).compress(head)
        return SideStream(stream.type, codec_name(stream), time_base, extradata)
    raise ValueError(f"{stream.type} stream ({codec_name(stream)}) cannot be carried")


def adts_packet(stream: Any, path: str) -> bytes:
    """Return the first packet of an AAC stream whose packets bring their heads along, else b"".

    So it is in MPEG-TS. MP4 and Matroska want the head once, and the packets without it.
    """
    context = stream.codec_context
    if codec_name(stream) != "aac" or context.extradata or not os.path.isfile(path):
        return b""
    with suppress(av.FFmpegError), av.open(os.path.abspath(path)) as container:
        for packet in container.demux(container.streams[stream.index]):
            if packet.size:
                return bytes(packet) if strip_adts(bytes(packet)) != bytes(packet) else b""
    return b""


def strip_adts(payload: bytes) -> bytes:
    """Return an AAC packet without its ADTS header (ISO/IEC 13818-7, 6.2): 7 bytes, 9 with a check sum."""
    if len(payload) > 9 and payload[0] == 0xFF and payload[1] & 0xF6 == 0xF0:
        return payload[7 if payload[1] & 1 else 9 :]
    return payload


def codec_name(stream: Any) -> str:
    """Return FFmpeg's name of the codec, "unknown" when it has none."""
    context = stream.codec_context
    name = context.codec.canonical_name if context is not None else getattr(stream, "name", None)
    return name or "unknown"


def add_output_stream(container: Any, template: Any, facts: dict[str, Any]) -> Any:
    """Add a stream like `template` to an output container, with the language, title and flags in `facts`.

    Raises:
        ValueError, av.FFmpegError: the container cannot hold this codec.
    """
    stream = container.add_stream_from_template(template)
    stream.metadata.update({key: str(facts[key]) for key in _TITLES if key in facts})
    stream.disposition = facts.get("disposition", 0)
    context = stream.codec_context
    if stream.type == "audio" and context.layout.name.endswith("channels"):
        # Only a number of channels is known (Matroska's PCM); MP4 wants their names, so take the usual ones.
        context.layout = f"{context.layout.nb_channels}c"
    return stream


def open_head(side_stream: SideStream, stack: ExitStack) -> tuple[Any, dict[str, Any]]:
    """Return (template stream, facts) from extradata; the template lives until `stack` closes.

    Raises:
        CorruptError: the extradata are not what `describe` writes.
    """
    try:
        frame = zstandard.get_frame_parameters(side_stream.extradata)
        if not 0 < frame.content_size <= _MAX_HEAD_BYTES:
            raise ValueError(f"{frame.content_size} bytes announced, at most {_MAX_HEAD_BYTES} permitted")
        head = zstandard.ZstdDecompressor().decompress(side_stream.extradata)
        line, _, media = head.partition(b"\n")
        facts = json.loads(line)
        if not isinstance(facts, dict) or facts.get("format") not in _HEAD_FORMATS:
            raise ValueError("unknown kind of head")
        if not isinstance(facts.get("disposition"), int) or not 0 <= facts["disposition"] < 1 << 31:
            raise ValueError("bad disposition")
        # Naming the format keeps hostile bytes away from demuxers that open other files (hls, concat).
        container = stack.enter_context(av.open(io.BytesIO(media), format=facts["format"]))
        if len(container.streams) != 1 or container.streams[0].type != side_stream.kind:
            raise ValueError(f"expected one {side_stream.kind} stream")
    except (zstandard.ZstdError, av.FFmpegError, ValueError, RecursionError) as error:
        raise CorruptError(f"head of the {side_stream.kind} stream ({side_stream.codec}): {error}") from error
    return container.streams[0], facts


def clean_text(text: str) -> str:
    """Return a tag as valid Unicode: bytes that were no UTF-8 become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_filler(packet: Any, codec: str) -> bool:
    """Is this an empty text that MP4 puts into a gap between subtitles? Its muxer makes them again."""
    return codec == "mov_text" and bytes(packet) == b"\0\0"


def to_side_packet(packet: Any, index: int, fallback_pts: int, has_adts: bool = False) -> SidePacket:
    """Copy a demuxed packet; `fallback_pts` stands in where the container gives no time."""
    dts = packet.dts if packet.dts is not None else packet.pts
    pts = packet.pts if packet.pts is not None else dts
    pts = fallback_pts if pts is None else pts
    dts = pts if dts is None else dts
    payload = strip_adts(bytes(packet)) if has_adts else bytes(packet)
    return SidePacket(index, pts, dts, packet.duration or 0, packet.is_keyframe, payload)


def to_av_packet(packet: SidePacket, time_base: Fraction, stream: Any) -> Any:
    """Make the packet to mux into `stream`; the muxer rescales its times."""
    made: Any = av.Packet(packet.payload)
    made.time_base = time_base
    made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
    made.is_keyframe = packet.is_keyframe
    made.stream = stream
    return made


def write_sample_file(
    template: Any, name: str, facts: dict[str, Any] | None = None, payload: bytes = b""
) -> bytes:
    """Return a file of format `name` with this one stream and a packet, or a dummy; same input, same bytes.

    Raises:
        ValueError, av.FFmpegError: the format cannot hold this codec.
    """
    target = io.BytesIO()
    with av.open(target, "w", format=name, container_options={"fflags": "+bitexact"}) as container:
        stream = add_output_stream(container, template, facts or {})
        container.start_encoding()
        pcm = codec_name(template).startswith("pcm")
        # PCM must come in whole samples: 960 bytes a channel is a whole number of any width.
        payload = payload or (bytes(960 * stream.layout.nb_channels) if pcm else _DUMMY)
        packet = SidePacket(0, pts=0, dts=0, duration=1, is_keyframe=True, payload=payload)
        container.mux(to_av_packet(packet, Fraction(1, 1000), stream))
    return target.getvalue()


def check_sample_file(media: bytes, name: str, kind: str) -> None:
    """Raise ValueError where MPEG-TS took a stream as private data, as it does with all it does not know."""
    if name != "mpegts":
        return
    with av.open(io.BytesIO(media), format=name) as again:
        # "unknown" is one that a reader finds out from real packets: DTS, TrueHD.
        if again.streams[0].type == "data" != kind:
            raise ValueError(f"{kind} would become private data")


def _parameters(stream: Any) -> tuple[Any, ...]:
    context = stream.codec_context
    facts: tuple[Any, ...] = (stream.type, codec_name(stream))
    if context is not None:
        facts += (bytes(context.extradata or b""),)
    if context is not None and stream.type == "audio":
        facts += (context.sample_rate, context.layout.nb_channels)
    return facts
