"""Packets -> pictures: the decoder. It never sees the encoder, the analysis or the fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from gscodec.coding.bframe import between as midway
from gscodec.coding.quantize import State
from gscodec.config import QUALITY_ONE, DecoderLimits
from gscodec.container.container import GsvReader, Stream
from gscodec.container.headers import BACKGROUND_CODES, BLEND_CODES, ENTROPY_CODES, PROFILE_CODES, FrameType
from gscodec.container.packet import Packet
from gscodec.decode.importance import Chooser
from gscodec.decode.interpolate import between
from gscodec.decode.layers import Layer, channels_of, draw_person, draw_room
from gscodec.decode.profile import AnyState, dequantize, ground_color, make_profile_coder
from gscodec.decode.scale import Drawer, ScaledDrawer
from gscodec.decode.show import Holder, keep_between
from gscodec.errors import ConfigError, CorruptError, LimitError, UnsupportedError
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
        size: tuple[int, int] | None = None,
        max_gaussians: int | None = None,
    ) -> None:
        """Make a decoder.

        Args:
            sequence_header: fields of SEQUENCE_HEADER (`GsvReader.sequence`).
            background: R'G'B' in [0, 1], float32 [3]: pictures show the person alone over this colour.
            layers: what `render` draws, side by side as channels; `layers.split` takes them apart.
            size: width and height of the pictures, pixels; None: as coded.
            max_gaussians: the most that are drawn of a frame, the most important; None: all.
        Raises:
            BitstreamError: see check_sequence. BackendError: the backend cannot run here.
            ConfigError: `size` or `max_gaussians` is not permitted.
        """
        self._limits = limits or DecoderLimits()
        self.sequence = check_sequence(sequence_header, self._limits)
        s = self.sequence
        coded = s.width, s.height
        self.size = size or coded
        _check_picture(self.size, max_gaussians, self._limits)

        def make(width: int, height: int) -> Rasterizer:
            return make_rasterizer(backend, width, height, threads, warn, blend=s.blend)

        self._raster: Drawer = make(*coded) if self.size == coded else ScaledDrawer(make, coded, self.size)
        self._chooser = None if max_gaussians is None else Chooser(make, coded, max_gaussians)
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
        self._undrawn: list[Gaussians] = []
        self._last: Gaussians | None = None  # of the last packet
        self._gone = np.zeros(0, np.int64)  # ids of those that left in it
        self._n_ids = 0  # given to Gaussians so far
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
        """What `render` draws: a frame's Gaussians, or the most important of them."""
        if self._last is None:
            raise CorruptError("no I-frame has been decoded yet")
        if self._chooser:
            self._draw()
        chosen = self._chosen(self._last, restart=False)
        if not self._is_between:
            return chosen
        assert isinstance(self._before, State)
        assert isinstance(self._state, State)
        params, is_room = midway(self._before, self._state, self._coder.kept)
        both = Gaussians(params, is_room, np.concatenate([self._last.ids, self._gone]), self._last.ground)
        return both if self._chooser is None else both.take(np.flatnonzero(np.isin(both.ids, chosen.ids)))

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
        counts = s.hold or self._chooser  # what is drawn depends on frames before it
        waiting = self._undrawn if counts and frame_type == FrameType.P else []
        self._restart |= frame_type != FrameType.P
        self._undrawn, self._shown, self._is_between = [], None, False
        reference, self._state = self._state, None  # after an error only an I-frame can follow
        self._before = None
        last, self._last = self._last, None
        if frame_type == FrameType.I:
            self._state = self._coder.unpack_iframe(payload, s.quality, self._limits.max_gaussians)
            self._is_cut_out = s.background == "none" or bool(self._state.is_room.any())
            self._last = self._numbered(self._state, np.zeros(0, np.int64))
        elif reference is None or last is None:
            raise CorruptError("a P-frame without its reference; expected an I-frame", frame=self._n_frames)
        else:
            self._state = self._coder.unpack_pframe(payload, reference)
            self._before = reference if frame_type == FrameType.P else None
            stay = slice(None) if self._coder.kept is None else self._coder.kept
            self._last = self._numbered(self._state, last.ids[stay])
            self._gone = np.setdiff1d(last.ids, self._last.ids, assume_unique=True)
        self._undrawn = [*waiting, self._last]
        self._n_frames += 1
        return self._last

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
        picture = self._picture(self.gaussians)
        self._holder.show_between(picture)
        return picture

    def render_between(
        self, before: Gaussians, after: Gaussians, share: float, shown: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """The picture of a time between two neighbouring frames, the second of which is no I-frame.

        Args:
            before, after: what `gaussians` was for these frames.
            share: of the way from the first to the second, more than 0 and less than 1.
            shown: what `render` gave for them.
        Returns:
            As `render`'s, uint8 [H, W, channels]; the caller's own, and `render` does not depend on it.
        """
        picture = self._picture(between(before, after, share))
        keep_between(picture, *shown)
        return picture

    def render_person(self, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The person alone over one colour, and where the person is; nothing is held.

        Args:
            background: R'G'B' in [0, 1], float32 [3].
        Returns:
            The picture, uint8 [H, W, 3], and the person's alpha, uint8 [H, W] (docs/bitstream.md,
            "Rendering").
        """
        return self._person(self.gaussians, background)

    def _numbered(self, state: AnyState, ids: np.ndarray) -> Gaussians:
        """The Gaussians of a state, the first of which have `ids`; those behind them get new ones."""
        n_new = len(state) - len(ids)
        new = np.arange(self._n_ids, self._n_ids + n_new)
        self._n_ids += n_new
        return Gaussians(dequantize(state), state.is_room, np.concatenate([ids, new]), ground_color(state))

    def _draw(self) -> None:
        """Draw what was decoded and not drawn, in order."""
        for gaussians in self._undrawn:
            self._shown = self._picture(self._chosen(gaussians, self._restart))
            self._holder.show(self._shown, self._restart)
            self._restart = False
        self._undrawn = []

    def _chosen(self, gaussians: Gaussians, restart: bool) -> Gaussians:
        return self._chooser.choose(gaussians, restart) if self._chooser else gaussians

    def _picture(self, gaussians: Gaussians) -> np.ndarray:
        drawn = [self._layer(gaussians, layer) for layer in self._layers]
        return drawn[0] if len(drawn) == 1 else np.dstack(drawn)

    def _layer(self, gaussians: Gaussians, layer: Layer) -> np.ndarray:
        g = gaussians
        if layer == "person":
            return draw_person(self._raster, g.params, g.is_room, g.ground)
        if layer == "room":
            return draw_room(self._raster, g.params, g.is_room, g.ground)
        if self._background is None:
            return self._raster.render_rgb8(g.params, g.ground)
        return self._person(g, self._background)[0]

    def _person(self, gaussians: Gaussians, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._raster.render_person(
            gaussians.params, gaussians.is_room, background.astype(np.float32), gaussians.ground
        )

    def _is_lone(self, packet: Packet) -> CorruptError:
        return CorruptError(
            f"the B-frame at {packet.pts} ticks has no P-frame behind it", frame=self._n_frames
        )


def _check_picture(size: tuple[int, int], max_gaussians: int | None, limits: DecoderLimits) -> None:
    if min(size) < 1 or size[0] * size[1] > limits.max_pixels:
        raise ConfigError(
            f"--size {size[0]}x{size[1]} is out of range; permitted: 1x1 to {limits.max_pixels} pixels in all"
        )
    if max_gaussians is not None and max_gaussians < 1:
        raise ConfigError(f"--max-gaussians {max_gaussians} is out of range; permitted: 1 or more")
