"""The twin: what Gaussians draw, in plain torch, slow and obvious. This is the definition.

Everything fast is an optimisation of this file and of raster_torch, which fits with it, and is held against
them by tests/splat: `cpu/raster` (the native core), `cuda/raster` and `raster_gsplat`. Gradients come from
autograd, so the eight sums of docs/fitting.md are derived here and not assumed. Works in float64 and on any
device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gscodec.splat.gaussians import CHOLESKY, COLOR, LOG_WEIGHT, MEAN

# The constants of csrc/gaussian.h; tests compare the two.
RADIUS_SQ = 9.0  # a weight is exp(-r²/2) - EDGE where r² < RADIUS_SQ and 0 from there on
EDGE = math.exp(-RADIUS_SQ / 2)
MIN_SCALE = 0.3  # smallest l1, l3, pixels
GROUND = 1e-4  # weight of the ground colour at every pixel, under the normalised blend
MAX_LOG_WEIGHT = 8.0  # of a fit, octaves

# Gaussians [n, 8], height, width -> every pixel inside a cut-off: index of the Gaussian, x, y, each [P].
FindPairs = Callable[[Tensor, int, int], tuple[Tensor, Tensor, Tensor]]

PAIRS_PER_CHUNK = 1 << 19  # Gaussian-pixel pairs looked at together: about 100 MB with autograd's memory


def local_coordinates(params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The point (x, y) in each Gaussian's own frame: (u, v) = L⁻¹·((x, y) − μ).

    Args:
        params: [P, 8], one Gaussian per pair.
        x, y: [P], pixels.
    """
    l1, l2, l3 = params[:, CHOLESKY].unbind(1)
    u = (x - params[:, 0]) / l1
    v = ((y - params[:, 1]) - l2 * u) / l3
    return u, v


