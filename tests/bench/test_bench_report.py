"""report.html: complete, without a network, and its slider in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace

import cv2
import numpy as np
import pytest
from bench_rows import row

from gscodec.bench.figures import write_figures
from gscodec.bench.published import sources_section
from gscodec.bench.report import error_map, table_html, write_report
from gscodec.bench.section import Chart, Section, Series, Table, Viewer
from gscodec.bench.svg import chart_svg

CHART = Chart(
    "c",
    "a < b",
    "kb/s",
    "dB",
    [Series("gscodec", [(10, 30), (20, 32)]), Series("theirs", [(15, 31)], hollow=True)],
    log_x=True,
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=900,2000",
)


def write_page(out, pictures=((0, 0, 200), (200, 0, 0)), names="codec"):
    """A report with one viewer; pictures are flat, in BGR, the original grey."""
    out.mkdir(exist_ok=True)
    files = []
    for i, color in enumerate([(90, 90, 90), *pictures]):
        cv2.imwrite(str(out / f"{i}.png"), np.full((120, 200, 3), color, np.uint8))
        label = f"codec {i}" if names == "codec" else names[i]
        files.append((label, f"{i} dB", f"{i}.png"))
    viewer = Viewer("v", "one frame", files)
    section = Section(
        "quick", "Quick", "what & why", [Table("t", ["a", "b"], [["<x>", "1"]])], [CHART], [viewer]
    )
    write_report(out, [row(), row("x265", status="failed", note="no <libx265>")], [section], ["a note"])
    return out / "report.html"


def test_page_is_complete_and_needs_no_network(tmp_path):
    page = write_page(tmp_path).read_text(encoding="utf-8")
    assert not re.findall(r"\{\{\w+\}\}", page)
    assert not re.findall(r"(?:src|href)=[\"']?(?!#)[^\"' >]*//|@import|url\(", page)
    assert "no &lt;libx265&gt;" in page
    assert "&lt;x&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 6
    assert "prefers-color-scheme: dark" in page


def test_page_says_what_was_run_on_which_clips(tmp_path):
    rows = [replace(row(width=64, height=48, n_frames=9), clip_sha256="0123456789abcdef" * 4)]
    rows.append(replace(rows[0], figures={"width": 32, "height": 24, "n_frames": 12}))
    write_report(
        tmp_path, rows, [sources_section(["rd"], [])], [], [("quick: command", "gscodec bench 'a <b>.mp4'")]
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "gscodec bench &#x27;a &lt;b&gt;.mp4&#x27;" in page
    assert "<td>talk</td><td>0123456789abcdef</td><td class=n>64x48</td><td class=n>12</td>" in page
    assert "HiNeRV repository results table" in page


def test_the_best_figure_is_bold_in_the_page():
    html = table_html(Table("", ["clip", "a", "b"], [["<x>", "1", "2"]], 1, [], {(0, 2)}))
    assert "<td>&lt;x&gt;</td><td class=n>1</td><td class=n><b>2</b></td>" in html


def test_figures_of_others_are_those_of_the_suites_that_ran():
    assert not sources_section(["quick"], []).tables
    external = row("theirs", status="published", note="their page")
    assert sources_section(["quick"], [external]).tables[0].lines == [["theirs", "talk", "–", "their page"]]
    (table,) = sources_section(["init"], []).tables
    assert {line[0] for line in table.lines} == {"GaussianImage", "paper (superpixels)", "paper (regressor)"}


def test_pictures_that_are_gone_leave_a_line(tmp_path):
    page = write_page(tmp_path)
    (tmp_path / "0.png").unlink()
    section = Section("q", "Q", "", viewers=[Viewer("v", "one", [("original", "", "0.png")])])
    write_report(tmp_path, [row()], [section])
    assert "gone from the cache" in page.read_text()


def test_chart_marks_published_points():
    svg = chart_svg(CHART)
    assert svg.count("<circle") == 3
    assert "(published)" in svg
    assert "a &lt; b" in svg
    assert "No points" in chart_svg(Chart("c", "t", "x", "y", []))


def test_error_map_grows_with_the_error():
    grey = np.full((4, 4, 3), 100, np.uint8)
    assert (error_map(grey, grey) == error_map(grey, grey)[0, 0]).all()
    assert error_map(grey + np.uint8(30), grey).sum() > error_map(grey + np.uint8(3), grey).sum()


def test_figures_are_written(tmp_path):
    pytest.importorskip("matplotlib")
    write_page(tmp_path)
    viewer = Viewer("v", "t", [("original", "", "0.png"), ("ours", "", "1.png")])
    written = write_figures(tmp_path, [Section("s", "S", "", [], [CHART], [viewer])])
    assert [path.name for path in written] == ["c.png", "c.svg", "v.png"]
    assert all(path.stat().st_size > 1000 for path in written)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt install chromium")
@pytest.mark.parametrize(("value", "share_of_left"), [(0, 0.0), (250, 0.25), (1000, 1.0)])
def test_slider_uncovers_the_left_picture(tmp_path, value, share_of_left):
    page = write_page(tmp_path / "out")
    moved = page.with_name("moved.html")
    script = f"""<script>
const slider = document.querySelector(".slider");
slider.value = {value}; slider.dispatchEvent(new Event("input"));
</script></html>"""
    moved.write_text(page.read_text(encoding="utf-8").replace("</html>", script), encoding="utf-8")
    shot = tmp_path / "shot.png"
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--screenshot={shot}",
        moved.as_uri(),
    ]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    blue, green, red = (cv2.imread(str(shot))[:, :, i].astype(int) for i in range(3))
    left = (red > 150) & (green < 60) & (blue < 60)
    right = (blue > 150) & (green < 60) & (red < 60)
    shown = left.sum() / (left.sum() + right.sum())
    assert left.sum() + right.sum() > 0.9 * 120 * 200
    assert shown == pytest.approx(share_of_left, abs=0.02)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt install chromium")
def test_viewer_opens_on_this_codec_beside_x264(tmp_path):
    names = ["original", "gscodec", "x264-medium", "svt-av1"]
    colors = ((0, 0, 200), (200, 0, 0), (0, 200, 0))
    page = write_page(tmp_path / "out", colors, names)
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, timeout=120, check=True, text=True).stdout
    pictures = json.loads(re.search(r'id="pictures">(.*?)</script>', dom, re.DOTALL)[1])
    shown = dict(re.findall(r'<img class="(over|under)"[^>]*src="([^"]+)"', dom))
    assert shown == {"over": pictures["v-1"], "under": pictures["v-2"]}
    assert 'style="width: 400px;"' in dom  # twice as large, as small pictures are, and the slider with them
