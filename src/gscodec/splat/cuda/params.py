"""The kernels' parameter structs, field for field as in csrc/*.cu, and the kernels' constants."""

from __future__ import annotations

import ctypes
from ctypes import c_double, c_float, c_int, c_uint, c_void_p

# csrc/raster.cuh, csrc/fit_pass.cuh
WARPS = 8
THREADS = 32 * WARPS
TILE_W = 32
CELL = 256
SLOTS = 32
MAX_SIDE = 32767  # boxes are 16-bit


def channels_of(blend: str, has_person: bool = False) -> int:
    """What is summed of a pixel: the macro that every kernel which draws or fits is compiled with.

    Args:
        has_person: the person is told from the room; only under the normalised blend.
    """
    return 3 if blend == "sum" else 4 + has_person


def tile_height(rows: int) -> int:
    """Height of a block's tile when each thread has `rows` pixels."""
    return 8 * rows


class Scene(ctypes.Structure):
    _fields_ = [
        ("first", c_void_p),
        ("params", c_void_p),
        ("prepared", c_void_p),
        ("boxes", c_void_p),
        ("amplitudes", c_void_p),
        ("is_room", c_void_p),
        ("cell_lists", c_void_p),
        ("cell_counts", c_void_p),
        ("pictures", c_int),
        ("width", c_int),
        ("height", c_int),
        ("tiles_x", c_int),
        ("tiles_y", c_int),
        ("cells_x", c_int),
        ("cells_y", c_int),
        ("capacity", c_int),
    ]


class Lists(ctypes.Structure):
    _fields_ = [
        ("indices", c_void_p),
        ("counts", c_void_p),
        ("anchors", c_void_p),
        ("capacity", c_int),
        ("margin", c_int),
    ]


class DrawParams(ctypes.Structure):
    _fields_ = [
        ("scene", Scene),
        ("picture", c_void_p),
        ("rgb", c_void_p),
        ("alpha", c_void_p),
        ("nv12", c_void_p),
        ("target", c_void_p),
        ("residual", c_void_p),
        ("sums", c_void_p),
        ("persons", c_void_p),
        ("grounds", c_void_p),
        ("one_target", c_int),
        ("adds", c_int),
        ("pitch", c_int),
        ("matrix", c_float * 9),
        ("ground", c_float * 3),
        ("background", c_float * 3),
        ("luma", c_float * 4),
        ("chroma_b", c_float * 4),
        ("chroma_r", c_float * 4),
    ]


class TargetParams(ctypes.Structure):
    _fields_ = [
        ("rgb", c_void_p),
        ("picture", c_void_p),
        ("weight", c_void_p),
        ("weight_codes", c_void_p),
        ("target", c_void_p),
        ("roi_pixels", c_void_p),
        ("pictures", c_int),
        ("pixels", c_int),
        ("matrix", c_float * 9),
    ]


class GatherParams(ctypes.Structure):
    _fields_ = [("scene", Scene), ("by_picture", c_void_p), ("residual", c_void_p), ("gradient", c_void_p)]


class Targets(ctypes.Structure):
    _fields_ = [
        ("pixels", c_void_p),
        ("mattes", c_void_p),
        ("others", c_void_p),
        ("others_person", c_void_p),
        ("matte_weight", c_float),
    ]


class FitParams(ctypes.Structure):
    _fields_ = [
        ("scene", Scene),
        ("lists", Lists),
        ("targets", Targets),
        ("roi_pixels", c_void_p),
        ("gradient", c_void_p),
        ("momentum", c_void_p),
        ("sums", c_void_p),
        ("flags", c_void_p),
        ("empty", c_void_p),
        ("outcome", c_void_p),
        ("arrived", c_void_p),
        ("group_size", c_int),
        ("groups", c_int),
        ("iterations", c_int),
        ("seed", c_uint),
        ("noise", c_void_p),
        ("rate_mean", c_float),
        ("rate_shape", c_float),
        ("rate_color", c_float),
        ("rate_weight", c_float),
        ("beta1", c_float),
        ("beta2", c_float),
        ("plateau", c_float),
        ("schedule", c_void_p),
        ("target_mse", c_double),
        ("deadline_s", c_double),
    ]


class SolveParams(ctypes.Structure):
    _fields_ = [
        ("scene", Scene),
        ("lists", Lists),
        ("targets", Targets),
        ("gradient", c_void_p),
        ("normal", c_void_p),
        ("dots", c_void_p),
        ("loss", c_void_p),
        ("arrived", c_void_p),
        ("group_size", c_int),
        ("groups", c_int),
        ("sweeps", c_int),
        ("ridge", c_float),
    ]


class LossParams(ctypes.Structure):
    _fields_ = [("residual", c_void_p), ("losses", c_void_p), ("pixels", c_int), ("pictures", c_int)]
