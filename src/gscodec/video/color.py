"""Which YCbCr a video holds: one rule for reader and writer, in H.273 code points and swscale's numbers."""

from __future__ import annotations

UNSPECIFIED = 2
BT709 = 1
BT601 = 6  # the 525-line code point; 5, the 625-line one, has the same coefficients

# H.273 matrix -> swscale's SWS_CS_* with the same coefficients. Others (YCgCo, ICtCp, constant luminance) are
# beyond swscale.
SWS_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}

LIMITED, FULL = 1, 2  # FFmpeg's AVCOL_RANGE_MPEG and _JPEG


def conversion_matrix(matrix: int, height: int) -> int:
    """Return the SWS_CS_* for an H.273 matrix.

    Without a usable one it is BT.601 below 720 lines, else BT.709, as players do.

    Args:
        matrix: H.273 code point, 2 = unspecified.
        height: lines of the coded picture.
    """
    default = BT601 if height < 720 else BT709
    return SWS_MATRICES.get(matrix, SWS_MATRICES[default])
