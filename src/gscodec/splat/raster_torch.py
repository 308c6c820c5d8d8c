"""The twin: the rasteriser in plain torch, slow and obvious. What it draws is the definition.

Everything fast is an optimisation of this file and is held against it by tests/splat: `cpu/raster` (the
native core), `cuda/raster` and `raster_gsplat`. Gradients come from autograd, so the eight sums of
docs/fitting.md are derived here and not assumed. Works in float64 and on any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gscodec.errors import ConfigError
from gscodec.splat.gaussians import CHOLESKY, COLOR, LOG_WEIGHT, MEAN, RGB_FROM_OPPONENT, n_params
from gscodec.splat.raster import FitResult, FitSchedule, Project

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
    return _gradients(params, slope, moved, find_pairs)


def plain_gradients(
    params: Tensor, residual: Tensor, find_pairs: FindPairs = weighted_pairs
) -> Tensor:  # [N, 8 or 9], [H, W, 3] -> as params
    """∂loss/∂params, where ∂loss/∂picture = residual."""
    slope = _by_sums(params, residual, find_pairs)
    return _gradients(params, slope, torch.add, find_pairs)


def _by_sums(params: Tensor, residual: Tensor, find_pairs: FindPairs) -> Tensor:
    """∂loss/∂sums of a picture drawn by itself, where ∂loss/∂picture = residual."""
    if params.shape[1] <= LOG_WEIGHT:
        return residual
    sums = gathered(params.detach(), residual.shape[0], residual.shape[1], find_pairs).requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(shown(sums), sums, residual)[0]


def _gradients(
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


@dataclass(frozen=True, slots=True)
class TorchTarget:
    """A picture [H, W, 3] to fit, weights of its pixels [H, W, 1]; perhaps a matte [H, W] and its weight."""

    picture: Tensor
    weight: Tensor
    matte: Tensor | None = None
    matte_weight: float = 0.0


class TorchRasterizer:
    """raster.Rasterizer in plain torch; docstrings there. Arrays in, arrays of `dtype` out."""

    backend = "torch"

    def __init__(
        self,
        width: int,
        height: int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        find_pairs: FindPairs = weighted_pairs,
        blend: str = "sum",
    ) -> None:
        """`find_pairs`: another way to find what the Gaussians cover (raster_gsplat)."""
        if width < 1 or height < 1:
            raise ConfigError(f"a picture of {width}x{height} pixels cannot be drawn; both must be positive")
        self.width, self.height, self.blend = width, height, blend
        self.dtype, self.device = dtype, torch.device(device)
        self._find_pairs = find_pairs

    def render(self, params: np.ndarray) -> np.ndarray:
        return shown(self._gathered(self._params(params))).cpu().numpy()

    def render_rgb8(self, params: np.ndarray, ground: np.ndarray | None = None) -> np.ndarray:
        return _to_codes(self._rgb(shown(self._gathered(self._params(params))), ground))

    def render_person(
        self,
        params: np.ndarray,
        is_room: np.ndarray,
        background: np.ndarray,
        ground: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        everyone = self._params(params)
        person = everyone[torch.as_tensor(~is_room, device=self.device)]
        sums = self._gathered(person)
        if self.blend == "normalised":
            every_weight = self._gathered(everyone)[..., -1:].clamp(min=0) + GROUND
            alpha = (sums[..., -1:] / every_weight).clamp(0, 1)
            rgb = self._rgb(shown(sums), ground) * alpha
        else:
            ones = person.clone()
            ones[:, COLOR] = 1
            alpha = self._gathered(ones)[..., :1].clamp(max=1)
            rgb = self._rgb(sums, None)
        rgb += (1 - alpha) * self._tensor(background, (3,))
        return _to_codes(rgb), _to_codes(alpha[..., 0])

    def gradients(self, params: np.ndarray, residual: np.ndarray) -> np.ndarray:
        e = self._tensor(residual, (self.height, self.width, 3))
        return natural_gradients(self._params(params), e, self._find_pairs).cpu().numpy()

    def target(
        self,
        picture: np.ndarray,
        weight: np.ndarray,
        matte: np.ndarray | None = None,
        matte_weight: float = 0.0,
    ) -> TorchTarget:
        size = (self.height, self.width)
        share = None if matte is None else self._tensor(matte, size)
        if share is not None and self.blend != "normalised":
            raise ValueError("only the normalised blend can fit a matte")
        picture_, weight_ = self._tensor(picture, (*size, 3)), self._tensor(weight, size)[..., None]
        return TorchTarget(picture_, weight_, share, matte_weight)

    def fit(
        self,
        target: TorchTarget,
        params: np.ndarray,
        active: np.ndarray | None,
        schedule: FitSchedule,
        project: Project | None = None,
        is_room: np.ndarray | None = None,
    ) -> FitResult:
        rooms = self._rooms(target, is_room, len(params))
        index, gaussians, others = self._subset(target, params, active, rooms)
        own_rooms = None if rooms is None else rooms[torch.as_tensor(index, device=self.device)]
        roi = target.weight > 0.5
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
            sums = (self._gathered(drawn, own_rooms) + others).requires_grad_()
            with torch.enable_grad():
                error = _loss(shown(sums), target)
                slope = torch.autograd.grad(error, sums)[0] / 2  # every backend's gradients are half of them
            loss, difference = float(error.detach()), shown(sums.detach())[..., :3] - target.picture
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
            move = moved if schedule.natural else torch.add
            gradient = _gradients(drawn, slope, move, self._find_pairs, own_rooms)
            if project is not None:
                plain = _gradients(drawn, slope, torch.add, self._find_pairs, own_rooms)
            momentum = torch.lerp(gradient, momentum, schedule.beta1)
            energy = torch.lerp(gradient.square(), energy, schedule.beta2)
            unbiased = momentum / (1 - schedule.beta1 ** (iteration + 1))
            spread = (energy / (1 - schedule.beta2 ** (iteration + 1))).sqrt() + 1e-6
            rates = self._tensor(_rates(schedule, iteration)[: gaussians.shape[1]])
            gaussians = self._clamped(move(gaussians, -rates * unbiased / spread))
            iteration += 1
        params[index] = gaussians.cpu().numpy()
        return FitResult(iteration, loss, roi_mse, finite=True)

    def solve_colors(
        self,
        target: TorchTarget,
        params: np.ndarray,
        active: np.ndarray | None,
        sweeps: int,
        ridge: float,
    ) -> float:
        index, gaussians, others = self._subset(target, params, active, None)
        sums = self._gathered(gaussians) + others
        # A weight's share of the picture: what a colour is multiplied by, for the geometry does not change.
        share = torch.ones_like(target.weight)
        if self.blend == "normalised":
            share = 1 / (sums[..., -1:].clamp(min=0) + GROUND)

        def drawn(colors: Tensor) -> Tensor:  # B·c: [n, 3] -> [H, W, 3]
            return share * self._gathered(_with_colors(gaussians, colors))[..., :3]

        def transposed(image: Tensor) -> Tensor:  # Bᵀ·e: [H, W, 3] -> [n, 3]
            slope = torch.cat((share * image, torch.zeros_like(sums[..., 3:])), -1)
            return _gradients(gaussians, slope, torch.add, self._find_pairs)[:, COLOR]

        colors = gaussians[:, COLOR].clone()
        if self.blend == "normalised":
            diagonal = self._areas(gaussians, target.weight * share.square()) + 1e-3
        else:  # half of Σ weight·w, which is the same for a Gaussian inside the picture
            diagonal = 0.5 * transposed(target.weight.expand_as(target.picture)) + 1e-3
        difference = shown(sums) - target.picture
        loss = float((target.weight * difference.square()).sum())
        rest = -transposed(target.weight * difference)
        direction = torch.zeros_like(rest)
        rho_before = torch.zeros_like(rest[:1])
        for _ in range(sweeps):
            rho = (rest.square() / diagonal).sum(0, keepdim=True)
            direction = rest / diagonal + _ratio(rho, rho_before) * direction
            image = transposed(target.weight * drawn(direction)) + ridge * diagonal * direction
            length = _ratio(rho, (direction * image).sum(0, keepdim=True))
            colors += length * direction
            rest -= length * image
            rho_before = rho
        params[index, COLOR] = colors.cpu().numpy()
        return loss

    def _areas(self, gaussians: Tensor, weight: Tensor) -> Tensor:  # [n, 9], [H, W, 1] -> [n, 1]
        """Σ weight·w² of each Gaussian: the diagonal of BᵀWB."""
        areas = []
        for some in chunks(gaussians, self.height, self.width):
            gaussian, x, y = self._find_pairs(some, self.height, self.width)
            u, v = local_coordinates(some[gaussian], x + 0.5, y + 0.5)
            w = (torch.exp(-0.5 * (u.square() + v.square())) - EDGE).relu()
            if self.blend == "normalised":
                w = w * torch.exp2(some[gaussian, LOG_WEIGHT])
            own = torch.zeros(len(some), dtype=self.dtype, device=self.device)
            areas.append(own.index_put((gaussian,), w.square() * weight[y, x, 0], accumulate=True))
        return torch.cat(areas)[:, None] if areas else gaussians.new_zeros(0, 1)

    def _gathered(self, gaussians: Tensor, is_room: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return gathered(gaussians, self.height, self.width, self._find_pairs, is_room)

    def _rgb(self, picture: Tensor, ground: np.ndarray | None) -> Tensor:
        """R'G'B' in [0, 1] of a picture counted from the ground colour."""
        if ground is not None:
            picture = picture + self._tensor(ground, (3,))
        return picture @ self._tensor(RGB_FROM_OPPONENT).T

    def _clamped(self, gaussians: Tensor) -> Tensor:
        limit = float(max(self.width, self.height))
        gaussians[:, CHOLESKY] = gaussians[:, CHOLESKY].clamp(
            self._tensor([MIN_SCALE, -limit, MIN_SCALE]), self._tensor([limit] * 3)
        )
        gaussians[:, LOG_WEIGHT:] = gaussians[:, LOG_WEIGHT:].clamp(-MAX_LOG_WEIGHT, MAX_LOG_WEIGHT)
        return gaussians

    def _rooms(self, target: TorchTarget, is_room: np.ndarray | None, n: int) -> Tensor | None:
        if target.matte is None:
            return None
        if is_room is None:
            raise ValueError("the target has a matte, so is_room must be given")
        if len(is_room) != n:
            raise ValueError(f"is_room has another length: {len(is_room)}, expected {n}")
        return torch.as_tensor(is_room, device=self.device)

    def _subset(
        self, target: TorchTarget, params: np.ndarray, active: np.ndarray | None, is_room: Tensor | None
    ) -> tuple[np.ndarray, Tensor, Tensor]:
        """The active Gaussians: indices and parameters; and the sums of the others."""
        gaussians = self._params(params)
        found = target.picture.shape[:2]
        if found != (self.height, self.width):
            raise ValueError(f"the target is {found[1]}x{found[0]}, expected {self.width}x{self.height}")
        if active is None:
            nobody = None if is_room is None else is_room[:0]
            return np.arange(len(params)), gaussians, self._gathered(gaussians[:0], nobody)
        if len(active) and (active.min() < 0 or active.max() >= len(params)):
            raise IndexError("an active index is past the last Gaussian")
        is_active = np.zeros(len(params), bool)
        is_active[active] = True
        rest = torch.as_tensor(~is_active, device=self.device)
        others = self._gathered(gaussians[rest], None if is_room is None else is_room[rest])
        index = active.astype(np.int64)
        return index, gaussians[torch.as_tensor(index)], others

    def _params(self, params: np.ndarray) -> Tensor:
        return self._tensor(params, (len(params), n_params(self.blend)))

    def _tensor(self, values: np.ndarray | list[float], shape: tuple[int, ...] | None = None) -> Tensor:
        """A copy in this rasteriser's dtype, on its device."""
        if shape is not None and np.shape(values) != shape:
            raise ValueError(f"an array has shape {list(np.shape(values))}, expected {list(shape)}")
        return torch.tensor(np.asarray(values), dtype=self.dtype, device=self.device)


