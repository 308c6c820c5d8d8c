"""Other codecs, run through the FFmpeg inside PyAV on the same pictures. docs/benchmarking.md, "Rivals".

Everything that is uncertain is decided for the rival: bytes are those of the bare elementary stream without
its text message, one thread (slices for several cost bits), times leave out the RGB conversion.
"""

from __future__ import annotations

import functools
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from gscodec.bench.stopwatch import Lap, clocked
from gscodec.errors import BackendError
from gscodec.video.color import FULL, LIMITED, UNSPECIFIED, conversion_matrix
from gscodec.video.picture import PictureConverter

_FLAGS = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
_FIXED_GOP = "keyint={gop}:min-keyint={gop}:scenecut=0"


@dataclass(frozen=True, slots=True)
class Rival:
    """A codec and its settings.

    Attributes:
        encoder: FFmpeg's name. low_delay: each frame comes out before the next goes in.
        options: of the encoder; "{gop}" stands for the GOP length, "{crf}" for the CRF where it is no option
            of its own.
        coarsest: largest permitted CRF. points: CRF values of a rate-distortion curve.
        steps: into which the search for a number of bytes divides one CRF.
        dropped: kinds of NAL or OBU units that hold no picture, not counted.
    """

    encoder: str
    low_delay: bool
    options: dict[str, str]
    coarsest: float
    points: tuple[float, ...]
    steps: int = 2
    dropped: str = ""


@dataclass(slots=True)
class CodedVideo:
    """A rival's elementary stream and what making it took.

    Attributes:
        packets: as the encoder gave them. payloads: what counts of them, see `Rival.dropped`.
    """

    packets: list[Any] = field(repr=False)
    payloads: list[bytes] = field(repr=False)
    lap: Lap

    @property
    def n_bytes(self) -> int:
        return sum(map(len, self.payloads))

    def mean_bytes(self, key: bool) -> float | None:
        """Of the I-frames or of the others."""
        sizes = [len(b) for b, p in zip(self.payloads, self.packets, strict=True) if p.is_keyframe == key]
        return sum(sizes) / len(sizes) if sizes else None


_X26X_POINTS = (26.0, 30.0, 34.0, 38.0, 42.0, 46.0, 51.0)
_SVT_POINTS = (30.0, 38.0, 46.0, 52.0, 58.0, 63.0, 66.5, 70.0)


def _x264(preset: str, tune: str = "") -> Rival:
    """x264 with a fixed GOP; its tunes can be combined, and without "zerolatency" it looks ahead."""
    tunes = {"tune": tune} if tune else {}
    options = {"preset": preset, **tunes, "x264-params": _FIXED_GOP}
    return Rival("libx264", "zerolatency" in tune, options, 51, _X26X_POINTS, 2, "6")


def _x265(tune: str, params: str = "") -> Rival:
    params = f"{_FIXED_GOP}:info=0:log-level=none:pools=1:frame-threads=1{params}"
    options = {"preset": "medium", "tune": tune, "x265-params": params}
    return Rival("libx265", True, options, 51, _X26X_POINTS, 2, "39-40")


def _svt(low_delay: bool, tune: int) -> Rival:
    structure = 1 if low_delay else 2
    # Its own parameter takes quarters of a CRF, up to 70; the option of FFmpeg whole ones, up to 63.
    params = f"pred-struct={structure}:keyint={{gop}}:scd=0:lp=1:tune={tune}:crf={{crf}}"
    options = {"preset": "8", "svtav1-params": params}
    return Rival("libsvtav1", low_delay, options, 70, _SVT_POINTS, 4, "2")


# x265 takes one tune alone; these are the settings of its "zerolatency".
_X265_NO_DELAY = ":bframes=0:b-adapt=0:rc-lookahead=0:cutree=0"
USUAL_RIVALS = {
    "x264-veryfast-zerolatency": _x264("veryfast", "zerolatency"),
    "x264-medium-zerolatency": _x264("medium", "zerolatency"),
    "x264-medium": _x264("medium"),
    "x265-medium-zerolatency": _x265("zerolatency"),
    "svt-av1-8-lowdelay": _svt(True, 1),
}
# The same encoders told what to care for. Only --rivals asks for them.
TUNED_RIVALS = {
    "x264-veryfast-zerolatency-psnr": _x264("veryfast", "psnr,zerolatency"),
    "x264-medium-zerolatency-psnr": _x264("medium", "psnr,zerolatency"),
    "x264-medium-psnr": _x264("medium", "psnr"),
    "x265-medium-zerolatency-psnr": _x265("psnr", _X265_NO_DELAY),
    "svt-av1-8-lowdelay-vq": _svt(True, 0),
    "svt-av1-8": _svt(False, 1),
    "svt-av1-8-vq": _svt(False, 0),
}
RIVALS = USUAL_RIVALS | TUNED_RIVALS
_FILTERS = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "av1"}


def check_rival(name: str) -> None:
    """Raise BackendError where the FFmpeg inside PyAV has no such encoder, or one that is too old."""
    encoder = RIVALS[name].encoder
    if encoder not in av.codecs_available:
        raise BackendError(f"the FFmpeg inside PyAV {av.__version__} has no {encoder}; pip install -U av")
    if encoder == "libsvtav1" and not _svt_takes_quarters():
        raise BackendError(f"the SVT-AV1 inside PyAV {av.__version__} has no crf 69.25; pip install -U av")


