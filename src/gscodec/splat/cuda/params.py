"""The kernels' parameter structs, field for field as in csrc/*.cu, and the kernels' constants."""

from __future__ import annotations

import ctypes
from ctypes import c_double, c_float, c_int, c_void_p

# csrc/raster.cuh, csrc/fit_pass.cuh
WARPS = 8
THREADS = 32 * WARPS
TILE_W = 32
CELL = 256
SLOTS = 32
LOCK = 16  # rdo/csrc/pursuit.cuh
MAX_SIDE = 32767  # boxes are 16-bit


def tile_height(rows: int) -> int:
    """Height of a block's tile when each thread has `rows` pixels."""
    return 8 * rows


class Scene(ctypes.Structure):
    _fields_ = [
        ("first", c_void_p),
        ("params", c_void_p),
        ("prepared", c_void_p),
        ("boxes", c_void_p),
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
        ("rest", c_void_p),
        ("one_target", c_int),
        ("pitch", c_int),
        ("matrix", c_float * 9),
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
    _fields_ = [("scene", Scene), ("residual", c_void_p), ("rest", c_void_p), ("gradient", c_void_p)]


class FitParams(ctypes.Structure):
    _fields_ = [
        ("scene", Scene),
        ("lists", Lists),
        ("target", c_void_p),
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
        ("rate_mean", c_float),
        ("rate_shape", c_float),
        ("rate_color", c_float),
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
        ("target", c_void_p),
        ("gradient", c_void_p),
        ("rest", c_void_p),
        ("dots", c_void_p),
        ("loss", c_void_p),
        ("arrived", c_void_p),
        ("group_size", c_int),
        ("groups", c_int),
        ("sweeps", c_int),
        ("ridge", c_float),
    ]


class PursuitParams(ctypes.Structure):
    _fields_ = [
        ("scene", Scene),
        ("symbols", c_void_p),
        ("base", c_void_p),
        ("step", c_void_p),
        ("offset", c_void_p),
        ("low", c_void_p),
        ("high", c_void_p),
        ("first", c_void_p),
        ("rates", c_void_p),
        ("rest", c_void_p),
        ("state", c_void_p),
        ("delta", c_void_p),
        ("gain", c_void_p),
        ("reach", c_void_p),
        ("valued", c_void_p),
        ("stamp", c_void_p),
        ("locks", c_void_p),
        ("outcome", c_void_p),
        ("is_vast", c_void_p),
        ("order", c_void_p),
        ("vast", c_void_p),
        ("slices", c_void_p),
        ("sliced", c_void_p),
        ("counts", c_void_p),
        ("flags", c_void_p),
        ("arrived", c_void_p),
        ("group_size", c_int),
        ("rounds", c_int),
        ("locks_x", c_int),
        ("lambda_", c_float),
        ("stiffness", c_float),
        ("deadline_s", c_double),
    ]


class SeedParams(ctypes.Structure):
    _fields_ = [
        ("target", c_void_p),
        ("region", c_void_p),
        ("counts", c_void_p),
        ("density", c_void_p),
        ("gradients", c_void_p),
        ("before", c_void_p),
        ("chunks", c_void_p),
        ("sums", c_void_p),
        ("seeds", c_void_p),
        ("nearest", c_void_p),
        ("labels", c_void_p),
        ("arrived", c_void_p),
        ("regions", c_int),
        ("n_seeds", c_int),
        ("width", c_int),
        ("height", c_int),
        ("side", c_int),
        ("n_chunks", c_int),
        ("group_size", c_int),
        ("detail", c_float),
    ]


class MatteParams(ctypes.Structure):
    _fields_ = [("values", c_void_p), ("codes", c_void_p)]


class LookParams(ctypes.Structure):
    _fields_ = [
        ("rgb", c_void_p),
        ("matte", MatteParams),
        ("luma_before", c_void_p),
        ("shown", c_void_p),
        ("target", c_void_p),
        ("luma", c_void_p),
        ("roi_pixels", c_void_p),
        ("pixels", c_int),
        ("mask", c_int),
        ("background_weight", c_float),
        ("stability", c_float),
        ("matrix", c_float * 9),
    ]


class HoldParams(ctypes.Structure):
    _fields_ = [
        ("shown", c_void_p),
        ("sum", c_void_p),
        ("pixels", c_int),
        ("restart", c_int),
        ("tolerance", c_int * 3),
    ]


class ScoreParams(ctypes.Structure):
    _fields_ = [
        ("shown", c_void_p),
        ("rgb", c_void_p),
        ("matte", MatteParams),
        ("sums", c_void_p),
        ("pixels", c_int),
    ]


class LossParams(ctypes.Structure):
    _fields_ = [("rest", c_void_p), ("losses", c_void_p), ("pixels", c_int), ("pictures", c_int)]
