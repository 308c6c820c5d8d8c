"""Documents say what the code does: defaults and constants that prose states, each against the real thing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gscodec.analysis.superpixel import WIDEN
from gscodec.config import GAUSSIANS_AT_CENTER, encoder_config
from gscodec.encode import frame_store, iframe, lagrangian, settings

DOCS = Path(__file__).parents[1] / "docs"
NORMALISED, SUM = encoder_config(), encoder_config(blend="sum")

# Document, what it says with the number as a group, and the number.
STATED = [
    ("fitting.md", r"widened by ([\d.]+) under the sum", WIDEN),
    ("fitting.md", r"under the sum \(([\d.]+) normalised\)", iframe.NORMALISED_WIDEN),
    ("fitting.md", r"colours are solved by (\d+) sweeps", iframe.COLOR_SWEEPS),
    ("fitting.md", r"default under the normalised blend is ([\d.]+); at", NORMALISED.detail),
    ("fitting.md", r"\n([\d.]+) is kept\. Person and room", frame_store.MATTE_WEIGHT),
    ("bits.md", r"normalised, 0 \| (\d) \(kept\)", NORMALISED.hold),
    ("bits.md", r"(\d\.\d+), 0\.05 \(kept for `--background none`", settings.BLACK_SHARE),
    ("bits.md", r"The room at ([\d.]+) of the person's weight", NORMALISED.background_weight),
    ("bits.md", r"instead of ([\d.]+): person", SUM.background_weight),
]


@pytest.mark.parametrize(("document", "pattern", "value"), STATED)
def test_a_document_states_the_real_number(document: str, pattern: str, value: float) -> None:
    found = re.findall(pattern, (DOCS / document).read_text(encoding="utf-8"))
    assert found, f"docs/{document} no longer says this; say it, or take it off the list"
    assert {float(number) for number in found} == {float(value)}


def test_the_changelog_states_the_room() -> None:
    text = (DOCS.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    said = re.search(r"The room gets (\d+) % of the Gaussians .* \((\d+) % and a twentieth before", text)
    assert said
    assert [int(n) / 100 for n in said.groups()] == [NORMALISED.background_share, SUM.background_share]
    assert f"`--hold` is {NORMALISED.hold} instead of {SUM.hold}" in text


def test_lambda_and_numbers_of_the_blends() -> None:
    text = (DOCS / "bits.md").read_text(encoding="utf-8")
    assert "N times 0.75" in text
    assert GAUSSIANS_AT_CENTER["normalised"] / GAUSSIANS_AT_CENTER["sum"] == 0.75
    assert 0.5 <= lagrangian.LAMBDA_I["normalised"] / lagrangian.LAMBDA_I["sum"] <= 0.6
