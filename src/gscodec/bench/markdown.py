"""report.md: the tables of a report, ready to be pasted where Markdown is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gscodec.bench.section import Section, Table
from gscodec.bench.table import marked
from gscodec.video.atomic import atomic_path


def write_markdown(out: Path, sections: Sequence[Section], facts: Sequence[tuple[str, str]]) -> None:
    """Write OUT/report.md.

    Args:
        facts: names and values that say what was run where.
    """
    parts = ["# gscodec bench"]
    for section in sections:
        parts += [f"## {section.title}", section.text, *filter(None, [section.matte])]
        parts += map(table_markdown, section.tables)
    parts += ["## Machine", "\n".join(f"- {name}: {value or '–'}" for name, value in facts)]
    with atomic_path(out / "report.md") as temporary:
        Path(temporary).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def table_markdown(table: Table) -> str:
    """A table with its title and notes; words to the left, figures to the right."""
    marks = ["---" if i < table.n_left else "---:" for i in range(len(table.head))]
    lines = [_line(table.head), _line(marks), *map(_line, marked(table))]
    parts = [f"**{table.title}**"] if table.title else []
    parts.append("\n".join(lines))
    if table.notes:
        parts.append("\n".join(f"- {note}" for note in table.notes))
    return "\n\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
