"""The clips of a run, decoded to disk: pictures, mattes, and the masked pictures all codecs get alike."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from gscodec.analysis.matting import Matter, make_matter
from gscodec.bench.ondisk import is_full, on_disk
from gscodec.bench.options import BenchOptions
from gscodec.errors import MediaError
from gscodec.metrics import luma
from gscodec.thumbnails import is_scene_cut, thumbnail
from gscodec.video.frame import Frame, VideoFormat
from gscodec.video.picture import output_size
from gscodec.video.reader import open_video
from gscodec.video.writer import VideoWriter

VIDEO_SUFFIXES = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".y4m", ".m4v", ".ts"}
EDGE_SHARE = 1 / 45  # width of the soft edge around the person, of the picture's height
ROI_CODE = 128  # from this matte code on a pixel is of the person
MAX_KEPT_BYTES = 1 << 29  # of masked pictures; those of longer clips are made anew each time
DEMO = "demo"
# What mattes are called in every output.
EXACT = "exact, as the clip was drawn"
WORDS = {"human": "the package's network, on the original", "full": "every pixel"}
DEMO_SIZE, DEMO_FPS = (640, 360), 30


@dataclass(slots=True)
class Clip:
    """One clip, read and matted.

    Attributes:
        sha256: of the file's bytes (of the parameters, for the demo clip).
        path: the file; None where the pictures differ from the file's (the demo clip, odd sizes).
        size: what `encode_file` must be told to get these pictures from the file, None for the file's own.
        frames: uint8 [n, H, W, 3], and of `mattes`: uint8 [n, H, W]. Long clips lie on disk (ondisk.py).
        mattes: what every codec is scored over, and what masked pictures are made with; never from the codec
            that is measured. matte: which they are, in words. fill: R'G'B' of the masked room.
        motion: mean |change| of luma between neighbouring frames at 320x180, code values.
        chosen: which of the clip's frames these are; empty for the first ones.
        folder: where what is made of the frames may be kept for the time being.
    """

    name: str
    sha256: str
    path: Path | None
    size: str | None
    format: VideoFormat
    frames: np.ndarray
    mattes: np.ndarray
    matte: str
    fill: tuple[int, int, int] = (0, 0, 0)
    motion: float = 0.0
    chosen: tuple[int, ...] = ()
    folder: Path | None = None
    _masked: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def width(self) -> int:
        return self.format.width

    @property
    def height(self) -> int:
        return self.format.height

    @property
    def fps(self) -> Fraction:
        return self.format.frame_rate or Fraction(25)

    @property
    def duration_s(self) -> float:
        return float(len(self.frames) / self.fps)

    def roi_mask(self, i: int) -> np.ndarray:  # -> bool [H, W]
        """Pixels of the person; all of them where nobody is."""
        mask = self.mattes[i] >= ROI_CODE
        return mask if mask.any() else np.ones_like(mask)

    def picture(self, i: int, protocol: str) -> np.ndarray:  # -> uint8 [H, W, 3]
        """Frame i as every codec gets it: "whole", or "masked" by `mask_room`."""
        if protocol == "whole":
            return self.frames[i]
        if i in self._masked:
            return self._masked[i]
        masked = mask_room(self.frames[i], self.roi_mask(i), self.fill)
        if len(self.frames) * masked.nbytes <= MAX_KEPT_BYTES:
            self._masked[i] = masked
        return masked

    def pictures(self, protocol: str) -> Iterator[np.ndarray]:
        return (self.picture(i, protocol) for i in range(len(self.frames)))


def shortened(clip: Clip, n_frames: int) -> Clip:
    """The clip's first frames."""
    return replace(clip, frames=clip.frames[:n_frames], mattes=clip.mattes[:n_frames], _masked={})


def picked(clip: Clip, indices: Sequence[int]) -> Clip:
    """Some frames of the clip, which is then coded from memory and not from its file."""
    frames, mattes = clip.frames[list(indices)], clip.mattes[list(indices)]
    return replace(
        clip, path=None, size=None, frames=frames, mattes=mattes, chosen=tuple(indices), _masked={}
    )


