"""Frames as a program has them -> packets: the public encoder, the counterpart of `decoder.Decoder`.

`transcode.encode_file` is for whole files: it spreads GOPs over cores and steers their rate. Here frames come
one at a time, nobody knows how many, and each is coded before the next is asked for. The coding itself is
`encode.encoder`'s, or `paper.encoder`'s under the other profiles.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from gscodec.analysis.matting import Matter, make_matter
from gscodec.config import MAX_PIXELS, QUALITY_ONE, EncoderConfig
from gscodec.container.container import Packet, Stream
from gscodec.container.headers import (
    BACKGROUND_CODES,
    BLEND_CODES,
    ENTROPY_CODES,
    PROFILE_CODES,
    SEQUENCE_HEADER,
    FrameType,
    pack,
)
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.gop import GopCounter, OpenGop
from gscodec.encoders import make_encoder
from gscodec.errors import ConfigError
from gscodec.splat.raster import Place, make_rasterizer
from gscodec.thumbnails import is_scene_cut, thumbnail
from gscodec.video.frame import VideoFormat

# What they ask for is reached over many GOPs, with what the finished ones took: only `encode_file` does that.
_FILES_ONLY = {"bitrate": "--bitrate", "target_psnr": "--target-psnr"}


def sequence_header(video: VideoFormat, config: EncoderConfig) -> dict[str, int]:
    """Fields of SEQUENCE_HEADER: what a decoder must know before the first packet.

    Args:
        config: its crf is already that of the file (rate.starting_crf).
    """
    return {
        "width": video.width,
        "height": video.height,
        "sar_num": video.sample_aspect_ratio.numerator,
        "sar_den": video.sample_aspect_ratio.denominator,
        "frame_rate_num": video.frame_rate.numerator,
        "frame_rate_den": video.frame_rate.denominator,
        "matrix": video.matrix,
        "primaries": video.primaries,
        "transfer": video.transfer,
        "full_range": int(video.full_range),
        "background": BACKGROUND_CODES.index("none" if config.background == "none" else "coarse"),
        "background_r": 0,
        "background_g": 0,
        "background_b": 0,
        "profile": PROFILE_CODES.index(config.profile),
        "entropy": ENTROPY_CODES.index(config.entropy),
        "quality_q8": round(config.operating_point(video.width * video.height)[1] * QUALITY_ONE),
        "blend": BLEND_CODES.index(config.blend_used),
        "flags": 0,
        "hold": config.hold,
    }


def video_stream(video: VideoFormat, config: EncoderConfig) -> Stream:
    """Stream 0 of a .gsv."""
    step = 1 / (video.frame_rate * video.time_base) if video.frame_rate else Fraction(0)
    header = pack(SEQUENCE_HEADER, sequence_header(video, config))
    return Stream("video", "gsv", video.time_base, header, round(step))


def video_packet(coded: EncodedFrame, pts: int, duration: int) -> Packet:
    """A coded frame as a packet; times in ticks of the time base."""
    kind = coded.frame_type
    is_recovery, is_bframe = kind == FrameType.RECOVERY, kind == FrameType.B
    return Packet(
        0, pts, kind == FrameType.I, coded.payload, duration, is_recovery=is_recovery, is_bframe=is_bframe
    )


class Encoder:
    """Encodes successive frames of one size. Not for concurrent calls.

        encoder = Encoder(encoder_config("fast"), 640, 360, frame_rate=25)
        with GsvWriter("out.gsv", encoder.streams) as writer:
            for i, pixels in enumerate(frames):
                writer.write(encoder.packet(encoder.encode(pixels), pts=i))

    Without a file: `Decoder(encoder.sequence)` decodes each frame's `payload` and `frame_type`.

    Attributes:
        sequence: fields of the sequence header, for a Decoder. streams: for a GsvWriter.
    """

    def __init__(
        self,
        config: EncoderConfig,
        width: int,
        height: int,
        *,
        frame_rate: Fraction | int = 25,
        time_base: Fraction | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """Make an encoder.

        Args:
            frame_rate: frames per second, a hint for players; the pts of packets are what counts.
            time_base: seconds per tick of pts; None: a tick per frame.
            warn: gets a line if a GPU is there but unusable.
        Raises:
            ConfigError: a setting out of its range, or one that only `encode_file` can follow.
            BackendError: the backend cannot run here.
        """
        config.validate()
        given = [option for name, option in _FILES_ONLY.items() if getattr(config, name)]
        if given:
            raise ConfigError(
                f"{' and '.join(given)} cannot be followed by Encoder, which sees one frame at a time; "
                "set crf instead, or encode a whole file with encode_file"
            )
        if config.background == "hybrid":
            raise ConfigError(
                "--background hybrid is for whole files, with encode_file; permitted: coarse, none"
            )
        if frame_rate <= 0:
            raise ConfigError(f"frame_rate {frame_rate} is out of range; permitted: above 0")
        if width < 1 or height < 1 or width * height > MAX_PIXELS:
            raise ConfigError(
                f"the size {width}x{height} is out of range; permitted: 1 to {MAX_PIXELS} pixels"
            )
        rate = Fraction(frame_rate)
        video = VideoFormat(width, height, time_base or 1 / rate, rate)
        self.streams = [video_stream(video, config)]
        self.sequence: dict[str, Any] = sequence_header(video, config)
        place = Place((config.device_numbers() or (0,))[0])
        raster = make_rasterizer(
            config.backend, width, height, config.threads, warn, place, config.blend_used
        )
        self._config = config
        self._shape = (height, width)
        self._encoder = make_encoder(config, raster)
        self._matter: Matter | None = None
        self._gops, self._open_gop = GopCounter(config.gop_length), OpenGop(config.open_gop)
        self._thumbnail: np.ndarray | None = None

    def encode(
        self, pixels: np.ndarray, matte: np.ndarray | None = None, frame_type: FrameType | None = None
    ) -> EncodedFrame:
        """Encode the next frame.

        Args:
            pixels: R'G'B' uint8 [H, W, 3].
            matte: what matters, [H, W], in [0, 1] or as uint8 in 255ths. None: what `config.roi` finds,
                anew for every frame.
            frame_type: None: as `config.gop_length`, `open_gop` and `scene_cut` have it. The first is an
                I-frame.
        Raises:
            ValueError: an array of another shape or type. FitError: the fit diverged.
            ConfigError, BackendError, MediaError: what `config.roi` needs is missing (first call only).
        """
        pixels = self._checked(pixels)
        now = thumbnail(pixels)
        cut = self._config.scene_cut and is_scene_cut(self._thumbnail, now)
        due, must = self._gops.due(cut)
        frame_type = self._open_gop.type_of(due, must) if frame_type is None else frame_type
        matte = self._found_matte(pixels, cut) if matte is None else self._checked_matte(matte)
        coded = self._encoder.encode(pixels, matte, frame_type)
        self._thumbnail = now
        self._gops.took(coded.frame_type, must)
        self._open_gop.coded(coded)
        return coded

    def packet(self, coded: EncodedFrame, pts: int) -> Packet:
        """What GsvWriter.write takes; pts in ticks of the time base."""
        return video_packet(coded, pts, self.streams[0].step)

    def _found_matte(self, pixels: np.ndarray, cut: bool) -> np.ndarray:
        if self._matter is None:
            self._matter = make_matter(self._config.roi, matte_model=self._config.matte_model)
        if cut:
            self._matter.reset()
        return self._matter.codes(pixels)

    def _checked(self, pixels: np.ndarray) -> np.ndarray:
        found = np.asarray(pixels)
        if found.shape != (*self._shape, 3) or found.dtype != np.uint8:
            height, width = self._shape
            raise ValueError(
                f"pixels are {found.dtype} {list(found.shape)}, expected uint8 [{height}, {width}, 3]"
            )
        return np.ascontiguousarray(found)

    def _checked_matte(self, matte: np.ndarray) -> np.ndarray:
        found = np.asarray(matte)
        kind = found.dtype.kind
        if found.shape != self._shape or not (kind in "fb" or found.dtype == np.uint8):
            wanted = f"float32 or uint8 {list(self._shape)}"
            raise ValueError(f"the matte is {found.dtype} {list(found.shape)}, expected {wanted}")
        if kind == "f" and not ((found >= 0) & (found <= 1)).all():  # nor a NaN
            raise ValueError("the matte leaves [0, 1]")
        return np.ascontiguousarray(found if found.dtype == np.uint8 else found.astype(np.float32))
