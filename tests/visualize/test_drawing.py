"""Outlines against the eigenvectors of covariances; where lines and letters lie; sizes of panels."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from gscodec.splat.gaussians import covariances
from gscodec.video.frame import VideoFormat
from gscodec.visualize.draw import (
    INK,
    area_coverage,
    border_coverage,
    draw_text,
    line_coverage,
    outlines,
    text_width,
)
from gscodec.visualize.sheet import Cell, compose, panel_size, rows_of_views
from gscodec.visualize.views import Panel


def random_params(rng: np.random.Generator, n: int) -> np.ndarray:
    params = rng.normal(0, 1, (n, 9)).astype(np.float32)
    params[:, :2] = 10 + 60 * rng.random((n, 2))
    params[:, [2, 4]] = 1 + 6 * rng.random((n, 2))
    params[:, 3] = rng.normal(0, 4, n)
    return params


def test_outlines_are_the_ellipses_of_the_covariances(rng):
    """The twin: half axes are the roots of the eigenvalues, along the eigenvectors."""
    params = random_params(rng, 20)
    for gaussian, points, covariance in zip(params, outlines(params), covariances(params), strict=True):
        values, vectors = np.linalg.eigh(covariance.astype(np.float64))
        along = (points - gaussian[:2]) @ vectors  # coordinates along the axes
        np.testing.assert_allclose((along**2 / values).sum(axis=1), 1, rtol=1e-4)
        np.testing.assert_allclose(np.abs(along).max(axis=0), np.sqrt(values), rtol=0.01)


def test_lines_lie_where_the_ellipses_do_at_any_size(rng):
    for params in random_params(rng, 8)[:, None]:
        values, vectors = np.linalg.eigh(covariances(params)[0].astype(np.float64))
        for scale in (2.0, 5.0):
            size = round(90 * scale), round(80 * scale)
            line = line_coverage(outlines(params), size, (scale, scale), 2.0)
            area = area_coverage(outlines(params), size, (scale, scale))
            middle = params[0, :2] * scale
            assert area[int(middle[1]), int(middle[0])] == 1
            for k in (0, 1):
                for sign in (-1, 1):
                    end = middle + sign * np.sqrt(values[k]) * scale * vectors[:, k]
                    x, y = np.floor(end).astype(int)
                    if 2 <= x < size[0] - 2 and 2 <= y < size[1] - 2:
                        assert line[y - 1 : y + 2, x - 1 : x + 2].max() > 0.7
            points = outlines(params)[0]
            if (points > 0).all() and (points < [90, 80]).all():
                around = scale * np.hypot(*(points - np.roll(points, 1, axis=0)).T).sum()
                expected = np.pi * np.sqrt(values.prod()) * scale**2
                assert area.sum() == pytest.approx(expected, abs=0.5 * around)  # half a pixel


def test_width_of_a_line_does_not_follow_the_video(rng):
    """A circle of a quarter of the panel, coded with 40 and with 400 pixels: the same line."""
    drawn = []
    for side in (40, 400):
        params = np.array([[side / 2, side / 2, side / 4, 0, side / 4, 0, 0, 0]], np.float32)
        drawn.append(line_coverage(outlines(params), (200, 200), (200 / side, 200 / side), 1.5))
    np.testing.assert_allclose(drawn[0], drawn[1], atol=0.05)


def test_borders_lie_between_labels():
    labels = np.zeros((10, 20), np.int32)
    labels[:, 10:] = 1
    coverage = border_coverage(labels, (40, 20), 1.0)
    assert coverage[:, 19:22].max(axis=1).min() > 0.4
    assert not coverage[:, :18].any()
    assert not coverage[:, 23:].any()


def test_letters_are_as_wide_as_said_and_none_fails():
    picture = np.zeros((60, 400, 3), np.uint8)
    draw_text(picture, (10, 40), "Gaussians", 30, INK)
    columns = np.flatnonzero(picture.any(axis=(0, 2)))
    assert columns[0] >= 9
    assert columns[-1] <= 10 + text_width("Gaussians", 30) + 1
    assert columns[-1] >= 10 + 0.9 * text_width("Gaussians", 30)
    assert picture.max() > 200
    draw_text(picture, (390, 5), "cut off at the edge, \N{SNOWMAN}", 30, INK)


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [((640, 360), 1, (400, 225)), ((360, 640), 1, (225, 400)), ((352, 288), Fraction(12, 11), (400, 300))],
)
def test_panels_have_the_shape_of_the_video(size, aspect, expected):
    video = VideoFormat(*size, Fraction(1, 25), Fraction(25), Fraction(aspect))
    assert panel_size(video, 400) == expected


@pytest.mark.parametrize("n_views", range(1, 10))
def test_sheets_hold_every_panel_whole(n_views):
    colors = [(10 * i + 60, 255 - 20 * i, 128) for i in range(n_views)]
    cells = [
        Cell("Title", Panel(np.full((90, 160, 3), c, np.uint8), ((c, "a key"), (None, "words " * 9))))
        for c in colors
    ]
    sheet = compose(rows_of_views(cells), ["head"], 160)
    assert sheet.shape[0] % 2 == sheet.shape[1] % 2 == 0
    for color in colors:
        rows, columns = np.nonzero((sheet == color).all(axis=2))
        largest = np.bincount(rows).max(), np.bincount(columns).max()
        assert largest[0] == 160  # rows of the panel
        assert largest[1] >= 90