def shrunk(clip: Clip, width: int, height: int) -> Clip:
    """The clip at a smaller size, averaged over areas."""

    def small(image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    form = replace(clip.format, width=width, height=height)
    frames, mattes = (on_disk(map(small, images), clip.folder) for images in (clip.frames, clip.mattes))
    return replace(clip, path=None, size=None, format=form, frames=frames, mattes=mattes, _masked={})


def motion_of(frames: np.ndarray) -> float:
    """Mean |change| of luma between neighbouring frames at 320x180, code values."""
    small = (luma(cv2.resize(f, (320, 180), interpolation=cv2.INTER_AREA)) for f in frames)
    changes = [float(np.abs(b - a).mean()) for a, b in pairwise(small)]
    return float(np.mean(changes)) if changes else 0.0


def mask_room(pixels: np.ndarray, roi: np.ndarray, fill: tuple[int, int, int]) -> np.ndarray:
    """Replace the room by one colour. Pixels of the person stay exactly as they are; outside, the picture
    fades to the colour within EDGE_SHARE of the height, along a cosine, so that no codec pays for a hard cut.

    Args:
        pixels: uint8 [H, W, 3]. roi: bool [H, W]. fill: R'G'B' 0–255.
    """
    if roi.all():
        return pixels
    distance = cv2.distanceTransform((~roi).astype(np.uint8), cv2.DIST_L2, 5)
    reach = max(2.0, EDGE_SHARE * roi.shape[0])
    share = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / reach, 0, 1))
    color = np.array(fill, np.float32)
    mixed = color + share[:, :, None].astype(np.float32) * (pixels - color)
    return np.where(roi[:, :, None], pixels, np.rint(mixed).astype(np.uint8))


