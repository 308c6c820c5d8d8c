"""The twin: the rasteriser in plain torch, slow and obvious: fits and colour solves around drawing_torch.

Arrays in, arrays out; what it draws is defined there. docs/fitting.md describes the fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gscodec.errors import ConfigError
from gscodec.splat.drawing_torch import (
    EDGE,
    GROUND,
    MAX_LOG_WEIGHT,
    MIN_SCALE,
    FindPairs,
    chunks,
    gathered,
    local_coordinates,
    moved,
    natural_gradients,
    shown,
    step_gradients,
    weighted_pairs,
)
from gscodec.splat.gaussians import CHOLESKY, COLOR, LOG_WEIGHT, RGB_FROM_OPPONENT, n_params
from gscodec.splat.raster import FitResult, FitSchedule, Project


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
            gradient = step_gradients(drawn, slope, move, self._find_pairs, own_rooms)
            if project is not None:
                plain = step_gradients(drawn, slope, torch.add, self._find_pairs, own_rooms)
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
            return step_gradients(gaussians, slope, torch.add, self._find_pairs)[:, COLOR]

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
