"""Which encoder writes a video, and in which of its pixel formats."""

from __future__ import annotations

import os

import av

from gscodec.errors import MediaError
from gscodec.video.containers import CONTAINER_NAMES, ENCODER_NAMES, can_hold

IMAGE_ENCODERS = {".png": "png", ".jpg": "mjpeg", ".jpeg": "mjpeg", ".webp": "libwebp"}

# What carries alpha: FFmpeg's name of a muxer -> encoders, first the one that is taken unasked. A test
# decodes each pair; others may write a file whose alpha no reader finds (HEVC, VP9 in MP4).
ALPHA_CARRIERS = {
    "mov": ("prores_ks", "qtrle", "png"),
    "webm": ("libvpx-vp9",),
    "matroska": ("ffv1", "libvpx-vp9", "prores_ks", "rawvideo"),
    "image2": ("png", "libwebp"),
    "rawvideo": ("rawvideo",),
}
_ALPHA_FORMATS = {
    "prores_ks": "yuva444p10le",
    "libvpx-vp9": "yuva420p",
    "ffv1": "bgra",
    "qtrle": "argb",
    "png": "rgba",
    "libwebp": "bgra",
    "rawvideo": "rgba",
}
_CARRIER_NAMES = {
    ".mov": "mov",
    ".webm": "webm",
    ".mkv": "matroska",
    "pictures such as frames/%05d.png": "image2",
    "-f rawvideo": "rawvideo",
}
_Y4M_FORMATS = ["yuv420p", "yuv422p", "yuv444p", "yuv411p", "gray"]  # of 8 bit: those that its head can name
_RAW_RGB = {"avi": "bgr24", "matroska": "rgba"}  # of the RGB formats the one that such a file can name
_RGB_FORMATS = ("bgr0", "gbrp", "rgb24", "bgr24", "bgra")  # 8 bit, in the order in which they are taken


def choose_encoder(path: str, muxer: str, vcodec: str | None, default: str | None, alpha: bool) -> str:
    """Return FFmpeg's name of the encoder to write a file with.

    Args:
        path: for messages. muxer: FFmpeg's name.
        vcodec: an encoder that is asked for; None takes one that fits.
        default: what the muxer itself prefers.
        alpha: the pictures have alpha.

    Raises:
        MediaError: the encoder is unknown, or the container takes no such video.
    """
    if muxer == "image2":
        vcodec = _image_encoder(path, vcodec)
    elif vcodec is not None:
        _check_encoder(path, muxer, vcodec)
    if alpha:
        return _alpha_encoder(path, muxer, vcodec)
    if muxer == "yuv4mpegpipe":
        return "rawvideo"
    if muxer == "rawvideo":  # it would take the packets of any encoder: a stream that its name belies
        if vcodec not in (None, "rawvideo"):
            raise MediaError(
                f"{path}: holds raw pictures, not {vcodec}; give the target another extension or -f"
            )
        return "rawvideo"
    if vcodec is not None:
        return vcodec
    encoder = next((name for name in ENCODER_NAMES if can_hold(muxer, name)), default)
    if encoder in (None, "none"):
        others = ", ".join(CONTAINER_NAMES)
        raise MediaError(f"{path}: {muxer} holds no video; permitted among others: {others}")
    return encoder


