"""The rasteriser on gsplat's CUDA kernels, for those who know gsplat and ask.

gsplat composites front to back and has no plain sum, but it can tell which pixels each Gaussian covers: its
own binning and `rasterize_to_indices_in_range`, with a transmittance that never runs out. The twin's formulas
finish the sum and autograd its gradients, so what is drawn is the twin's up to the order of a sum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gscodec.errors import BackendError, install_extra
from gscodec.splat.drawing_torch import RADIUS_SQ, bounding_boxes, local_coordinates
from gscodec.splat.gaussians import CHOLESKY, MEAN
from gscodec.splat.raster_torch import TorchRasterizer

TILE = 16  # gsplat's tile, pixels
# gsplat drops what is below 1/255 of opacity: with this one, what is a little beyond our cut-off.
OPACITY = 1.1 / 255 * math.exp(RADIUS_SQ / 2)
THIN = 30.0  # from this ratio of a Gaussian's axes on, float32 conics are too coarse to find its pixels


def make(width: int, height: int, threads: int, blend: str = "sum") -> TorchRasterizer:
    """`threads` is the CPU's business.

    Raises:
        BackendError: no GPU, or gsplat is missing or does not compile here; says what to do.
    """
    if not torch.cuda.is_available():
        raise BackendError(
            "gsplat needs an NVIDIA GPU and a torch built for CUDA, and torch sees none; take --backend cpu"
        )
    try:
        one = torch.tensor([[4.0, 4, 1, 0, 1, 1, 1, 1]], device="cuda")
        covered_pixels(one, 8, 8)  # the first use compiles gsplat's kernels
    except Exception as error:  # no compiler, a failed build, a changed function
        raise BackendError(
            f"gsplat cannot be used ({type(error).__name__}: {error}); {install_extra('gsplat')}, and a "
            "CUDA toolkit with nvcc of torch's version, or take --backend cuda"
        ) from error
    return TorchRasterizer(width, height, torch.float32, "cuda", find_pairs=covered_pixels, blend=blend)


@torch.no_grad()
def covered_pixels(params: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every pixel inside a Gaussian's cut-off, found by gsplat (drawing_torch.weighted_pairs).

    Args:
        params: float32 [N, 8] on a GPU.
    Returns:
        Index of the Gaussian, x and y of the pixel, each int64 [P].
    """
    from gsplat import isect_offset_encode, isect_tiles, rasterize_to_indices_in_range

    seen = bounding_boxes(params, height, width)[1].prod(1).nonzero()[:, 0]
    if len(seen) == 0:
        return seen, seen, seen
    some = params[seen]
    conics, radii = bounding_conics(some)
    tiles = (-(-width // TILE), -(-height // TILE))
    means = some[None, :, MEAN].contiguous()
    nothing = torch.zeros_like(means[..., 0])
    _, order, found = isect_tiles(means, radii[None], nothing, TILE, *tiles)
    gaussian, pixel, _ = rasterize_to_indices_in_range(
        0,
        2**31 - 1,
        torch.full((1, height, width), math.inf, device=params.device),
        means,
        conics[None],
        torch.full_like(nothing, OPACITY),
        width,
        height,
        TILE,
        isect_offset_encode(order, 1, *tiles),
        found,
    )
    gaussian, x, y = seen[gaussian], pixel % width, pixel // width
    u, v = local_coordinates(params[gaussian], x + 0.5, y + 0.5)
    inside = u.square() + v.square() <= RADIUS_SQ
    return gaussian[inside], x[inside], y[inside]


def bounding_conics(params: Tensor) -> tuple[Tensor, Tensor]:  # [N, 8] -> [N, 3], int32 [N, 2]
    """Inverse covariances as gsplat wants them, and half extents in x and y, pixels.

    A needle gets an upright ellipse around its bounding box instead of its own conic.
    """
    l1, l2, l3 = params[:, CHOLESKY].unbind(1)
    height = torch.hypot(l2, l3)
    inv_1, inv_3 = 1 / l1, 1 / l3
    shear = -l2 * inv_1 * inv_3
    own = torch.stack((inv_1.square() + shear.square(), shear * inv_3, inv_3.square()), 1)
    around = 0.5 * torch.stack((inv_1.square(), torch.zeros_like(l1), height.square().reciprocal()), 1)
    thin = torch.maximum(torch.maximum(l1, height) / l3, torch.maximum(l3, height) / l1) > THIN
    half = math.sqrt(RADIUS_SQ) * torch.stack((l1, height), 1)
    return torch.where(thin[:, None], around, own).contiguous(), (half + 2).clamp(max=2.0**24).ceil().int()