@functools.cache
def _svt_takes_quarters() -> bool:
    """Whether SVT-AV1 obeys quarters of a CRF up to 70; FFmpeg goes on where it does not know a parameter."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 64), np.uint8)
    rival = USUAL_RIVALS["svt-av1-8-lowdelay"]
    try:
        sizes = [encode_rival(rival, [noise], Fraction(25), 1, crf).n_bytes for crf in (30.25, 69.25)]
    except BackendError:
        return False
    return sizes[0] > 2 * sizes[1]


def to_yuv(pictures: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Convert R'G'B' pictures to the 4:2:0 planes that all rivals code (limited range, players' matrix).

    Args:
        pictures: uint8 [H, W, 3] with even H and W.
    Returns:
        uint8 [H * 3 / 2, W] each.
    """
    reformatter = VideoReformatter()
    for pixels in pictures:
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        converted = reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=conversion_matrix(UNSPECIFIED, pixels.shape[0]),
            src_color_range=FULL,
            dst_color_range=LIMITED,
            interpolation=_FLAGS,
        )
        yield converted.to_ndarray()


def encode_rival(
    rival: Rival, planes: Sequence[np.ndarray] | np.ndarray, fps: Fraction, gop: int, crf: float
) -> CodedVideo:
    """Encode 4:2:0 pictures at a CRF.

    Args:
        planes: see `to_yuv`.
    Raises:
        BackendError: the encoder refuses.
    """
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints on stderr otherwise
    frames = [av.VideoFrame.from_ndarray(p, format="yuv420p") for p in planes]
    for i, frame in enumerate(frames):
        frame.pts = i
    try:
        context: Any = av.CodecContext.create(rival.encoder, "w")
        context.width, context.height, context.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        context.time_base, context.framerate = 1 / fps, fps
        context.gop_size, context.thread_count = gop, 1
        context.options = _options(rival, gop, crf)
        packets, lap = clocked(lambda: [p for frame in (*frames, None) for p in context.encode(frame)])
    except (av.FFmpegError, ValueError) as error:
        raise BackendError(f"{rival.encoder} cannot encode this: {error}") from error
    return CodedVideo(packets, _payloads(rival, packets), lap)


def decode_rival(rival: Rival, coded: CodedVideo) -> Iterator[np.ndarray]:
    """Decode to R'G'B' pictures, uint8 [H, W, 3], in presentation order."""
    convert: PictureConverter | None = None
    for frame in _decoded(rival, coded):
        if convert is None:
            convert = PictureConverter(frame, None, Fraction(1), lambda line: None)
        yield convert(frame)


def decode_rival_lap(rival: Rival, coded: CodedVideo) -> Lap:
    """Time of decoding to 4:2:0 planes in memory, one thread."""
    return clocked(lambda: deque(_decoded(rival, coded), maxlen=0))[1]


def match_bytes(
    rival: Rival, planes: Sequence[np.ndarray] | np.ndarray, fps: Fraction, gop: int, n_bytes: int
) -> tuple[float, CodedVideo]:
    """Find the CRF, in the rival's steps, whose file is nearest in size to `n_bytes`.

    Returns:
        (CRF, its stream); the coarsest CRF where even that needs more.
    """
    tried: dict[float, CodedVideo] = {}

    def at(step: int) -> CodedVideo:
        crf = step / rival.steps
        if crf not in tried:
            tried[crf] = encode_rival(rival, planes, fps, gop, crf)
        return tried[crf]

    low, high = rival.steps, int(rival.coarsest * rival.steps)  # the finer of the two needs more bytes
    while high - low > 1:
        middle = (low + high) // 2
        if at(middle).n_bytes > n_bytes:
            low = middle
        else:
            high = middle
    nearest = min((low, high), key=lambda step: abs(math.log(at(step).n_bytes / n_bytes)))
    return nearest / rival.steps, at(nearest)


def _options(rival: Rival, gop: int, crf: float) -> dict[str, str]:
    said = any("{crf}" in text for text in rival.options.values())
    options = rival.options if said else {**rival.options, "crf": "{crf}"}
    return {name: text.format(gop=gop, crf=f"{crf:g}") for name, text in options.items()}


def _decoded(rival: Rival, coded: CodedVideo) -> Iterator[Any]:
    name = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "libdav1d"}[rival.encoder]
    context: Any = av.CodecContext.create(name, "r")
    context.thread_count = 1
    for packet in coded.packets:
        yield from context.decode(packet)
    yield from context.decode(None)


def _payloads(rival: Rival, packets: list[Any]) -> list[bytes]:
    """Bytes of each packet without the units that `rival.dropped` names."""
    if not rival.dropped:
        return [bytes(p) for p in packets]
    name = f"filter_units=remove_types={rival.dropped}"
    context = av.bitstream.BitStreamFilterContext(name, _FILTERS[rival.encoder])
    payloads = []
    for packet in packets:
        copy = av.Packet(bytes(packet))
        copy.pts, copy.dts = packet.pts, packet.dts
        payloads.append(b"".join(bytes(p) for p in context.filter(copy)))
    context.filter(None)
    return payloads
