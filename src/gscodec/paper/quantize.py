"""Profiles `paper` and `gaussianimage`: GaussianImage's quantisers, 56 bits a Gaussian before entropy coding.

    mean            IEEE half of the position, normalised to [-1, 1]      2 x 16 bits
    l1, l2, l3      uniform, 64 levels, scale and offset per attribute      3 x 6 bits
    colour          residual vector quantisation: a sum of two entries      2 x 3 bits
                    out of two codebooks of eight

The tables (scales, offsets, codebooks) are halves and travel with every I-frame. Siblings: `frames`
(payloads), `qat` (tables fitted with the Gaussians), `coding.quantize` (the default profile). Specified in
docs/bitstream.md, "Profile paper".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gscodec.coding.quantize import MIN_SCALE

N_CODES = 7  # half x, half y, three Cholesky levels, two codebook entries
LEVELS = 64
STAGES, ENTRIES = 2, 8
MAX_HALF = 0x3FFF  # magnitude of a mean's half: below 2
MIN_TABLE_SCALE, MAX_TABLE_SCALE, MAX_TABLE_OFFSET, MAX_TABLE_COLOR = 2.0**-10, 128.0, 4096.0, 64.0

# Where the levels of l1, l2, l3 begin and end, in units of √(mean l1·l3): calibrated off-line by
# tools/tune_steps.py, docs/bits.md, "PTQ and QAT".
RANGES = np.array([[0.0, 3.2], [-3.6, 3.6], [0.0, 2.24]])
CODEBOOK_ROUNDS = 6  # of assigning and solving

_MEANS, _FACTORS, _COLORS = slice(0, 2), slice(2, 5), slice(5, 8)  # columns of parameters
_LEVELS = slice(2, 5)  # columns of codes
_RIDGE = 1e-6


@dataclass(slots=True)
class PaperTables:
    """What turns codes into values.

    Attributes:
        scale, offset: float16 [3], of l1, l2, l3: value = level·scale + offset, pixels.
        codebooks: float16 [2, 8, 3], opponent colours; a colour is the sum of one entry of each.
    """

    scale: np.ndarray
    offset: np.ndarray
    codebooks: np.ndarray


@dataclass(slots=True)
class PaperState:
    """The integers of every live Gaussian under the paper's quantisers.

    Attributes:
        symbols: int32 [N, 7]: bits of two halves, three levels, two entries.
        is_room: bool [N]; the person's come first.
        tables: of the last I-frame.
        size: width and height of the picture, pixels.
    """

    symbols: np.ndarray
    is_room: np.ndarray
    tables: PaperTables
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.symbols)

    def copy(self) -> PaperState:
        return PaperState(self.symbols.copy(), self.is_room.copy(), self.tables, self.size)


def calibrated_tables(params: np.ndarray, ranges: np.ndarray = RANGES) -> PaperTables:
    """Tables for fitted Gaussians, without any search over them but the colours' codebooks (PTQ).

    Args:
        params: float32 [N, 8]. ranges: see RANGES.
    """
    area = np.abs(params[:, 2].astype(np.float64) * params[:, 4])
    unit = float(np.sqrt(area.mean())) if len(params) else 1.0
    low, high = np.clip(ranges * unit, -MAX_TABLE_OFFSET, MAX_TABLE_OFFSET).T
    scale = np.clip((high - low) / (LEVELS - 1), MIN_TABLE_SCALE, MAX_TABLE_SCALE)
    colors = params[:, _COLORS].astype(np.float64)
    books = fit_codebooks(colors, area)
    return PaperTables(scale.astype(np.float16), low.astype(np.float16), books.astype(np.float16))


def quantize(
    params: np.ndarray, tables: PaperTables, size: tuple[int, int], entries: np.ndarray | None = None
) -> np.ndarray:
    """Codes of Gaussians, int32 [N, 7]: each value to the nearest, colours over all 64 sums.

    Args:
        entries: int [N, 2], taken for the colours instead.
    """
    p = params.astype(np.float64)
    half_size = np.array(size) / 2
    codes = np.empty((len(p), N_CODES), np.int32)
    top = np.uint16(MAX_HALF).view(np.float16).astype(np.float64)
    means = np.clip((p[:, _MEANS] - half_size) / half_size, -top, top).astype(np.float16) + np.float16(0)
    codes[:, _MEANS] = means.view(np.uint16)
    scale, offset = tables.scale.astype(np.float64), tables.offset.astype(np.float64)
    codes[:, _LEVELS] = np.clip(np.rint((p[:, _FACTORS] - offset) / scale), 0, LEVELS - 1)
    if entries is None:
        entries = _nearest_sums(p[:, _COLORS], tables.codebooks.astype(np.float64))
    codes[:, 5:] = entries
    return codes


def dequantize(state: PaperState) -> np.ndarray:  # -> [N, 8]
    """Parameters of the state, float32: identical on every machine, for all steps in float64 are exact."""
    return dequantize_codes(state.symbols, state.tables, state.size)


def dequantize_codes(codes: np.ndarray, tables: PaperTables, size: tuple[int, int]) -> np.ndarray:
    """`dequantize` of codes [N, 7]."""
    out = np.empty((len(codes), 8))
    half_size = np.array(size) / 2
    halves = np.ascontiguousarray(codes[:, _MEANS]).astype(np.uint16).view(np.float16)
    out[:, _MEANS] = halves.astype(np.float64) * half_size + half_size
    scale, offset = tables.scale.astype(np.float64), tables.offset.astype(np.float64)
    out[:, _FACTORS] = codes[:, _LEVELS] * scale + offset
    out[:, [2, 4]] = np.maximum(out[:, [2, 4]], MIN_SCALE)
    books = tables.codebooks.astype(np.float64)
    out[:, _COLORS] = books[0, codes[:, 5]] + books[1, codes[:, 6]]
    return out.astype(np.float32)


def fit_codebooks(colors: np.ndarray, weights: np.ndarray, rounds: int = CODEBOOK_ROUNDS) -> np.ndarray:
    """Two codebooks whose sums come near the colours: k-means in two stages, then both at once.

    Entries are ordered by use, the most used first, so that small numbers are frequent ones.

    Args:
        colors: float64 [N, 3]. weights: of their squared errors, [N]; a Gaussian's is its area.
    Returns:
        float64 [2, 8, 3].
    """
    if len(colors) == 0:
        return np.zeros((STAGES, ENTRIES, 3))
    weights = np.maximum(weights, 1e-9)
    first = _kmeans(colors, weights)
    second = _kmeans(colors - first[_nearest(colors, first)], weights)
    books = improved_codebooks(np.stack([first, second]), colors, weights, rounds)
    codes = _nearest_sums(colors, books)
    return np.stack(
        [
            book[np.argsort(-np.bincount(codes[:, stage], minlength=ENTRIES), kind="stable")]
            for stage, book in enumerate(books)
        ]
    )


def improved_codebooks(
    books: np.ndarray, colors: np.ndarray, weights: np.ndarray, rounds: int
) -> np.ndarray:  # -> [2, 8, 3]
    """Codebooks after some rounds of assigning colours to sums and solving for all sixteen entries."""
    books = np.clip(books, -MAX_TABLE_COLOR, MAX_TABLE_COLOR)
    for _ in range(rounds):
        codes = _nearest_sums(colors, books)
        chosen = np.zeros((len(colors), STAGES * ENTRIES))
        chosen[np.arange(len(colors)), codes[:, 0]] = 1
        chosen[np.arange(len(colors)), ENTRIES + codes[:, 1]] = 1
        weighted = chosen.T * (weights / weights.sum())
        flat = books.reshape(-1, 3)
        # The ridge holds what is free: unused entries, and a constant moved from one book to the other.
        normal = weighted @ chosen + _RIDGE * np.eye(STAGES * ENTRIES)
        flat = np.linalg.solve(normal, weighted @ colors + _RIDGE * flat)
        books = np.clip(flat.reshape(books.shape), -MAX_TABLE_COLOR, MAX_TABLE_COLOR)
    return books


def _kmeans(points: np.ndarray, weights: np.ndarray, rounds: int = 8) -> np.ndarray:  # -> [8, 3]
    """Weighted k-means from the quantiles along the principal axis."""
    centered = points - np.average(points, axis=0, weights=weights)
    axis = np.linalg.svd(centered * np.sqrt(weights)[:, None], full_matrices=False)[2][0]
    order = np.argsort(centered @ axis, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    picks = np.searchsorted(share, (np.arange(ENTRIES) + 0.5) / ENTRIES)
    centers = points[order[np.minimum(picks, len(points) - 1)]]
    for _ in range(rounds):
        owner = _nearest(points, centers)
        mass = np.bincount(owner, weights, ENTRIES)
        sums = np.stack([np.bincount(owner, weights * points[:, k], ENTRIES) for k in range(3)], 1)
        centers = np.where(mass[:, None] > 0, sums / np.maximum(mass, 1e-30)[:, None], centers)
    return centers


def _nearest(points: np.ndarray, centers: np.ndarray) -> np.ndarray:  # [N, 3], [K, 3] -> [N]
    return np.argmin((centers**2).sum(axis=1) - 2 * points @ centers.T, axis=1)


def _nearest_sums(colors: np.ndarray, books: np.ndarray) -> np.ndarray:  # [N, 3], [2, 8, 3] -> [N, 2]
    """Entries of both codebooks whose sum is nearest."""
    sums = (books[0][:, None] + books[1][None]).reshape(-1, 3)
    return np.stack(np.divmod(_nearest(colors, sums), ENTRIES), 1)
