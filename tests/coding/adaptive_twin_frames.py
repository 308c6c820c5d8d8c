"""What frames consist of under the adaptive coder: twin of csrc/syntax.cpp, written from docs/bitstream.md.

Searches are done by looking at everything, arithmetic in plain integers, one function for both directions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from adaptive_twin import Coder, Reader, Writer, bl, clamp, divide, graded, sign

from gscodec.coding.quantize import State

TOP = (1 << 20) - 1
NEVER = 1 << 20


@dataclass
class Gaussian:
    s: list[int] = field(default_factory=lambda: [0] * 9)  # the last only under the normalised blend
    k: int = 0
    e: int = 0
    room: int = 0
    drift: list[int] = field(default_factory=lambda: [0, 0])
    # Of P-frames
    neighbours: list[int] = field(default_factory=list)
    age: int = NEVER
    groups: int = 0
    change: list[int] = field(default_factory=lambda: [0] * 9)

    @property
    def m(self) -> int:
        return clamp((self.k - self.e - 2) >> 1, -4, 3)

    @property
    def cell(self) -> tuple[int, int]:
        return self.s[0] >> (3 - self.m), self.s[1] >> (3 - self.m)


def from_state(state: State) -> list[Gaussian]:
    rows = zip(state.symbols, state.size_class, state.energy_class, state.is_room, state.drift, strict=True)
    return [
        Gaussian([*s.tolist(), 0][:9], int(k), int(e), int(room), d.tolist()) for s, k, e, room, d in rows
    ]


def to_state(gaussians: list[Gaussian], quality: float, n_symbols: int) -> State:
    return State(
        np.array([g.s[:n_symbols] for g in gaussians], np.int32).reshape(-1, n_symbols),
        np.array([g.k for g in gaussians], np.int32),
        np.array([g.e for g in gaussians], np.int32),
        np.array([g.room for g in gaussians], bool),
        quality,
        np.array([g.drift for g in gaussians], np.int32).reshape(-1, 2),
    )


def round_sq(e: int) -> int:
    return 25 * 2**e // 36


def round_scale(e: int) -> int:
    return max(1, math.isqrt(round_sq(e)))


def luma(e: int) -> int:
    return math.isqrt(4 * 2**e // 5)


def morton(cell: tuple[int, int]) -> int:
    return sum((cell[0] >> i & 1) << 2 * i | (cell[1] >> i & 1) << 2 * i + 1 for i in range(16))


def cell_of(number: int) -> tuple[int, int]:
    return tuple(sum((number >> 2 * i + axis & 1) << i for i in range(16)) for axis in (0, 1))


def near(gaussians: list[Gaussian], candidates: Iterable[int], cell: tuple[int, int], most: int) -> list[int]:
    """Rings of cells around one, row by row, rows from left to right, in a cell the last one first."""

    def place(i: int) -> tuple[int, int, int, int]:
        dx, dy = gaussians[i].cell[0] - cell[0], gaussians[i].cell[1] - cell[1]
        return max(abs(dx), abs(dy)), dy, dx, -i

    return [i for i in sorted(candidates, key=place) if place(i)[0] <= 4][:most]


def scale(x: int, h: int) -> int:
    h = clamp(h, -40, 40)
    if h % 2:
        x, h = divide(x * 92682, 65536), h - 1
    x = x * 2 ** (h // 2) if h >= 0 else divide(x, 2 ** (-h // 2))
    return clamp(x, -TOP, TOP)


def minus(value: int | None, guess: int) -> int | None:
    return None if value is None else value - guess


class FrameTwin:
    """Twin of _native.FrameCoder."""

    def __init__(self, width: int, height: int, is_older: bool = False, normalised: bool = False) -> None:
        self.size = width, height
        self.normalised, self.n_symbols = normalised, 9 if normalised else 8
        self.is_older = is_older
        apart = [6] if is_older else [g for g in range(6, 32) if g == 6 or 5 * 2**g <= min(width, height)]
        self.cell_log2 = apart[-1] + 4  # sixteenths of a pixel
        self.gaussians: list[Gaussian] = []
        self.trained = "" if is_older else "normalised" if normalised else "sum"
        self.coder = Coder(self.trained)

    def encode_iframe(self, state: State) -> bytes:
        self.coder = Coder(self.trained)
        self._iframe(len(state), from_state(state))
        return self.coder.bits.finish()

    def decode_iframe(self, data: bytes, n: int, quality: float) -> State:
        self.coder = Coder(self.trained)
        self.coder.bits = Reader(data)
        self._iframe(n, None)
        self.coder.bits.finish()
        return to_state(self.gaussians, quality, self.n_symbols)

    def encode_pframe(
        self, state: State, mesh: np.ndarray | None, room_moves: bool, born: State | None = None
    ) -> bytes:
        self.coder.bits = Writer()
        newborn = None if born is None else from_state(born)
        self._pframe(from_state(state), None if mesh is None else mesh.tolist(), room_moves, newborn)
        return self.coder.bits.finish()

    def decode_pframe(self, data: bytes, quality: float) -> State:
        self.coder.bits = Reader(data)
        self._pframe(None, None, False, None)
        self.coder.bits.finish()
        return to_state(self.gaussians, quality, self.n_symbols)

    def _iframe(self, n: int, given: list[Gaussian] | None) -> None:
        self.gaussians, self.moved_before, self.changed_before = [], 0, set()
        self.mesh_before: list | None = None
        self.renewed_before = self.born_before = 0
        self._newcomers(n, given, births=False)
        self._find_neighbours()

    def _find_neighbours(self) -> None:
        for i, g in enumerate(self.gaussians):
            others = (j for j in range(len(self.gaussians)) if j != i)
            g.neighbours = near(self.gaussians, others, g.cell, 6)

    def _newcomers(self, n: int, given: list[Gaussian] | None, births: bool) -> None:
        gaps, number = [3, 3, 3], 0
        for i in range(n):
            want = given[i] if given else None
            g = Gaussian()
            if births:
                self._code_birth_place(want, gaps, number, n - i)
            else:
                self._code_place(g, want, gaps, number)
            number += gaps[0]
            cell = cell_of(number)
            found = near(self.gaussians, range(len(self.gaussians)), cell, 3)
            a = self.gaussians[found[0]] if found else Gaussian()
            b = self.gaussians[found[1]] if len(found) > 1 else a
            self._code_classes(g, want, a, b, len(found), gaps)
            if self.normalised:
                self._code_weight(g, want, a, b)
                self._code_predicted_colors(g, want, a, b, len(found))
            else:
                self._code_colors(g, want, a, b, len(found))
            self._code_shape(g, want, a, b, len(found))
            width = 3 - g.m
            for axis in (0, 1):
                inside = 0
                for bit in range(width - 1, -1, -1):
                    inside = inside << 1 | self.coder.plain(want and want.s[axis] >> bit & 1)
                g.s[axis] = cell[axis] << width | inside
            self.gaussians.append(g)

    def _code_birth_place(self, want: Gaussian | None, gaps: list[int], number: int, n_left: int) -> None:
        end = morton(((self.size[0] + 128) // 8, (self.size[1] + 128) // 8))
        inputs = (min(bl((end - min(number, end)) // (n_left + 1)), 31), None, None, None)
        self.gap_grade = min(bl(sum(gaps)), 31)
        gap = self.coder.unsigned("birth-gap", inputs, want and morton(want.cell) - number)
        gaps[:] = [gap, *gaps[:2]]
        self.before = self.gaussians[-1].room if self.gaussians else 0

    def _code_place(self, g: Gaussian, want: Gaussian | None, gaps: list[int], number: int) -> None:
        inputs = (min(bl(sum(gaps)), 31), 5 * min(bl(gaps[0]), 5) + min(bl(gaps[1]), 4))
        inputs += (int(not self.gaussians), None)
        self.gap_grade = min(bl(sum(gaps)), 31)
        gap = self.coder.unsigned("gap", inputs, want and morton(want.cell) - number)
        gaps[:] = [gap, *gaps[:2]]
        self.before = self.gaussians[-1].room if self.gaussians else 0

    def _code_classes(
        self, g: Gaussian, want: Gaussian | None, a: Gaussian, b: Gaussian, n: int, gaps: list[int]
    ) -> None:
        coder = self.coder
        inputs = (a.room + 2 * b.room + 4 * min(n, 2), self.before + 2 * a.room, None, None)
        g.room = coder.flag("room", inputs, want and want.room)
        k0 = (a.k + b.k + 1) // 2 if n else 10
        inputs = (4 * g.room + min(abs(a.k - b.k), 3), clamp(k0, 0, 31), min(a.k, 15) + 16 * g.room)
        g.k = k0 + coder.signed("size", (*inputs, self.gap_grade), want and want.k - k0)
        e0 = clamp(g.k + divide(a.e - a.k + b.e - b.k, 2), 0, 24)
        inputs = (6 * g.room + min(abs(a.e - a.k - b.e + b.k), 5), e0, g.k, clamp(g.k - k0 + 4, 0, 8))
        g.e = e0 + coder.signed("energy", inputs, want and want.e - e0)
        self.k0, self.e0 = k0, e0

    def _code_weight(self, g: Gaussian, want: Gaussian | None, a: Gaussian, b: Gaussian) -> None:
        guess, half = divide(a.s[8] + b.s[8], 2), g.e // 2
        inputs = (2 * half + g.room, 3 * clamp(g.k - self.k0 + 4, 0, 8) + min(abs(a.k - b.k), 2))
        inputs += (3 * min(bl(a.s[8] - b.s[8]), 4) + clamp(g.e - self.e0 + 1, 0, 2), clamp(guess + 16, 0, 31))
        g.s[8] = guess + self.coder.signed("weight", inputs, want and want.s[8] - guess)

    def _code_predicted_colors(
        self, g: Gaussian, want: Gaussian | None, a: Gaussian, b: Gaussian, n: int
    ) -> None:
        half, off = g.e // 2, []
        for c, stream in ((5, "luma"), (6, "chroma-u"), (7, "chroma-v")):
            pa, pb = (scale(q.s[c], g.k - q.k) for q in (a, b))
            guess, doubt = divide(pa + pb, 2), min(bl(pa - pb), 8)
            third = 2 if c == 5 else 5 * graded(off[-1], 2) + (graded(off[0], 2) if c == 7 else 2)
            inputs = (2 * half + g.room, 3 * doubt + min(n, 2), third)
            inputs += (3 * clamp(g.e - self.e0 + 4, 0, 8) + min(doubt // 2, 2),)
            off.append(self.coder.signed(stream, inputs, want and want.s[c] - guess))
            g.s[c] = guess + off[-1]

    def _code_colors(self, g: Gaussian, want: Gaussian | None, a: Gaussian, b: Gaussian, n: int) -> None:
        coder, half = self.coder, g.e // 2
        off = graded(abs(a.s[5]) - luma(a.e), 3) if a.s[5] else 7
        inputs = (half, off, clamp(g.e - self.e0 + 3, 0, 6) + 7 * g.room, None)
        magnitude = luma(g.e) + coder.signed("luma", inputs, want and abs(want.s[5]) - luma(g.e))
        if magnitude:
            inputs = (3 * (sign(a.s[5]) + 1) + sign(b.s[5]) + 1, half, g.k, None)
            negative = coder.flag("luma-sign", inputs, want and int(want.s[5] < 0))
            g.s[5] = -magnitude if negative else magnitude
        for c, stream in ((6, "chroma-u"), (7, "chroma-v")):
            pa, pb = (divide(q.s[c] * g.s[5], q.s[5]) if q.s[5] else 0 for q in (a, b))
            guess = clamp(divide(pa + pb, 2), -2 * magnitude, 2 * magnitude)
            same = 7 if c == 6 else graded(g.s[6], 3)
            inputs = (half, 2 * min(bl(pa - pb), 5) + g.room, graded(guess, 4))
            inputs += (3 * same + min(bl(magnitude), 5) // 2,)
            g.s[c] = guess + coder.signed(stream, inputs, want and want.s[c] - guess)

    def _code_shape(self, g: Gaussian, want: Gaussian | None, a: Gaussian, b: Gaussian, n: int) -> None:
        coder, e, half = self.coder, g.e, g.e // 2
        r = round_scale(e)
        la, lb = (q.s[2] * r // round_scale(q.e) if n else r for q in (a, b))
        guess = clamp((la + lb + 2 * r) // 4, 1, TOP)
        leaning = graded(clamp(divide((la - r) * 8, r), -100, 100), 4)
        inputs = (e, leaning + 9 * g.room, 4 * min(bl(la - lb), 6) + min(half, 12) // 4, None)
        g.s[2] = guess + coder.signed("l1", inputs, want and want.s[2] - guess)
        guess = clamp(round_sq(e) // g.s[2], 1, TOP)
        leaning = graded(clamp(divide((g.s[2] - r) * 8, r), -100, 100), 4)
        inputs = (e, 2 * min(bl(guess), 9) + g.room, leaning, None)
        g.s[4] = guess + coder.signed("l3", inputs, want and want.s[4] - guess)
        sa, sb = (divide(q.s[3] * r, round_scale(q.e)) if n else 0 for q in (a, b))
        guess = clamp(divide(sa + sb, 4), -TOP, TOP)
        leaning = graded(clamp(divide((g.s[2] - g.s[4]) * 8, g.s[2] + g.s[4]), -100, 100), 4)
        inputs = (e, graded(guess, 5) + 11 * g.room, leaning, min(bl(sa - sb), 6))
        g.s[3] = guess + coder.signed("shear", inputs, want and want.s[3] - guess)

    def _place(self, g: Gaussian) -> tuple[int, int]:
        """Sixteenths of a pixel."""
        x, y = (
            clamp(
                (2 * g.s[axis] + 1) * 2 ** (g.m + 4) // 2 - 1024 + (g.drift[axis] >> 4),
                0,
                16 * self.size[axis] - 1,
            )
            for axis in (0, 1)
        )
        return x, y

    def _code_motion(self, mesh: list | None, room_moves: bool, encodes: bool) -> tuple[list | None, bool]:
        coder = self.coder
        moves = coder.flag(
            "motion", (self.moved_before, None, None, None), int(mesh is not None) if encodes else None
        )
        self.moved_before = moves
        mesh_before, self.mesh_before = self.mesh_before, None
        if not moves:
            return None, False
        room_moves = bool(coder.flag("motion", (2, None, None, None), int(room_moves) if encodes else None))
        columns, rows = (((length - 1) >> self.cell_log2 - 4) + 2 for length in self.size)
        used = set()
        for g in self.gaussians:
            if room_moves or not g.room:
                x, y = (p >> self.cell_log2 for p in self._place(g))
                used |= {(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)}
        said: dict[tuple[int, int], list[int]] = {}
        for row, column in sorted(used):
            assert row < rows
            assert column < columns
            beside = [said[p] for p in ((row, column - 1), (row - 1, column)) if p in said]
            first = 7
            point = []
            for axis, stream in ((0, "motion-x"), (1, "motion-y")):
                values = [p[axis] for p in beside]
                guess = divide(sum(values), 2) if len(values) == 2 else sum(values)
                doubt = min(bl(values[0] - values[1]), 4) if len(values) == 2 else 5 + len(values)
                want = mesh[row][column][axis] - guess if encodes and mesh else None
                then = None
                if mesh_before is not None and not self.is_older:
                    v = mesh_before[row][column][axis]
                    then = 8 + 8 * sign(v) + graded(v - guess, 3)
                coded = coder.signed(stream, (doubt, graded(guess, 3), first, then), want)
                assert -1024 <= guess + coded <= 1024
                point.append(guess + coded)
                first = graded(coded, 3)
            said[row, column] = point
        self.mesh_before = [[said.get((r, c), [0, 0]) for c in range(columns)] for r in range(rows)]
        return self.mesh_before, room_moves

    def _move(self, mesh: list, room_moves: bool) -> None:
        for g in self.gaussians:
            if g.room and not room_moves:
                continue
            x, y = self._place(g)
            one, cell = 2**self.cell_log2, self.cell_log2
            fx, fy, column, row = x % one, y % one, x >> cell, y >> cell
            for axis in (0, 1):
                p00, p01 = mesh[row][column][axis], mesh[row][column + 1][axis]
                p10, p11 = mesh[row + 1][column][axis], mesh[row + 1][column + 1][axis]
                total = (p00 * (one - fx) + p01 * fx) * (one - fy) + (p10 * (one - fx) + p11 * fx) * fy
                last = (16 * (self.size[axis] + 128) - 1) >> (g.m + 4)
                if self.is_older:
                    g.s[axis] = clamp(g.s[axis] + ((total + 2 ** (21 + g.m)) >> (22 + g.m)), 0, last)
                    continue
                drift = g.drift[axis] + ((total + 2 ** (2 * cell - 8)) >> (2 * cell - 7))
                steps = (drift + 2 ** (g.m + 7)) >> (g.m + 8)
                inside = 0 <= g.s[axis] + steps <= last
                g.s[axis] = clamp(g.s[axis] + steps, 0, last)
                g.drift[axis] = drift - steps * 2 ** (g.m + 8) if inside else 0

    def _pframe(
        self,
        given: list[Gaussian] | None,
        mesh: list | None,
        room_moves: bool,
        born: list[Gaussian] | None,
    ) -> None:
        renews = self.coder.flag(
            "motion",
            (3 + self.renewed_before, None, None, None),
            None if given is None else int(born is not None),
        )
        self.renewed_before = renews
        mesh, room_moves = self._code_motion(mesh, room_moves, given is not None)
        if mesh is not None:
            self._move(mesh, room_moves)
        n = len(self.gaussians)
        density = min(bl(64 * len(self.changed_before) // max(n, 1)), 7)
        changed: set[int] = set()
        for i, g in enumerate(self.gaussians):
            g.age = min(g.age + 1, NEVER)
            steps = ((2, 0), (3, 1), (5, 2), (9, 3), (1001, 4), (NEVER + 1, 5))
            age = next(grade for below, grade in steps if g.age < below)
            before = sum(j in self.changed_before for j in g.neighbours)
            guides = [j for j in g.neighbours if j < i and j in changed]
            now, half = min(len(guides), 3), min(g.e // 2, 12)
            two = (i - 1 in changed) + 2 * (i - 2 in changed)
            wanted = [x - y for x, y in zip(given[i].s, g.s, strict=True)] if given else None
            inputs = (4 * age + now, 7 * now + before, 2 * half + g.room, 8 * two + density)
            if self.coder.flag("changed", inputs, None if wanted is None else int(any(wanted))):
                changed.add(i)
                self._code_change(g, wanted, self.gaussians[guides[0]] if guides else None, age, half)
        self.changed_before = changed
        if renews:
            self._renew(born)

    def _renew(self, born: list[Gaussian] | None) -> None:
        alive = [
            i for i, g in enumerate(self.gaussians) if (g.s[8] > -16 if self.normalised else any(g.s[5:]))
        ]
        self.changed_before = {new for new, old in enumerate(alive) if old in self.changed_before}
        self.gaussians = [self.gaussians[i] for i in alive]
        n_born = self.coder.unsigned(
            "births", (self.born_before, None, None, None), None if born is None else len(born)
        )
        self.born_before = min(bl(n_born), 7)
        self._newcomers(n_born, born, births=True)
        for i in range(len(alive), len(self.gaussians)):
            self.gaussians[i].age = 0
            self.changed_before.add(i)
        self._find_neighbours()

    def _code_change(
        self, g: Gaussian, wanted: list[int] | None, guide: Gaussian | None, age: int, half: int
    ) -> None:
        groups = [(1, "mean?", (0, 1)), (2, "shape?", (2, 3, 4)), (4, "luma?", (5,)), (8, "chroma?", (6, 7))]
        if self.normalised:
            groups.append((16, "weight?", (8,)))
        nobody = 0 if self.normalised else 16
        done = 0
        for value, stream, columns in groups:
            first = done + 8 if value == 8 else done
            inputs = (first, g.groups, guide.groups if guide else nobody, 2 * half + g.room)
            bit = wanted and int(any(wanted[j] for j in columns))
            bit = 1 if value == groups[-1][0] and done == 0 else self.coder.flag(stream, inputs, bit)
            done += value * bit
        d = [0] * 9

        def delta(j: int, stream: str, other: int) -> None:
            z = 5
            if guide:
                own, its = ((2 * q.m, q.k - q.e, -q.k, 0)[(j >= 2) + (j >= 5) + (j >= 8)] for q in (g, guide))
                c = guide.change[j]
                z = graded(divide(scale(4 * c, its - own), 4) + sign(c), 2) if c else 2
            inputs = (3 * z + sign(g.change[j]) + 1, 2 * half + g.room, other, done)
            d[j] = self.coder.signed(stream, inputs, wanted and wanted[j])

        if done & 1:
            delta(0, "Δx", age)
            delta(1, "Δy", 6 + graded(d[0], 2))
        if done & 2:
            delta(2, "Δl1", age)
            delta(3, "Δl2", 6 + graded(d[2], 2))
            delta(4, "Δl3", 6 + 5 * graded(d[2], 2) + graded(d[3], 2))
        if done & 4:
            delta(5, "Δluma", 6 + 5 * graded(d[2], 2) + graded(d[4], 2))
        if done & 8:
            delta(6, "Δu", 6 + graded(d[5], 2))
            delta(7, "Δv", 6 + 5 * graded(d[5], 2) + graded(d[6], 2))
        if done & 16:
            delta(8, "Δweight", age)
        g.s = [x + y for x, y in zip(g.s, d, strict=True)]
        g.change, g.groups, g.age = d, done, 0
