"""Frames and untouched side packets -> video file. The counterpart is `video.reader`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from math import lcm
from types import SimpleNamespace, TracebackType
from typing import Any, BinaryIO, Self

import av
import numpy as np

from gscodec.errors import MediaError
from gscodec.filenames import is_pattern
from gscodec.video.atomic import atomic_path, descriptor_of, open_descriptor
from gscodec.video.color import BT601
from gscodec.video.containers import (
    CONSTANT_RATE,
    ISO_MEDIA,
    MILLISECONDS,
    PICTURES_ONLY,
    UNSIGNED,
    UNTAGGED,
    container_name,
)
from gscodec.video.frame import Frame, SidePacket, SideStream, VideoFormat
from gscodec.video.output_format import choose_encoder, choose_pix_fmt
from gscodec.video.output_picture import OutputConverter
from gscodec.video.sequence import numbered_files
from gscodec.video.sidestreams import (
    add_output_stream,
    check_sample_file,
    open_head,
    to_av_packet,
    write_sample_file,
)

_OPTIONS = {
    "libx265": {"x265-params": "log-level=error"},  # it prints on stderr otherwise
    "mjpeg": {"qmin": "2", "qmax": "2"},  # else as many bits as 200 kb/s leave
}
_FOREIGN = (av.FFmpegError, OSError, ValueError, ArithmeticError)


class VideoWriter:
    """Writes one video; the file appears under its name when the writer is closed without an exception.

    Times are kept as they are: the stream's clock is set to `format.time_base`. Matroska, WebM and FLV have
    a clock of 1 ms, AVI and Y4M number their pictures at `format.frame_rate`: there times are rounded, with
    a line in `warnings`. Pixels are converted with the matrix and range of `format`, which are written as
    tags; an unspecified matrix follows the reader's rule (BT.601 below 720 lines, else BT.709) and stays
    unspecified. So does Y4M, which cannot say.

    A name such as frames/%05d.png (.jpg, .webp) is a picture for each frame, numbered from 1; x.png is one
    picture. Lossless encoders (FFV1, raw pictures, PNG) get RGB unless `pix_fmt` says otherwise; only .yuv is
    4:2:0 and limited range by its name.

    Attributes:
        warnings: one line each for side streams that the container cannot hold and for rounded times.
        notes: one line each that a reader of the file needs and the file itself does not say.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        format: VideoFormat,
        *,
        side_streams: Sequence[SideStream] = (),
        metadata: Mapping[str, str] | None = None,
        vcodec: str | None = None,
        crf: float | None = None,
        preset: str | None = None,
        pix_fmt: str | None = None,
        container: str | None = None,
        alpha: bool = False,
    ):
        """Create the file and write its head.

        Args:
            path: where to; "-" is standard output and needs `container`.
            format: size, clock, shape and colours of every frame that will come.
            side_streams: recreated from their extradata; those that the container cannot hold are left out.
            metadata: tags of the container.
            vcodec: FFmpeg's name of an encoder; None takes libx264 or else what the container prefers. Y4M
                is always raw.
            crf, preset: of the encoder; None leaves its own default.
            pix_fmt: None takes yuv420p; for odd sizes, which 4:2:0 encoders refuse, yuv444p.
            container: FFmpeg's name or an extension; None goes by the extension of `path`.
            alpha: frames are R'G'B'A, straight (not premultiplied), 255 opaque. Containers and encoders that
                carry it are in `output_format.ALPHA_CARRIERS`: MOV takes ProRes 4444 unasked, Matroska FFV1,
                WebM VP9.

        Raises:
            MediaError: the place cannot be written, or a setting is not permitted (the message lists some).
            CorruptError: extradata of a side stream are damaged.
        """
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.format = format
        self._path = os.fspath(path)
        self._muxer = container_name(self._path, container)
        self._alpha = alpha
        self._last_pts: int | None = None
        self._last_tick: int | None = None
        self._durations: dict[int, int] = {}  # pts -> ticks of the frames that are inside the encoder
        self._side_streams = side_streams
        self._side_outputs: list[Any] = []
        self._stack = ExitStack()
        self._output: Any = None
        self._sink: BinaryIO | None = None
        try:
            self._open(metadata or {}, vcodec, crf, preset, pix_fmt)
        except BaseException as error:
            self._abort(error)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._abort(error)

    def write(self, frame: Frame) -> None:
        """Encode one frame.

        Args:
            frame: uint8 [height, width, 3], with alpha [height, width, 4], of `format`'s size; pts in
                `format.time_base`, larger than the one before.

        Raises:
            MediaError: wrong shape or time, or the encoder or the disk failed.
        """
        shape = (self.format.height, self.format.width, 4 if self._alpha else 3)
        if frame.pixels.shape != shape or frame.pixels.dtype != np.uint8:
            raise MediaError(
                f"{self._path}: frame of {frame.pixels.dtype} {frame.pixels.shape}; expected uint8 {shape}"
            )
        if self._last_pts is not None and frame.pts <= self._last_pts:
            raise MediaError(
                f"{self._path}: frame time {frame.pts} after {self._last_pts}; expected a later one"
            )
        if self._last_pts is not None and self._muxer == "image2" and not is_pattern(self._path):
            stem, extension = os.path.splitext(self._path)
            raise MediaError(
                f"{self._path}: is one picture, and a second frame came; "
                f"number them ({stem}%05d{extension}) or take --frames 1"
            )
        self._last_pts = frame.pts
        with self._translate("cannot encode"):
            picture = self._convert(frame.pixels)
            picture.pts = self._tick_of(frame.pts)
            picture.time_base = self._time_base
            if frame.duration > 0 and self._muxer not in CONSTANT_RATE:
                self._durations[picture.pts] = frame.duration
            self._mux(self._stream.encode(picture))

    def write_side(self, packet: SidePacket) -> None:
        """Copy one packet to its stream; nothing happens when that stream was left out.

        Raises:
            MediaError: unknown stream, or the container or the disk refused it.
        """
        if not 0 <= packet.stream < len(self._side_outputs):
            raise MediaError(
                f"{self._path}: packet of side stream {packet.stream}, there are {len(self._side_outputs)}"
            )
        stream = self._side_outputs[packet.stream]
        if stream is None:
            return
        time_base = self._side_streams[packet.stream].time_base
        with self._translate(f"cannot write the {stream.type} stream"):
            self._output.mux(to_av_packet(packet, time_base, stream))

    def close(self) -> None:
        """Finish the file and give it its name; a second call does nothing.

        Raises:
            MediaError: the encoder or the disk failed; nothing is left under the name then.
        """
        if self._output is None:
            return
        try:
            with self._translate("cannot be finished"):
                self._mux(self._stream.encode(None))
                self._output.close()
                self._output = None
                if self._sink is not None:
                    self._sink.close()
        except BaseException as error:
            self._abort(error)
            raise
        self._stack.close()

    def _open(
        self,
        metadata: Mapping[str, str],
        vcodec: str | None,
        crf: float | None,
        preset: str | None,
        pix_fmt: str | None,
    ) -> None:
        number = descriptor_of(self._path)
        place: Any = None
        if self._muxer == "image2":
            place = self._stack.enter_context(numbered_files(self._path))
        elif number is None:
            place = self._stack.enter_context(atomic_path(self._path))
        else:
            self._sink = self._stack.enter_context(open_descriptor(number, self._path))
        with self._translate("cannot be opened"):
            self._time_base = self._choose_time_base()
            target: Any = os.fspath(place) if place else None
            if self._sink is None and self._muxer != "image2" and not os.path.isfile(place):
                self._sink = open(place, "wb")  # noqa: SIM115 (close and _abort close it)
            if self._sink is not None:
                # FFmpeg drops a failure to write the last bytes to a pipe or device; Python's close does not.
                target = SimpleNamespace(write=self._sink.write)
            options = self._muxer_options(seekable=self._sink is None)
            self._output = av.open(target, "w", format=self._muxer, container_options=options)
        default = self._output.default_video_codec
        encoder = choose_encoder(self._path, self._muxer, vcodec, default, self._alpha)
        self._stream = self._add_video(encoder, crf, preset, pix_fmt)
        self._output.metadata.update(metadata)
        self._add_side_streams()
        what = f"{self._muxer} refuses {encoder}, {self._stream.pix_fmt}, preset {preset}, crf {crf}"
        with self._translate(what):
            self._output.start_encoding()
        if unused := self._stream.codec_context.options.keys() & {"crf", "preset"}:
            names = " or ".join(sorted(unused))
            raise MediaError(f"{self._path}: encoder {encoder} has no setting {names}; leave it out")

    def _muxer_options(self, seekable: bool) -> dict[str, str]:
        options = {} if seekable else {"flush_packets": "1"}
        if self._muxer in ISO_MEDIA:
            # FFmpeg would raise a slow clock, and round where a track begins to 1 ms.
            clock = self._time_base.denominator
            common = lcm(clock, *(s.time_base.denominator for s in self._side_streams))
            options["video_track_timescale"] = str(clock)
            options["movie_timescale"] = str(common if common < 1 << 31 else clock)
            if not seekable:
                options["movflags"] = "frag_keyframe+delay_moov"
        if self._muxer in MILLISECONDS - UNSIGNED:
            # Sound that starts before zero (an encoder's delay) would otherwise shift the whole file.
            options["avoid_negative_ts"] = "disabled"
        return options

    def _choose_time_base(self) -> Fraction:
        time_base = self.format.time_base
        if self._muxer in CONSTANT_RATE:
            return 1 / self.format.frame_rate
        if self._muxer in MILLISECONDS and 1000 % time_base.denominator:
            self._warn(f"{self._muxer} has a clock of 1 ms; times in {time_base} s are rounded to it")
        return time_base

    def _add_video(self, encoder: str, crf: float | None, preset: str | None, pix_fmt: str | None) -> Any:
        options = dict(_OPTIONS.get(encoder, {}))
        if crf is not None:
            options["crf"] = f"{crf:g}"
        if preset is not None:
            options["preset"] = preset
        if encoder == "rawvideo":
            options = {}  # nothing to set; the usual settings must not make .y4m fail
        if self._muxer == "avi":
            options["bf"] = "0"  # AVI has no presentation times
        if encoder == "libsvtav1":
            os.environ.setdefault("SVT_LOG", "1")  # no option keeps it from printing on stderr
        form = self.format
        if self._muxer == "image2":
            form = replace(form, matrix=BT601)  # what JPEG has, whatever the size
        odd = bool(form.width % 2 or form.height % 2)
        pix_fmt = choose_pix_fmt(self._path, self._muxer, encoder, pix_fmt, odd, self._alpha)
        with self._translate(f"encoder {encoder}"):
            stream: Any = self._output.add_stream(encoder, rate=form.frame_rate, options=options)
            context = stream.codec_context
            context.width, context.height, context.pix_fmt = form.width, form.height, pix_fmt
            context.time_base = stream.time_base = self._time_base
            context.sample_aspect_ratio = form.sample_aspect_ratio
            tagged = self._muxer not in UNTAGGED
            self._convert = OutputConverter(context, form, tagged=tagged, alpha=self._alpha)
        if self._muxer == "rawvideo":
            self.notes.append(
                f"{self._path}: raw pictures without a head: {form.width}x{form.height}, {pix_fmt}, "
                f"{form.frame_rate} frames a second"
            )
        return stream

    def _add_side_streams(self) -> None:
        for number, side_stream in enumerate(self._side_streams):
            template, facts = open_head(side_stream, self._stack)
            try:
                if self._muxer in PICTURES_ONLY:
                    raise ValueError
                # Some muxers refuse a stream only when they write their head, too late to go on without it.
                check_sample_file(write_sample_file(template, self._muxer, facts), self._muxer, template.type)
                made = add_output_stream(self._output, template, facts)
            except _FOREIGN:
                made = None
                what = f"{side_stream.kind} stream {number} ({side_stream.codec})"
                self._warn(f"{self._muxer} cannot hold {what}; it is left out")
            self._side_outputs.append(made)

    def _tick_of(self, pts: int) -> int:
        if self._muxer not in CONSTANT_RATE:
            return pts
        exact = pts * self.format.time_base / self._time_base
        tick = round(exact)
        if self._last_tick is not None and tick <= self._last_tick:
            tick = self._last_tick + 1
        self._last_tick = tick
        if tick != exact:
            self._warn(
                f"{self._muxer} has a constant frame rate ({self.format.frame_rate}); times are rounded to it"
            )
        return tick

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            duration = self._durations.pop(packet.pts, 0)
            if duration:
                packet.duration = duration
            self._output.mux(packet)
        if self._sink is not None and packets:  # somebody waits at the end of a pipe
            self._sink.flush()

    @contextmanager
    def _translate(self, doing: str) -> Iterator[None]:
        try:
            yield
        except MediaError:
            raise
        except _FOREIGN as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise MediaError(f"{self._path}: {doing}: {reason}") from error

    def _abort(self, error: BaseException) -> None:
        """Throw the unfinished file away: the exit stack sees the exception and deletes it."""
        output, self._output = self._output, None
        if output is not None:
            with suppress(*_FOREIGN):
                output.close()
        if self._sink is not None:
            with suppress(OSError):
                self._sink.close()
        self._stack.__exit__(type(error), error, error.__traceback__)

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)
