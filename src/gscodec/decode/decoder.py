"""Packets -> pictures: the decoder. It never sees the encoder, the analysis or the fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from gscodec.config import QUALITY_ONE, DecoderLimits
from gscodec.container.container import GsvReader
from gscodec.container.headers import BLEND_CODES, ENTROPY_CODES, PROFILE_CODES, FrameType
from gscodec.decode.profile import AnyState, dequantize, ground_color, make_profile_coder
from gscodec.decode.show import Holder
from gscodec.errors import CorruptError, LimitError, UnsupportedError
from gscodec.splat.gaussians import Gaussians
from gscodec.splat.raster import Rasterizer, make_rasterizer
from gscodec.video.frame import VideoFormat

MAX_UNDRAWN = 64  # states that wait to be drawn; each is as large as the Gaussians of a frame
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
    return Sequence(width, height, profile, entropy, blend, quality, header["hold"])


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
    """Decodes successive packets of one stream, starting at any I-frame."""

    def __init__(
        self,
        sequence_header: dict[str, Any],
        *,
        limits: DecoderLimits | None = None,
        backend: str = "auto",
        threads: int = 0,
        warn: Callable[[str], None] | None = None,
        background: np.ndarray | None = None,
    ) -> None:
        """Make a decoder.

        Args:
            sequence_header: fields of SEQUENCE_HEADER (`GsvReader.sequence`).
            background: R'G'B' in [0, 1], float32 [3]: pictures show the person alone over this colour.
        Raises:
            BitstreamError: see check_sequence. BackendError: the backend cannot run here.
        """
        self._limits = limits or DecoderLimits()
        self.sequence = check_sequence(sequence_header, self._limits)
        s = self.sequence
        self._raster: Rasterizer = make_rasterizer(backend, s.width, s.height, threads, warn, blend=s.blend)
        self._coder = make_profile_coder(s.profile, s.entropy, (s.width, s.height), s.blend)
        self._state: AnyState | None = None
        self._background = background
        self._holder = Holder(s.hold)
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

    def decode(self, payload: bytes, frame_type: FrameType) -> Gaussians:
        """Decode one video packet to its Gaussians; `render` makes pixels of them.

        Raises:
            BitstreamError: the payload is damaged, past the limits, or a P-frame without its reference.
        """
        s = self.sequence
        if len(self._undrawn) == MAX_UNDRAWN:
            self._draw()
        waiting = self._undrawn if s.hold and frame_type == FrameType.P else []
        self._restart |= frame_type != FrameType.P
        self._undrawn, self._shown = [], None
        reference, self._state = self._state, None  # after an error only an I-frame can follow
        if frame_type == FrameType.I:
            self._state = self._coder.unpack_iframe(payload, s.quality, self._limits.max_gaussians)
        elif reference is None:
            raise CorruptError("a P-frame without its reference; expected an I-frame", frame=self._n_frames)
        else:
            self._state = self._coder.unpack_pframe(payload, reference)
        self._undrawn = [*waiting, self._state]
        self._n_frames += 1
        return Gaussians(dequantize(self._state), self._state.is_room)

    def render(self) -> np.ndarray:
        """The picture of the last packet, R'G'B' uint8 [H, W, 3]; the caller's own."""
        self._draw()
        if self._shown is None:
            raise CorruptError("no I-frame has been decoded yet")
        return self._shown.copy()

    def _draw(self) -> None:
        """Draw what was decoded and not drawn, in order."""
        for state in self._undrawn:
            if self._background is None:
                self._shown = self._raster.render_rgb8(dequantize(state), ground_color(state))
            else:
                self._shown = self._person(state, self._background)[0]
            self._holder.show(self._shown, self._restart)
            self._restart = False
        self._undrawn = []

    def render_person(self, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The person alone over one colour, and where the person is; nothing is held.

        Args:
            background: R'G'B' in [0, 1], float32 [3].
        Returns:
            The picture, uint8 [H, W, 3], and the person's alpha, uint8 [H, W] (docs/bitstream.md,
            "Rendering").
        """
        return self._person(self.state, background)

    def _person(self, state: AnyState, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._raster.render_person(
            dequantize(state), state.is_room, background.astype(np.float32), ground_color(state)
        )
