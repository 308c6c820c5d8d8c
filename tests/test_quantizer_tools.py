"""tools/tune_steps.py and tools/measure_bits_back.py run on a small clip and print figures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli_tools import make_clip
from gscodec import encode_file, encoder_config

TOOLS = Path(__file__).parents[1] / "tools"


def run_tool(name: str, *args: object) -> str:
    command = [sys.executable, str(TOOLS / f"{name}.py"), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "a.mp4", 4)


def test_tune_steps(clip: Path) -> None:
    few = ("--gaussians", 40, "--iterations", 10, "--plain-iterations", 20)
    text = run_tool("tune_steps", clip, *few)
    assert text.startswith("2 pictures of a.mp4")
    assert re.search(r"constants: MEAN_STEP = [\d.]+, SCALE_STEP = [\d.]+, SHEAR_STEP = [\d.]+\n", text)
    assert re.search(r"constants: RANGES end at [\d.]+, [\d.]+, [\d.]+\n", text)


@pytest.mark.parametrize(
    "settings", [{"profile": "paper"}, {"entropy": "bits-back"}], ids=["paper", "default"]
)
def test_measure_bits_back(settings: dict[str, str], clip: Path, tmp_path: Path) -> None:
    config = encoder_config(
        "realtime", **settings, gaussians=80, iterations=20, p_iterations=3, roi="full", threads=1
    )
    encode_file(clip, tmp_path / "a.gsv", config)
    text = run_tool("measure_bits_back", tmp_path / "a.gsv")
    figures = {key.strip(): float(value) for key, value in re.findall(r"^    (.*?) +([\d.]+)$", text, re.M)}
    assert figures["bits-back, bytes"] <= figures["ans (sorted gaps), bytes"] + 8
    if settings.get("profile"):
        saved = figures["a list, bytes"] - figures["multiset, bytes"]
        assert saved == pytest.approx(figures["log2 n!, bytes"], abs=8)