def choose_pix_fmt(path: str, muxer: str, encoder: str, pix_fmt: str | None, odd: bool, alpha: bool) -> str:
    """Return FFmpeg's name of the pixel format to encode in.

    Args:
        path: for messages, and .yuv is yuv420p.
        pix_fmt: one that is asked for; None takes yuv420p where the encoder has it; for odd sizes, which
            encoders of 4:2:0 refuse, yuv444p; RGB where the encoder is a lossless one; with alpha the best
            that players know.
        odd: width or height is.
        alpha: the pictures have alpha.

    Raises:
        MediaError: the encoder has no such format, or it has no alpha where that is needed.
    """
    permitted = [f.name for f in av.Codec(encoder, "w").video_formats or ()]
    if muxer == "yuv4mpegpipe":
        permitted = _Y4M_FORMATS
    if pix_fmt is not None:
        _check_pix_fmt(path, encoder, pix_fmt, permitted, alpha)
        return pix_fmt
    if alpha:
        return _ALPHA_FORMATS[encoder]
    wanted: tuple[str, ...] = ("yuv444p", "yuv420p") if odd else ("yuv420p", "yuv444p")
    if encoder == "mjpeg" and muxer == "image2":
        wanted = ("yuvj444p", "yuvj420p")  # JPEG files are full range
    elif encoder == "rawvideo":
        if muxer != "yuv4mpegpipe" and not path.lower().endswith(".yuv"):
            return _RAW_RGB.get(muxer, "rgb24")
    elif is_lossless(encoder):
        wanted = (*_RGB_FORMATS, *wanted)
    elif muxer == "image2":
        wanted = ("bgra", *wanted)  # WebP: it makes its own 4:2:0 of it
    return next((name for name in wanted if not permitted or name in permitted), (*permitted, "yuv420p")[0])


def is_lossless(encoder: str) -> bool:
    """Whether an encoder's codec is a lossless one; H.264 and WebP, which can be, are not."""
    codec = av.Codec(encoder, "w")
    return codec.lossless and not codec.lossy


def has_alpha(pix_fmt: str) -> bool:
    """Whether pictures of this format say how opaque they are."""
    return any(component.is_alpha for component in av.VideoFormat(pix_fmt).components)


def _check_pix_fmt(path: str, encoder: str, pix_fmt: str, permitted: list[str], alpha: bool) -> None:
    if permitted and pix_fmt not in permitted:
        names = ", ".join(permitted)
        raise MediaError(f"{path}: {encoder} has no pix_fmt {pix_fmt!r}; permitted: {names}")
    try:
        av.VideoFormat(pix_fmt)
    except ValueError as error:
        names = "rgb24, rgba, yuv420p, yuv444p"
        raise MediaError(
            f"{path}: pix_fmt {pix_fmt!r} is unknown to FFmpeg; permitted among others: {names}"
        ) from error
    if alpha and not has_alpha(pix_fmt):
        names = ", ".join(filter(has_alpha, permitted)) or _ALPHA_FORMATS[encoder]
        raise MediaError(f"{path}: pix_fmt {pix_fmt!r} has no alpha; {encoder} has it with: {names}")


def _image_encoder(path: str, vcodec: str | None) -> str:
    encoder = IMAGE_ENCODERS[os.path.splitext(path)[1].lower()]
    if vcodec not in (None, encoder):
        raise MediaError(f"{path}: vcodec {vcodec!r} makes no such picture; permitted: {encoder}")
    return encoder


def _check_encoder(path: str, muxer: str, vcodec: str) -> None:
    try:
        known = av.Codec(vcodec, "w").type == "video"
    except ValueError:
        known = False
    if not known or not can_hold(muxer, vcodec):
        what = f"cannot be put into {muxer}" if known else "is not a video encoder of this FFmpeg"
        permitted = ", ".join(name for name in ENCODER_NAMES if can_hold(muxer, name)) or "none"
        raise MediaError(f"{path}: vcodec {vcodec!r} {what}; permitted: {permitted}")


def _alpha_encoder(path: str, muxer: str, vcodec: str | None) -> str:
    carriers = ALPHA_CARRIERS.get(muxer, ())
    if vcodec in carriers or (carriers and vcodec is None):
        return vcodec or carriers[0]
    what = f"{muxer} with encoder {vcodec}" if vcodec else muxer
    able = "; ".join(f"{name} ({', '.join(ALPHA_CARRIERS[m])})" for name, m in _CARRIER_NAMES.items())
    raise MediaError(f"{path}: {what} carries no alpha; these do: {able}")
