"""The person by another network than ours: rembg's `u2net_human_seg`, as in the paper, or any model in ONNX.

rembg is only asked to fetch the model and to open it. What goes in and comes out is handled here, because
rembg stretches every mask to the full range, so that a room without anybody gets a matte of noise, and
because the model's file alone, without rembg, is enough to run it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gscodec.errors import BackendError, ConfigError, install_extra

MODEL = "u2net_human_seg"
DEFAULT_SIDE = 320  # pixels, where a model leaves its input's size open
# Means and deviations of ImageNet, R G B: what u2net and most segmentation models were trained with.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def find_model() -> Path | None:
    """Return where rembg has put, or would find, the file of `u2net_human_seg`; None when it is nowhere."""
    # Path.is_file raises where a folder may not be looked into.
    return next((path for path in model_places() if os.path.isfile(path)), None)


def model_places() -> list[Path]:
    """Return the paths that rembg uses for the model: its present one first, then those of older versions."""
    data = os.environ.get("XDG_DATA_HOME")
    older = os.environ.get("U2NET_HOME") or os.path.join(data or "~", ".u2net")
    newer = os.environ.get("REMBG_HOME") or (os.path.join(data, "rembg") if data else "~/.rembg")
    if os.environ.get("U2NET_HOME"):
        newer = older
    places = [Path(newer, "models", MODEL), Path(newer, MODEL), Path(older)]
    return [folder.expanduser() / f"{MODEL}.onnx" for folder in places]


class HumanMatter:
    """Finds people with a network; every frame on its own."""

    name = "human"

    def __init__(self, matte_model: str | None = None) -> None:
        """Open the model.

        Args:
            matte_model: path of an ONNX file; None: `u2net_human_seg`, fetched by rembg where it is missing.
        Raises:
            BackendError: there is no model, or nothing to run it with; says what to do.
            ConfigError: the given file is no model with one image input, float [1, 3, h, w].
        """
        if matte_model is not None:
            self._session = _open_model(Path(matte_model), given=True)
            self._label = f"--matte-model {matte_model}"
        else:
            path = find_model()
            self._session = _session_of_rembg() if path is None else _open_model(path, given=False)
            self._label = MODEL
        self._input, self._width, self._height = _image_input(self._session, self._label)
        self._logits = False  # whether the output was ever seen outside [0, 1]

    def reset(self) -> None:
        """Do nothing: no frame depends on another."""

    def matte(self, pixels: np.ndarray) -> np.ndarray:
        """Return the matte of a frame.

        Args:
            pixels: uint8 [H, W, 3], R'G'B'.
        Returns:
            float32 [H, W] in [0, 1], 1 on people; all near 0 in an empty room.
        Raises:
            ConfigError: the model's output is not one mask, [1, 1 or 2, h, w] or [1, h, w].
        """
        height, width = pixels.shape[:2]
        size = self._width, self._height
        shrinking = width > size[0] or height > size[1]
        image = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
        # Over the brightest value, not over 255: u2net was trained so, and dark rooms gain by it.
        scaled = image.astype(np.float32) / max(1.0, float(image.max()))
        planes = ((scaled - MEAN) / DEVIATION).transpose(2, 0, 1)[None]
        try:
            output = self._session.run(None, {self._input: np.ascontiguousarray(planes)})[0]
        except Exception as error:  # onnxruntime's classes have no common base of their own
            raise ConfigError(f"{self._label}: the model cannot be run: {_first_line(error)}") from error
        mask = self._mask_of(np.asarray(output))
        return np.clip(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)

    def _mask_of(self, output: np.ndarray) -> np.ndarray:
        """Turn the network's output into probabilities, float32 [h, w].

        Values outside [0, 1] make it logits, for good; then, and only then, they are squashed. Nothing is
        ever stretched. Of two channels the last one is the person.
        """
        planes = output.astype(np.float32)
        planes = planes[None] if planes.ndim == 3 else planes
        if planes.ndim != 4 or planes.shape[0] != 1 or planes.shape[1] not in (1, 2):
            raise ConfigError(
                f"{self._label}: the model's first output has shape {list(output.shape)}; "
                "expected one mask, [1, 1, h, w], [1, 2, h, w] (room, person) or [1, h, w]"
            )
        values = np.nan_to_num(planes[0])
        self._logits |= bool(values.min() < -1e-3 or values.max() > 1 + 1e-3)
        if not self._logits:
            return values[-1]
        # Softmax over two channels is the logistic function of their difference.
        odds = values[0] if len(values) == 1 else values[1] - values[0]
        return 1 / (1 + np.exp(-np.clip(odds, -30, 30)))


def _open_model(path: Path, *, given: bool) -> Any:
    """Return onnxruntime's session for a file; `given` tells whether the user named it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing("onnxruntime, which runs the model, is not installed") from error
    if not path.is_file():
        raise ConfigError(f"--matte-model {path}: no such file; expected a segmentation model in ONNX format")
    onnxruntime.set_default_logger_severity(4)  # it writes to stderr what it also raises
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's classes have no common base of their own
        reason = _first_line(error)
        if given:
            raise ConfigError(f"--matte-model {path} is not a usable ONNX model: {reason}") from error
        raise BackendError(f"{path} is damaged ({reason}); delete it and fetch it again") from error


def _session_of_rembg() -> Any:
    """Let rembg fetch the model and open it; return onnxruntime's session."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise _missing("onnxruntime, which runs it, is not installed")
    try:
        # It prints and calls sys.exit when it does not like its onnxruntime; standard output may be a video.
        with contextlib.redirect_stdout(io.StringIO()):
            import rembg
    except ImportError as error:
        raise _missing("rembg, which would fetch it, is not installed") from error
    except SystemExit as error:
        raise _missing("rembg, which would fetch it, does not start with this onnxruntime") from error
    try:
        # By name: rembg's default model is not free for commercial use.
        with contextlib.redirect_stdout(io.StringIO()):
            return rembg.new_session(MODEL).inner_session
    except (
        Exception
    ) as error:  # no network is requests.ConnectionError, HTTPError, OSError … by rembg's version
        raise _missing(f"rembg could not fetch it: {_first_line(error)}") from error


def _missing(reason: str) -> BackendError:
    return BackendError(
        f"--matte-model {MODEL} needs the file {MODEL}.onnx, which is not at {model_places()[0]} ({reason}). "
        "Put it there (from the releases of github.com/danielgatis/rembg) and "
        f"{install_extra('matting')}; or name another ONNX model with --matte-model FILE; "
        "or leave --matte-model out: gscodec brings a network of its own"
    )


def _image_input(session: Any, label: str) -> tuple[str, int, int]:
    """Return name, width and height of the model's image input.

    Raises:
        ConfigError: there is more than one input, or it is not float [1, 3, h, w].
    """
    inputs = session.get_inputs()
    found = ", ".join(f"{i.name} {i.type} {list(i.shape)}" for i in inputs)
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    fixed = [n if isinstance(n, int) and n > 0 else None for n in shape]
    right = len(fixed) == 4 and fixed[0] in (None, 1) and fixed[1] in (None, 3)
    if not right or inputs[0].type != "tensor(float)":
        raise ConfigError(f"{label}: the model takes {found}; expected one image, tensor(float) [1, 3, h, w]")
    height, width = fixed[2] or DEFAULT_SIDE, fixed[3] or DEFAULT_SIDE
    return inputs[0].name, width, height


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
