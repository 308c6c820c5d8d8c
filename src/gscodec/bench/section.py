"""What a suite has to show, apart from how: terminal, report.html and figures are made from these records."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text; the first `n_left` columns are words, the others figures.

    Attributes:
        bold: (line, column) of the best figures, whoever has them.
    """

    title: str
    head: list[str]
    lines: list[list[str]]
    n_left: int = 1
    notes: list[str] = field(default_factory=list)
    bold: set[tuple[int, int]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Series:
    """A curve; `hollow`: published by others, not measured here. `line`: its points are connected."""

    name: str
    points: list[tuple[float, float]]
    hollow: bool = False
    line: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves over one pair of axes. `name` is the stem of its PNG and SVG files."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: list[Series]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, slots=True)
class Viewer:
    """One frame as several codecs give it: (label, caption, file below the output folder), original first."""

    name: str
    title: str
    pictures: list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Section:
    """All of one suite.

    Attributes:
        matte: which mattes its figures of the person are counted over; shown wherever the section is.
    """

    name: str
    title: str
    text: str
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    viewers: list[Viewer] = field(default_factory=list)
    matte: str = ""