def find_clips(paths: tuple[Path, ...]) -> list[Path]:
    """List the videos among files and, walking down, folders.

    Raises:
        MediaError: a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
        if not inside:
            raise MediaError(f"{path}: no video below this folder ({', '.join(sorted(VIDEO_SUFFIXES))})")
        found += inside
    return found


def load_clips(options: BenchOptions, n_frames: int, say: Callable[[str], None]) -> Iterator[Clip]:
    """Read the clips one after the other; one that cannot be read is skipped with a line.

    Raises:
        MediaError: not a single one could be read. ConfigError: the matte's mode is unknown.
    """
    make_matter(options.roi)  # an unknown mode is refused before any clip is read
    matte = scoring_matte(options)
    if not options.clips:
        yield _demo_clip(n_frames, options.size, matte)
        return
    matte = matte or "human"
    n_read = 0
    paths = find_clips(options.clips)
    stems = [path.stem for path in paths]
    for path in paths:
        try:
            clip = load_clip(path, options.size, n_frames, matte, options.out / "cache")
        except (MediaError, OSError) as error:
            if is_full(error):
                raise
            say(f"skipped: {error}")
            continue
        if stems.count(path.stem) > 1:
            clip.name = f"{path.resolve().parent.name}_{path.stem}"
        n_read += 1
        yield clip
    if not n_read:
        raise MediaError("none of the clips could be read")


def scoring_matte(options: BenchOptions) -> str | None:
    """What clips are scored over: make_matter's `roi`; None: the demo clip's own matte, others "human".

    With `--roi full` all of the picture is the person to this codec, so that it counts as that for everyone.
    """
    return "full" if options.matte is None and options.roi == "full" else options.matte


def load_clip(path: Path, size: str | None, n_frames: int, matte: str, cache: Path | None = None) -> Clip:
    """Read up to n_frames of a video and matte them; mattes are kept in `cache`.

    Args:
        matte: what makes them, as `roi` of make_matter.
    Raises:
        MediaError: it or the matte's file cannot be read. ConfigError: `matte` is unknown.
    """
    size = _shrinking(path, size)
    with open_video(path, size=size, max_frames=n_frames) as reader:
        form = reader.format
        even = (form.height // 2 * 2, form.width // 2 * 2)
        if not all(even):
            raise MediaError(f"{path}: pictures of {form.width}x{form.height}; expected at least 2x2")
        pixels = (item.pixels[: even[0], : even[1]] for item in reader if isinstance(item, Frame))
        frames = on_disk(pixels, cache)
    # 4:2:0 needs even sizes, and all get the same pictures
    source = path if even == (form.height, form.width) else None
    form = VideoFormat(even[1], even[0], form.time_base, form.frame_rate)
    digest = _sha256(path)
    said = matte_in_words(matte)
    key = hashlib.sha256(f"{digest} {even} {len(frames)} {said} {_matting_code()}".encode()).hexdigest()[:16]
    mattes = _mattes(frames, matte, cache / f"mattes-{key}.npz" if cache else None)
    fill = _fill_color(frames[0], mattes[0])
    motion = motion_of(frames)
    return Clip(path.stem, digest, source, size, form, frames, mattes, said, fill, motion, folder=cache)


def write_raw(clip: Clip, protocol: str, folder: Path) -> tuple[Path, Path]:
    """Write pictures and mattes as uncompressed videos, for `encode_file` to read instead of the clip.

    Returns:
        (pictures, mattes).
    """
    form = VideoFormat(clip.width, clip.height, 1 / clip.fps, clip.fps, full_range=True)
    pictures, mattes = folder / "pictures.nut", folder / "mattes.nut"
    try:
        for path, images in ((pictures, clip.pictures(protocol)), (mattes, (m for m in clip.mattes))):
            with VideoWriter(path, form, vcodec="rawvideo", pix_fmt="rgb24") as writer:
                for i, image in enumerate(images):
                    rgb = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
                    writer.write(Frame(np.ascontiguousarray(rgb), i, 1))
    except BaseException:
        pictures.unlink(missing_ok=True)  # large, and nobody would look for it
        raise
    return pictures, mattes


def matte_in_words(matte: str) -> str:
    """Which matte a `roi` of make_matter stands for; of a file also what it holds."""
    if matte in WORDS:
        return WORDS[matte]
    return (
        f"{Path(matte).name}, SHA-256 begins {_sha256(Path(matte))[:16]}" if os.path.isfile(matte) else matte
    )


def _demo_clip(n_frames: int, size: str | None, matte: str | None) -> Clip:
    from gscodec.bench.democlip import demo_frames

    width, height = output_size(size, *DEMO_SIZE)
    width, height = width // 2 * 2, height // 2 * 2
    made = list(demo_frames(n_frames, width, height, DEMO_FPS))
    frames = np.stack([pixels for pixels, _ in made])
    if matte is None:
        mattes, said = np.stack([(m * 255 + 0.5).astype(np.uint8) for _, m in made]), EXACT
    else:
        mattes, said = _mattes(frames, matte, None), matte_in_words(matte)
    digest = hashlib.sha256(b"".join(f.tobytes() for f in frames[:2])).hexdigest()
    form = VideoFormat(width, height, Fraction(1, DEMO_FPS), Fraction(DEMO_FPS))
    fill, motion = _fill_color(frames[0], mattes[0]), motion_of(frames)
    return Clip(DEMO, digest, None, None, form, frames, mattes, said, fill, motion)


def _shrinking(path: Path, size: str | None) -> str | None:
    """`size`, or None where the clip is not larger than it."""
    if size is None:
        return None
    with open_video(path, max_frames=1) as reader:
        width, height = reader.format.width, reader.format.height
    wanted = output_size(size, width, height)
    return size if wanted[0] * wanted[1] < width * height else None


def _mattes(frames: np.ndarray, matte: str, cache: Path | None) -> np.ndarray:
    if cache and cache.is_file():
        try:
            with np.load(cache) as kept:
                return np.asarray(kept["mattes"])
        except (OSError, ValueError, KeyError):
            cache.unlink()
    matter = make_matter(matte)
    mattes = on_disk(_found(frames, matter), cache.parent if cache else None)
    if cache:
        part = cache.with_suffix(".part.npz")
        try:
            np.savez_compressed(part, mattes=mattes)
            part.replace(cache)
        finally:
            part.unlink(missing_ok=True)
    return mattes


def _found(frames: np.ndarray, matter: Matter) -> Iterator[np.ndarray]:
    before = None
    for pixels in frames:
        now = thumbnail(pixels)
        if is_scene_cut(before, now):
            matter.reset()
        before = now
        yield matter.codes(pixels)


def _fill_color(pixels: np.ndarray, matte: np.ndarray) -> tuple[int, int, int]:
    """The person's mean colour in the first frame: smooth, and near to what the edge fades from."""
    roi = matte >= ROI_CODE
    red, green, blue = np.rint((pixels[roi] if roi.any() else pixels.reshape(-1, 3)).mean(axis=0)).astype(int)
    return int(red), int(green), int(blue)


def _matting_code() -> str:
    from gscodec.bench.cache import code_digest

    return code_digest(("analysis",))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