def make(width: int, height: int, threads: int, blend: str = "sum") -> TorchRasterizer:
    """`threads` is left alone: torch's number of threads belongs to the whole process."""
    return TorchRasterizer(width, height, blend=blend)


def _loss(picture: Tensor, target: TorchTarget) -> Tensor:
    """Σ weight·d², and the matte's: what a fit lowers."""
    loss = (target.weight * (picture[..., :3] - target.picture).square()).sum()
    if target.matte is not None:
        loss = loss + target.matte_weight * (picture[..., 3] - target.matte).square().sum()
    return loss


def _with_colors(gaussians: Tensor, colors: Tensor) -> Tensor:
    return torch.cat((gaussians[:, : COLOR.start], colors, gaussians[:, COLOR.stop :]), 1)


def _rates(schedule: FitSchedule, iteration: int) -> list[float]:
    """Step sizes of nine columns: a cosine from 1 down to `final_rate`."""
    phase = iteration / max(1, schedule.iterations)
    share = schedule.final_rate + (1 - schedule.final_rate) * 0.5 * (1 + math.cos(math.pi * phase))
    rates = [schedule.rate_mean] * 2 + [schedule.rate_shape] * 3 + [schedule.rate_color] * 3
    return [share * rate for rate in [*rates, schedule.rate_weight]]


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b where b > 0, else 0: a converged colour stands still."""
    return torch.where(b > 0, a / b, torch.zeros_like(a))


def _to_codes(values: Tensor) -> np.ndarray:
    """uint8 of values in [0, 1]: the one clamp and the one rounding."""
    return (255 * values.clamp(0, 1) + 0.5).to(torch.uint8).cpu().numpy()
