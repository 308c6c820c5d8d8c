"""The twin: the rasteriser in plain torch, slow and obvious. What it draws is the definition.

Everything fast is an optimisation of this file and is held against it by tests/splat: `cpu/raster` (the
native core), `cuda/raster` and `raster_gsplat`. Gradients come from autograd, so the eight sums of
docs/fitting.md are derived here and not assumed. Works in float64 and on any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from gscodec.errors import ConfigError
from gscodec.splat.gaussians import CHOLESKY, COLOR, MEAN, N_PARAMS, RGB_FROM_OPPONENT
from gscodec.splat.raster import FitResult, FitSchedule, Project

# The constants of csrc/gaussian.h; tests compare the two.
RADIUS_SQ = 9.0  # a weight is exp(-r²/2) - EDGE where r² < RADIUS_SQ and 0 from there on
EDGE = math.exp(-RADIUS_SQ / 2)
MIN_SCALE = 0.3  # smallest l1, l3, pixels

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


def rasterize(
    params: Tensor, height: int, width: int, find_pairs: FindPairs = weighted_pairs
) -> Tensor:  # [N, 8] -> [H, W, 3]
    """The picture: Σ colour · max(exp(−(u²+v²)/2) − EDGE, 0) over the Gaussians, at each pixel's centre.

    Differentiable in `params`, with slope 0 at the cut-off and beyond, as in every backend.
    """
    picture = params.new_zeros(height * width, 3)
    for some in chunks(params, height, width):
        gaussian, x, y = find_pairs(some, height, width)
        u, v = local_coordinates(some[gaussian], x + 0.5, y + 0.5)
        weight = (torch.exp(-0.5 * (u.square() + v.square())) - EDGE).relu()  # relu: rounding, at the edge
        color = weight[:, None] * some[gaussian, COLOR]
        # Not index_add: on a GPU its order of summation, hence the last bit, differs from run to run.
        picture = picture.index_put((y * width + x,), color, accumulate=True)
    return picture.view(height, width, 3)


def moved(params: Tensor, step: Tensor) -> Tensor:  # [N, 8], [N, 8] -> [N, 8]
    """Gaussians after a step in natural coordinates: μ += L·(A, B), L <- L·[[eᶜ, 0], [D, eᴱ]], colour added.

    Args:
        step: columns A, B, C, D, E and three colours.
    """
    mean_x, mean_y, l1, l2, l3 = params[:, :5].unbind(1)
    a, b, c, d, e = step[:, :5].unbind(1)
    geometry = (mean_x + l1 * a, mean_y + l2 * a + l3 * b, l1 * c.exp(), l2 * c.exp() + l3 * d, l3 * e.exp())
    return torch.cat((torch.stack(geometry, 1), params[:, COLOR] + step[:, COLOR]), 1)


def natural_gradients(
    params: Tensor, residual: Tensor, find_pairs: FindPairs = weighted_pairs
) -> Tensor:  # [N, 8], [H, W, 3] -> [N, 8]
    """∂loss/∂step of `moved` at step 0, where ∂loss/∂picture = residual."""
    return _gradients(params, residual, moved, find_pairs)


def plain_gradients(
    params: Tensor, residual: Tensor, find_pairs: FindPairs = weighted_pairs
) -> Tensor:  # [N, 8], [H, W, 3] -> [N, 8]
    """∂loss/∂params, where ∂loss/∂picture = residual."""
    return _gradients(params, residual, torch.add, find_pairs)


def _gradients(
    params: Tensor, residual: Tensor, move: Callable[[Tensor, Tensor], Tensor], find_pairs: FindPairs
) -> Tensor:
    height, width = residual.shape[:2]
    pieces = []
    for some in chunks(params.detach(), height, width):  # the sum is linear: no chunk needs another's picture
        step = torch.zeros_like(some, requires_grad=True)
        with torch.enable_grad():
            loss = (rasterize(move(some, step), height, width, find_pairs) * residual).sum()
        pieces.append(torch.autograd.grad(loss, step)[0])
    return torch.cat(pieces) if pieces else torch.zeros_like(params)


class TorchRasterizer:
    """raster.Rasterizer in plain torch; docstrings there. Arrays in, arrays of `dtype` out."""

    def __init__(
        self,
        width: int,
        height: int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        find_pairs: FindPairs = weighted_pairs,
    ) -> None:
        """`find_pairs`: another way to find what the Gaussians cover (raster_gsplat)."""
        if width < 1 or height < 1:
            raise ConfigError(f"a picture of {width}x{height} pixels cannot be drawn; both must be positive")
        self.width, self.height = width, height
        self.dtype, self.device = dtype, torch.device(device)
        self._find_pairs = find_pairs

    def render(self, params: np.ndarray) -> np.ndarray:
        return self._rasterize(self._params(params)).cpu().numpy()

    def render_rgb8(
        self, params: np.ndarray, background: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        gaussians = self._params(params)
        rgb = self._rasterize(gaussians) @ self._tensor(RGB_FROM_OPPONENT).T
        alpha = None
        if background is not None:
            gaussians[:, COLOR] = 1
            coverage = self._rasterize(gaussians)[..., :1].clamp(max=1)
            rgb += (1 - coverage) * self._tensor(background, (3,))
            alpha = _to_codes(coverage[..., 0])
        return _to_codes(rgb), alpha

    def gradients(self, params: np.ndarray, residual: np.ndarray) -> np.ndarray:
        e = self._tensor(residual, (self.height, self.width, 3))
        return natural_gradients(self._params(params), e, self._find_pairs).cpu().numpy()

    def target(self, picture: np.ndarray, weight: np.ndarray) -> tuple[Tensor, Tensor]:
        size = (self.height, self.width)
        return self._tensor(picture, (*size, 3)), self._tensor(weight, size)[..., None]

    def fit(
        self,
        target: tuple[Tensor, Tensor],
        params: np.ndarray,
        active: np.ndarray | None,
        schedule: FitSchedule,
        project: Project | None = None,
    ) -> FitResult:
        index, gaussians, picture, weight = self._subset(target, params, active)
        roi = weight > 0.5
        n_roi_values = max(1, 3 * int(roi.sum()))
        momentum, energy = torch.zeros_like(gaussians), torch.zeros_like(gaussians)  # Adam's memory
        plain = torch.zeros_like(gaussians)  # gradient for `project`
        loss_before = math.inf
        iteration = 0
        while True:
            drawn = gaussians
            if project is not None:
                now, before = (t.float().cpu().numpy() for t in (gaussians, plain))
                drawn = self._params(project(now, before))
            difference = self._rasterize(drawn) - picture
            loss = float((weight * difference.square()).sum())
            roi_mse = float((roi * difference.square()).sum()) / n_roi_values
            if not (math.isfinite(loss) and bool(gaussians.isfinite().all())):
                return FitResult(iteration, loss, roi_mse, finite=False)
            reached = schedule.target_mse > 0 and roi_mse <= schedule.target_mse
            if reached or iteration >= schedule.iterations:
                break
            if schedule.plateau > 0 and iteration % 10 == 0:
                if iteration > 0 and loss_before - loss < schedule.plateau * loss_before:
                    break
                loss_before = loss
            residual = weight * difference
            gradients = natural_gradients if schedule.natural else plain_gradients
            gradient = gradients(drawn, residual, self._find_pairs)
            if project is not None:
                plain = plain_gradients(drawn, residual, self._find_pairs)
            momentum = torch.lerp(gradient, momentum, schedule.beta1)
            energy = torch.lerp(gradient.square(), energy, schedule.beta2)
            unbiased = momentum / (1 - schedule.beta1 ** (iteration + 1))
            spread = (energy / (1 - schedule.beta2 ** (iteration + 1))).sqrt() + 1e-6
            rates = self._tensor(_rates(schedule, iteration))
            move = moved if schedule.natural else torch.add
            gaussians = self._clamped(move(gaussians, -rates * unbiased / spread))
            iteration += 1
        params[index] = gaussians.cpu().numpy()
        return FitResult(iteration, loss, roi_mse, finite=True)

    def solve_colors(
        self,
        target: tuple[Tensor, Tensor],
        params: np.ndarray,
        active: np.ndarray | None,
        sweeps: int,
        ridge: float,
    ) -> float:
        index, gaussians, picture, weight = self._subset(target, params, active)

        def drawn(colors: Tensor) -> Tensor:  # B·c: [n, 3] -> [H, W, 3]
            return self._rasterize(torch.cat((gaussians[:, : COLOR.start], colors), 1))

        def gathered(image: Tensor) -> Tensor:  # Bᵀ·e: [H, W, 3] -> [n, 3]
            return natural_gradients(gaussians, image, self._find_pairs)[:, COLOR]

        colors = gaussians[:, COLOR].clone()
        # Σ weight·w_n is twice the diagonal of BᵀWB for a Gaussian inside the picture.
        diagonal = 0.5 * gathered(weight.expand_as(picture)) + 1e-3
        difference = drawn(colors) - picture
        loss = float((weight * difference.square()).sum())
        rest = -gathered(weight * difference)
        direction = torch.zeros_like(rest)
        rho_before = torch.zeros_like(rest[:1])
        for _ in range(sweeps):
            rho = (rest.square() / diagonal).sum(0, keepdim=True)
            direction = rest / diagonal + _ratio(rho, rho_before) * direction
            image = gathered(weight * drawn(direction)) + ridge * diagonal * direction
            length = _ratio(rho, (direction * image).sum(0, keepdim=True))
            colors += length * direction
            rest -= length * image
            rho_before = rho
        params[index, COLOR] = colors.cpu().numpy()
        return loss

    def _rasterize(self, gaussians: Tensor) -> Tensor:
        with torch.no_grad():
            return rasterize(gaussians, self.height, self.width, self._find_pairs)

    def _clamped(self, gaussians: Tensor) -> Tensor:
        limit = float(max(self.width, self.height))
        gaussians[:, CHOLESKY] = gaussians[:, CHOLESKY].clamp(
            self._tensor([MIN_SCALE, -limit, MIN_SCALE]), self._tensor([limit] * 3)
        )
        return gaussians

    def _subset(
        self, target: tuple[Tensor, Tensor], params: np.ndarray, active: np.ndarray | None
    ) -> tuple[np.ndarray, Tensor, Tensor, Tensor]:
        """The active Gaussians: indices and parameters; the target minus the others' picture, its weights."""
        gaussians = self._params(params)
        picture, weight = target
        if picture.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"the target is {picture.shape[1]}x{picture.shape[0]}, expected {self.width}x{self.height}"
            )
        if active is None:
            return np.arange(len(params)), gaussians, picture, weight
        if len(active) and (active.min() < 0 or active.max() >= len(params)):
            raise IndexError("an active index is past the last Gaussian")
        is_active = np.zeros(len(params), bool)
        is_active[active] = True
        others = gaussians[torch.as_tensor(~is_active, device=self.device)]
        index = active.astype(np.int64)
        return index, gaussians[torch.as_tensor(index)], picture - self._rasterize(others), weight

    def _params(self, params: np.ndarray) -> Tensor:
        return self._tensor(params, (len(params), N_PARAMS))

    def _tensor(self, values: np.ndarray | list[float], shape: tuple[int, ...] | None = None) -> Tensor:
        """A copy in this rasteriser's dtype, on its device."""
        if shape is not None and np.shape(values) != shape:
            raise ValueError(f"an array has shape {list(np.shape(values))}, expected {list(shape)}")
        return torch.tensor(np.asarray(values), dtype=self.dtype, device=self.device)


def make(width: int, height: int, threads: int) -> TorchRasterizer:
    """`threads` is left alone: torch's number of threads belongs to the whole process."""
    return TorchRasterizer(width, height)


def _rates(schedule: FitSchedule, iteration: int) -> list[float]:
    """Step sizes of the eight columns: a cosine from 1 down to `final_rate`."""
    phase = iteration / max(1, schedule.iterations)
    share = schedule.final_rate + (1 - schedule.final_rate) * 0.5 * (1 + math.cos(math.pi * phase))
    rates = [schedule.rate_mean] * 2 + [schedule.rate_shape] * 3 + [schedule.rate_color] * 3
    return [share * rate for rate in rates]


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b where b > 0, else 0: a converged colour stands still."""
    return torch.where(b > 0, a / b, torch.zeros_like(a))


def _to_codes(values: Tensor) -> np.ndarray:
    """uint8 of values in [0, 1]: the one clamp and the one rounding."""
    return (255 * values.clamp(0, 1) + 0.5).to(torch.uint8).cpu().numpy()
