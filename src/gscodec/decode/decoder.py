"""Packets -> pictures: the decoder. It never sees the encoder, the analysis or the fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from gscodec.coding.bframe import between
from gscodec.coding.quantize import State
from gscodec.config import QUALITY_ONE, DecoderLimits
from gscodec.container.container import GsvReader, Stream
from gscodec.container.headers import BACKGROUND_CODES, BLEND_CODES, ENTROPY_CODES, PROFILE_CODES, FrameType
from gscodec.container.packet import Packet
from gscodec.decode.layers import Layer, channels_of, draw_person, draw_room
from gscodec.decode.profile import AnyState, dequantize, ground_color, make_profile_coder
from gscodec.decode.show import Holder
from gscodec.errors import CorruptError, LimitError, UnsupportedError
from gscodec.splat.gaussians import Gaussians
from gscodec.splat.raster import Rasterizer, make_rasterizer
from gscodec.video.frame import VideoFormat

MAX_UNDRAWN = 64  # states that wait to be drawn; each is as large as the Gaussians of a frame
ROOM_CODECS = ("av1", "h264")
PROFILES = tuple(range(len(PROFILE_CODES)))
BLENDS = tuple(range(len(BLEND_CODES)))


@dataclass(frozen=True, slots=True)
class Sequence:
    """What a decoder takes from the sequence header, checked."""

    width: int
    height: int
    profile: str
    entropy: str
    blend: str
    quality: float
    hold: int
    background: str


def check_sequence(header: dict[str, Any], limits: DecoderLimits) -> Sequence:
    """Check a SEQUENCE_HEADER before anything of its size is allocated.

    Raises:
        LimitError: more pixels than permitted. UnsupportedError: made by a newer version.
    """
    width, height = header["width"], header["height"]
    if width * height > limits.max_pixels:
        raise LimitError(
            f"the picture has {width}x{height} pixels, at most {limits.max_pixels} are permitted"
        )
    for name, known in (("profile", PROFILES), ("blend", BLENDS)):
        if header[name] not in known:
            raise UnsupportedError(
                f"{name} {header[name]} is unknown to this version of gscodec; please update it"
            )
    profile, entropy = PROFILE_CODES[header["profile"]], ENTROPY_CODES[header["entropy"]]
    if entropy == "adaptive-dev":
        raise UnsupportedError("a development version after 0.1.0 wrote this file; encode its source anew")
    if profile != "default" and entropy.startswith("adaptive"):
        raise UnsupportedError(
            f"the profile {profile} with adaptive coding is unknown; please update gscodec"
        )
    blend = BLEND_CODES[header["blend"]]
    if blend != "sum" and entropy != "adaptive":
        raise UnsupportedError(
            f"the blend {blend} with the coder {entropy} is unknown; please update gscodec"
        )
    quality = header["quality_q8"] / QUALITY_ONE
    background = BACKGROUND_CODES[header["background"]]
    return Sequence(width, height, profile, entropy, blend, quality, header["hold"], background)


def room_of(reader: GsvReader) -> Stream | None:
    """The stream that is the room's video; None: there is none.

    Raises:
        CorruptError: the last stream is no such thing. UnsupportedError: of a newer version.
    """
    if not reader.has_room:
        return None
    stream = reader.streams[-1]
    if stream.kind != "data":
        raise CorruptError(f"the last stream is to be the room's video, but is {stream.kind}; expected data")
    if stream.codec not in ROOM_CODECS:
        raise UnsupportedError(
            f"the room is coded as {stream.codec!r}, which is unknown; please update gscodec"
        )
    return stream


def video_format(reader: GsvReader) -> VideoFormat:
    """What the sequence header says of the pictures."""
    s = reader.sequence
    return VideoFormat(
        width=s["width"],
        height=s["height"],
        time_base=reader.streams[0].time_base,
        frame_rate=Fraction(s["frame_rate_num"], s["frame_rate_den"]),
        sample_aspect_ratio=Fraction(s["sar_num"], s["sar_den"]),
        matrix=s["matrix"],
        primaries=s["primaries"],
        transfer=s["transfer"],
        full_range=bool(s["full_range"]),
    )


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What a picture is drawn of: parameters, whose each Gaussian is, what colours are counted from."""

    params: np.ndarray
    is_room: np.ndarray
    ground: np.ndarray | None


