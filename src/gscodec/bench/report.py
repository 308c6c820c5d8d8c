"""report.html: one file that needs no network; report_page.html is its frame."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from gscodec.bench.cache import Row, environment
from gscodec.bench.section import Section, Table, Viewer
from gscodec.bench.svg import chart_svg
from gscodec.video.atomic import atomic_path

PAGE = Path(__file__).with_name("report_page.html")
JPEG_QUALITY = 95  # of the embedded pictures; figures are computed from the undamaged ones
ERROR_GAIN = 6  # an error of 255 / ERROR_GAIN code values and more is shown at full strength


def write_report(
    out: Path,
    rows: Sequence[Row],
    sections: Sequence[Section],
    notes: Sequence[str] = (),
    facts: Sequence[tuple[str, str]] = (),
) -> None:
    """Write OUT/report.html.

    Args:
        notes: what the reader should know of this run, one line each.
        facts: names and values that say what was run and where, shown before the versions.
    """
    failed: dict[tuple[str, str], dict[str, None]] = {}  # codec, reason -> clips, each once
    for row in rows:
        if row.status == "failed":
            failed.setdefault((row.codec, row.note), {})[row.clip] = None
    lines = [*notes, *(f"{codec} on {', '.join(clips)}: {note}" for (codec, note), clips in failed.items())]
    pictures: dict[str, str] = {}
    parts = [_section(out, section, pictures) for section in sections]
    navigation = " ".join(f'<a href="#{s.name}">{escape(s.title)}</a>' for s in sections)
    page = PAGE.read_text(encoding="utf-8")
    for name, value in {
        "summary": _summary(rows),
        "notes": "".join(f"<li>{escape(line)}</li>" for line in lines),
        "navigation": navigation,
        "sections": "\n".join(parts),
        "clips": table_html(_clips(rows)),
        "environment": _environment(facts),
        "pictures": json.dumps(pictures).replace("</", "<\\/"),
    }.items():
        page = page.replace("{{" + name + "}}", value)
    with atomic_path(out / "report.html") as temporary:
        Path(temporary).write_text(page, encoding="utf-8")


def table_html(table: Table) -> str:
    """A table; words to the left, figures to the right."""
    figures = ["" if i < table.n_left else " class=n" for i in range(len(table.head))]
    head = "".join(f"<th{kind}>{escape(cell)}</th>" for kind, cell in zip(figures, table.head, strict=True))
    lines = []
    for i, line in enumerate(table.lines):
        shown = [
            f"<b>{escape(cell)}</b>" if (i, j) in table.bold else escape(cell) for j, cell in enumerate(line)
        ]
        cells = "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(figures, shown, strict=True))
        lines.append(f"<tr{' class=ours' if 'gscodec' in line else ''}>{cells}</tr>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    title = f"<h3>{escape(table.title)}</h3>" if table.title else ""
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f"{title}<div class='wide'>{body}</div>" + (f"<ul class='note'>{notes}</ul>" if notes else "")


def error_map(picture: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Mean |difference| over the channels, ERROR_GAIN times stronger, in false colours (BGR)."""
    difference = cv2.absdiff(picture, original).mean(axis=2) * ERROR_GAIN
    return cv2.applyColorMap(np.clip(difference, 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)


def _section(out: Path, section: Section, pictures: dict[str, str]) -> str:
    parts = [f"<section id='{section.name}'><h2>{escape(section.title)}</h2><p>{escape(section.text)}</p>"]
    if section.matte:
        parts.append(f"<p class='note'>{escape(section.matte)}</p>")
    parts += [table_html(table) for table in section.tables]
    for chart in section.charts:
        parts.append(f"<figure><figcaption>{escape(chart.title)}</figcaption>{chart_svg(chart)}</figure>")
    parts += [_viewer(out, viewer, pictures) for viewer in section.viewers]
    return "\n".join([*parts, "</section>"])


def _viewer(out: Path, viewer: Viewer, pictures: dict[str, str]) -> str:
    """A viewer whose pictures go into `pictures`; one that is gone from the disk is left out."""
    images = [(label, caption, cv2.imread(str(out / file))) for label, caption, file in viewer.pictures]
    original = images[0][2]
    if original is None:
        return f"<p class='note'>{escape(viewer.title)}: its pictures are gone from the cache.</p>"
    choices = []
    for i, (label, caption, image) in enumerate(images):
        if image is None or image.shape != original.shape:
            continue
        key = f"{viewer.name}-{i}"
        pictures[key] = _data_uri(image)
        pictures[f"{key}-error"] = _data_uri(error_map(image, original))
        text = f"{label}: {caption}" if caption else label
        choices.append(f"<option value='{escape(key)}'>{escape(text)}</option>")
    options = "".join(choices)
    height, width = original.shape[:2]
    return f"""<div class="viewer" data-width="{width}" data-height="{height}">
<h3>{escape(viewer.title)}</h3>
<div class="controls">
<label>left <select class="left">{options}</select></label>
<label>right <select class="right">{options}</select></label>
<label>zoom <select class="zoom"><option>1</option><option>2</option><option>4</option></select></label>
<label><input type="checkbox" class="error"> error maps: black none, yellow {255 // ERROR_GAIN} code values \
and more</label>
</div>
<input type="range" class="slider" min="0" max="1000" value="500" aria-label="left or right picture">
<div class="stage"><div class="pair">
<img class="under" alt="right picture"><img class="over" alt="left picture"><div class="bar"></div>
</div></div>
</div>"""


def _data_uri(image: np.ndarray) -> str:
    flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", image, flags)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _summary(rows: Sequence[Row]) -> str:
    clips = list(dict.fromkeys(row.clip for row in rows if row.status == "ok"))
    counts = {
        status: sum(row.status == status for row in rows) for status in dict.fromkeys(r.status for r in rows)
    }
    states = ", ".join(f"{n} {status}" for status, n in counts.items())
    noun = "clip" if len(clips) == 1 else "clips"
    return escape(f"{len(clips)} {noun} ({', '.join(clips)}); {len(rows)} rows: {states}.")


def _clips(rows: Sequence[Row]) -> Table:
    """What was coded: each clip's largest size and its most frames, as suites take some of both."""
    lines = []
    for clip in dict.fromkeys(row.clip for row in rows if row.clip_sha256):
        measured = [r for r in rows if r.clip == clip and "width" in r.figures]
        sizes = [(r.figures["width"], r.figures["height"]) for r in measured]
        size = "{}x{}".format(*max(sizes)) if sizes else "–"
        n_frames = str(max(r.figures["n_frames"] for r in measured)) if measured else "–"
        digest = next(r.clip_sha256 for r in rows if r.clip == clip and r.clip_sha256)
        lines.append([clip, digest[:16], size, n_frames])
    return Table("", ["clip", "SHA-256 begins", "size", "frames"], lines, 2)


def _environment(facts: Sequence[tuple[str, str]]) -> str:
    return "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(str(value) or '–')}</td></tr>"
        for name, value in (*facts, *environment())
    )