def bounding_boxes(params: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A box in the picture around every weight above zero: first pixel (x, y) and extent, both [N, 2]."""
    l1, l2, l3 = params[:, CHOLESKY].unbind(1)
    half = math.sqrt(RADIUS_SQ) * torch.stack((l1, torch.hypot(l2, l3)), 1) + 1  # 1: rounding cannot matter
    size = params.new_tensor([width, height])
    low = (params[:, MEAN] - half).floor().clamp(min=torch.zeros_like(size), max=size).nan_to_num(0)
    high = (params[:, MEAN] + half).ceil().clamp(min=torch.zeros_like(size), max=size).nan_to_num(0)
    return low.long(), (high - low).clamp(min=0).long()


@torch.no_grad()
def weighted_pairs(params: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every pixel inside a Gaussian's cut-off: index of the Gaussian, x and y of the pixel, each [P]."""
    low, extent = bounding_boxes(params, height, width)
    count = extent.prod(1)
    gaussian = torch.repeat_interleave(torch.arange(len(params), device=params.device), count)
    position = torch.arange(len(gaussian), device=params.device) - (count.cumsum(0) - count)[gaussian]
    x = low[gaussian, 0] + position % extent[gaussian, 0]
    y = low[gaussian, 1] + position // extent[gaussian, 0]
    u, v = local_coordinates(params[gaussian], x + 0.5, y + 0.5)
    inside = u.square() + v.square() <= RADIUS_SQ
    return gaussian[inside], x[inside], y[inside]


def chunks(params: Tensor, height: int, width: int) -> Iterator[Tensor]:  # [N, 8] -> [n, 8] ...
    """The same Gaussians in order, in pieces of about PAIRS_PER_CHUNK pairs."""
    count = bounding_boxes(params.detach(), height, width)[1].prod(1)
    chunk = (count.cumsum(0) - count) // PAIRS_PER_CHUNK
    yield from torch.split(params, torch.unique_consecutive(chunk, return_counts=True)[1].tolist())


def gathered(
    params: Tensor,
    height: int,
    width: int,
    find_pairs: FindPairs = weighted_pairs,
    is_room: Tensor | None = None,
) -> Tensor:  # [N, 8 or 9] -> [H, W, channels]
    """The sums of a picture: Σ w·colour, w = max(exp(−(u²+v²)/2) − EDGE, 0) at each pixel's centre.

    Under the normalised blend w is times 2^b, and Σ w follows; before it, where `is_room` [N] is given, Σ w
    of the person alone. Differentiable in `params`, with slope 0 at the cut-off and beyond, as everywhere.
    """
    weights = [] if params.shape[1] <= LOG_WEIGHT else [torch.ones_like(params[:, :1])]
    if is_room is not None:
        weights.insert(0, (~is_room).to(params.dtype)[:, None])
    rows = torch.cat((params, *weights), 1)
    picture = params.new_zeros(height * width, 3 + len(weights))
    for some in chunks(rows, height, width):
        gaussian, x, y = find_pairs(some, height, width)
        found = some[gaussian]
        u, v = local_coordinates(found, x + 0.5, y + 0.5)
        weight = (torch.exp(-0.5 * (u.square() + v.square())) - EDGE).relu()  # relu: rounding, at the edge
        if weights:
            weight = weight * torch.exp2(found[:, LOG_WEIGHT])
        colors = torch.cat((found[:, COLOR], found[:, params.shape[1] :]), 1)
        # Not index_add: on a GPU its order of summation, hence the last bit, differs from run to run.
        picture = picture.index_put((y * width + x,), weight[:, None] * colors, accumulate=True)
    return picture.view(height, width, -1)


def shown(sums: Tensor) -> Tensor:  # [H, W, channels] -> [H, W, 3 or 4]
    """The picture of what was gathered, and the person's share where that was: the blend."""
    return sums if sums.shape[-1] == 3 else sums[..., :-1] / (sums[..., -1:].clamp(min=0) + GROUND)


def rasterize(
    params: Tensor, height: int, width: int, find_pairs: FindPairs = weighted_pairs
) -> Tensor:  # [N, 8 or 9] -> [H, W, 3]
    """The picture: the sum of the Gaussians, or under the normalised blend (nine columns) their mean."""
    return shown(gathered(params, height, width, find_pairs))


def moved(params: Tensor, step: Tensor) -> Tensor:  # [N, 8 or 9] twice -> the same
    """Gaussians after a step in natural coordinates: μ += L·(A, B), L <- L·[[eᶜ, 0], [D, eᴱ]], others plain.

    Args:
        step: columns A, B, C, D, E, three colours and the log-weight.
    """
    mean_x, mean_y, l1, l2, l3 = params[:, :5].unbind(1)
    a, b, c, d, e = step[:, :5].unbind(1)
    geometry = (mean_x + l1 * a, mean_y + l2 * a + l3 * b, l1 * c.exp(), l2 * c.exp() + l3 * d, l3 * e.exp())
    return torch.cat((torch.stack(geometry, 1), params[:, 5:] + step[:, 5:]), 1)


def natural_gradients(
    params: Tensor, residual: Tensor, find_pairs: FindPairs = weighted_pairs
) -> Tensor:  # [N, 8 or 9], [H, W, 3] -> as params
    """∂loss/∂step of `moved` at step 0, where ∂loss/∂picture = residual."""
    slope = _by_sums(params, residual, find_pairs)
    return step_gradients(params, slope, moved, find_pairs)


def plain_gradients(
    params: Tensor, residual: Tensor, find_pairs: FindPairs = weighted_pairs
) -> Tensor:  # [N, 8 or 9], [H, W, 3] -> as params
    """∂loss/∂params, where ∂loss/∂picture = residual."""
    slope = _by_sums(params, residual, find_pairs)
    return step_gradients(params, slope, torch.add, find_pairs)


def _by_sums(params: Tensor, residual: Tensor, find_pairs: FindPairs) -> Tensor:
    """∂loss/∂sums of a picture drawn by itself, where ∂loss/∂picture = residual."""
    if params.shape[1] <= LOG_WEIGHT:
        return residual
    sums = gathered(params.detach(), residual.shape[0], residual.shape[1], find_pairs).requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(shown(sums), sums, residual)[0]


def step_gradients(
    params: Tensor,
    slope: Tensor,
    move: Callable[[Tensor, Tensor], Tensor],
    find_pairs: FindPairs,
    is_room: Tensor | None = None,
) -> Tensor:
    """∂loss/∂step of `move`, where ∂loss/∂sums = slope [H, W, channels]."""
    height, width = slope.shape[:2]
    pieces, at = [], 0
    for some in chunks(params.detach(), height, width):  # sums are linear: no chunk needs another's
        step = torch.zeros_like(some, requires_grad=True)
        rooms = None if is_room is None else is_room[at : at + len(some)]
        at += len(some)
        with torch.enable_grad():
            loss = (gathered(move(some, step), height, width, find_pairs, rooms) * slope).sum()
        pieces.append(torch.autograd.grad(loss, step)[0])
    return torch.cat(pieces) if pieces else torch.zeros_like(params)