class Decoder:
    """Decodes successive packets of one stream, starting at any I-frame.

    for packet in decoder.frames(reader):  # in the order in which they are shown
        picture = decoder.render()
    """

    def __init__(
        self,
        sequence_header: dict[str, Any],
        *,
        limits: DecoderLimits | None = None,
        backend: str = "auto",
        threads: int = 0,
        warn: Callable[[str], None] | None = None,
        background: np.ndarray | None = None,
        layers: tuple[Layer, ...] = ("picture",),
    ) -> None:
        """Make a decoder.

        Args:
            sequence_header: fields of SEQUENCE_HEADER (`GsvReader.sequence`).
            background: R'G'B' in [0, 1], float32 [3]: pictures show the person alone over this colour.
            layers: what `render` draws, side by side as channels; `layers.split` takes them apart.
        Raises:
            BitstreamError: see check_sequence. BackendError: the backend cannot run here.
        """
        self._limits = limits or DecoderLimits()
        self.sequence = check_sequence(sequence_header, self._limits)
        s = self.sequence
        self._raster: Rasterizer = make_rasterizer(backend, s.width, s.height, threads, warn, blend=s.blend)
        self._coder = make_profile_coder(s.profile, s.entropy, (s.width, s.height), s.blend)
        self._state: AnyState | None = None
        self._before: AnyState | None = None  # the state that the last packet, a P-frame, was made from
        self._is_between = False  # what is shown now is the B-frame between the two
        self._background = background
        self._layers = layers
        self._holder = Holder(s.hold, channels_of(self._layers))
        self._is_cut_out = True
        # Not drawn yet: what is held of them shows in the next picture. Nothing is drawn before it is asked
        # for, so who seeks does not draw what lies before the last I-frame or recovery point.
        self._undrawn: list[AnyState] = []
        self._restart = True  # the first of them is an I-frame or a recovery point
        self._shown: np.ndarray | None = None  # the picture of the last packet, once drawn
        self._n_frames = 0

    @property
    def state(self) -> AnyState:
        """The integers of every live Gaussian after the last packet."""
        if self._state is None:
            raise CorruptError("no I-frame has been decoded yet")
        return self._state

    @property
    def is_cut_out(self) -> bool:
        """Whether this GOP tells person and room apart.

        Not where the room is coded and the I-frame has no Gaussian of it: nobody was found, or the encoder
        was told that everything is of interest.
        """
        return self._is_cut_out

    @property
    def gaussians(self) -> Gaussians:
        """What `render` draws."""
        drawing = self._drawing()
        return Gaussians(drawing.params, drawing.is_room)

    def frames(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """Decode packets, and yield each where `render` and `render_person` show its frame.

        A B-frame is yielded once the P-frame behind it has been decoded, and then that; packets of other
        streams are passed through.

        Raises:
            BitstreamError: see `decode`; a B-frame without a P-frame behind it.
        """
        waiting: Packet | None = None
        for packet in packets:
            if packet.frame_type is None:
                yield packet
                continue
            if waiting and packet.frame_type != FrameType.P:
                raise self._is_lone(waiting)
            if packet.frame_type == FrameType.B:
                waiting = packet
                continue
            self.decode(packet.payload, packet.frame_type)
            if waiting:
                self.go_between()
                yield waiting
                self._is_between, waiting = False, None
            yield packet
        if waiting:
            raise self._is_lone(waiting)

    def decode(self, payload: bytes, frame_type: FrameType) -> Gaussians:
        """Decode one video packet to its Gaussians; `render` makes pixels of them.

        Args:
            frame_type: not B: that is shown by `go_between`, after the P-frame behind it.
        Raises:
            BitstreamError: the payload is damaged, past the limits, or a P-frame without its reference.
        """
        if frame_type == FrameType.B:
            raise ValueError("a B-frame is not decoded by itself; Decoder.frames(packets) takes care of that")
        s = self.sequence
        if len(self._undrawn) == MAX_UNDRAWN:
            self._draw()
        waiting = self._undrawn if s.hold and frame_type == FrameType.P else []
        self._restart |= frame_type != FrameType.P
        self._undrawn, self._shown, self._is_between = [], None, False
        reference, self._state = self._state, None  # after an error only an I-frame can follow
        self._before = None
        if frame_type == FrameType.I:
            self._state = self._coder.unpack_iframe(payload, s.quality, self._limits.max_gaussians)
            self._is_cut_out = s.background == "none" or bool(self._state.is_room.any())
        elif reference is None:
            raise CorruptError("a P-frame without its reference; expected an I-frame", frame=self._n_frames)
        else:
            self._state = self._coder.unpack_pframe(payload, reference)
            self._before = reference if frame_type == FrameType.P else None
        self._undrawn = [*waiting, self._state]
        self._n_frames += 1
        return Gaussians(dequantize(self._state), self._state.is_room)

    def go_between(self) -> None:
        """Show the B-frame in front of the P-frame decoded last, until the next packet is decoded.

        Raises:
            CorruptError: what was decoded last is no P-frame that may have one.
        """
        if self._before is None or self._coder.kept is None:
            raise CorruptError("a B-frame before a frame that permits none", frame=self._n_frames)
        self._is_between = True

    def render(self) -> np.ndarray:
        """The picture of the last packet, R'G'B' uint8 [H, W, 3], or its layers; the caller's own."""
        self._draw()
        if self._shown is None:
            raise CorruptError("no I-frame has been decoded yet")
        if not self._is_between:
            return self._shown.copy()
        picture = self._drawn(self._drawing())
        self._holder.show_between(picture)
        return picture

    def _draw(self) -> None:
        """Draw what was decoded and not drawn, in order."""
        for state in self._undrawn:
            self._shown = self._drawn(_drawing_of(state))
            self._holder.show(self._shown, self._restart)
            self._restart = False
        self._undrawn = []

    def _drawn(self, drawing: _Drawing) -> np.ndarray:
        drawn = [self._drawn_layer(drawing, layer) for layer in self._layers]
        return drawn[0] if len(drawn) == 1 else np.dstack(drawn)

    def _drawn_layer(self, drawing: _Drawing, layer: Layer) -> np.ndarray:
        if layer == "person":
            return draw_person(self._raster, drawing.params, drawing.is_room, drawing.ground)
        if layer == "room":
            return draw_room(self._raster, drawing.params, drawing.is_room, drawing.ground)
        if self._background is None:
            return self._raster.render_rgb8(drawing.params, drawing.ground)
        return self._person(drawing, self._background)[0]

    def _drawing(self) -> _Drawing:
        """What the frame shown now is drawn of."""
        if not self._is_between:
            return _drawing_of(self.state)
        assert isinstance(self._before, State)
        assert isinstance(self._state, State)
        params, is_room = between(self._before, self._state, self._coder.kept)
        return _Drawing(params, is_room, ground_color(self._state))

    def render_person(self, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The person alone over one colour, and where the person is; nothing is held.

        Args:
            background: R'G'B' in [0, 1], float32 [3].
        Returns:
            The picture, uint8 [H, W, 3], and the person's alpha, uint8 [H, W] (docs/bitstream.md,
            "Rendering").
        """
        return self._person(self._drawing(), background)

    def _person(self, drawing: _Drawing, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._raster.render_person(
            drawing.params, drawing.is_room, background.astype(np.float32), drawing.ground
        )

    def _is_lone(self, packet: Packet) -> CorruptError:
        return CorruptError(
            f"the B-frame at {packet.pts} ticks has no P-frame behind it", frame=self._n_frames
        )


def _drawing_of(state: AnyState) -> _Drawing:
    return _Drawing(dequantize(state), state.is_room, ground_color(state))
