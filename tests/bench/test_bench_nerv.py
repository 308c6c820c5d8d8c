"""The rival NeRV: a file on disk that draws the clip again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gscodec.bench import nerv, suite_rd
from gscodec.bench.cache import row_from_dict
from gscodec.bench.command import run
from gscodec.errors import CorruptError
from gscodec.metrics import psnr

torch = pytest.importorskip("torch", reason="torch is not installed")

SIZE = WIDTH, HEIGHT = 72, 50


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return [
        np.stack([120 + 80 * np.sin((x + 4 * i) / 9), 2 * y + 60, 200 - 2 * x], axis=2)
        .clip(0, 255)
        .astype(np.uint8)
        for i in range(3)
    ]


def quality(drawn: list[np.ndarray], clip: list[np.ndarray]) -> float:
    return float(np.mean([psnr(a, b) for a, b in zip(drawn, clip, strict=True)]))


def test_a_file_draws_what_was_learned_and_more_training_draws_it_better(clip, tmp_path) -> None:
    shape, said = nerv.NervShape(3, HEIGHT, WIDTH, 4), []
    db = []
    for epochs in (1, 60):
        net = nerv.train(shape, clip.__getitem__, epochs, said.append)
        path = tmp_path / f"{epochs}.nerv"
        assert nerv.write(path, shape, net) == path.stat().st_size
        again, loaded = nerv.read(path)
        assert again == shape
        drawn = list(nerv.pictures(again, loaded))
        assert [(p.shape, p.dtype) for p in drawn] == [((HEIGHT, WIDTH, 3), np.uint8)] * 3
        exact = list(nerv.pictures(shape, net))
        assert quality(drawn, exact) > 30  # rounding to 8 bits costs little
        db.append(quality(drawn, clip))
    assert db[1] > db[0] + 5
    assert len(said) == 6
    assert path.stat().st_size < sum(w.numel() for w in net.state_dict().values()) + 1000


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: b"NOPE" + data, "begin"),
        (lambda data: data[:40], "not a NeRV file"),
        (lambda data: data.replace(b'"height": 50', b'"height": 99'), "expected"),
        (lambda data: data.replace(b'"channels": 4', b'"channels": 0'), "cannot be"),
        (lambda data: data.replace(b'"channels"', b'"chunnels"'), "chunnels"),
        (lambda data: data[:-9], "not a NeRV file"),
    ],
)
def test_damage_is_said(damage, reason: str, tmp_path) -> None:
    shape, path = nerv.NervShape(3, HEIGHT, WIDTH, 4), tmp_path / "a.nerv"
    nerv.write(path, shape, nerv._network(shape))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptError, match=reason):
        nerv.read(path)


def test_rd_measures_it_where_it_is_asked_for(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(suite_rd, "POINTS", ({"crf": 40},))
    monkeypatch.setattr(suite_rd, "WIDTHS", (4, 6))
    common = (
        "rd",
        "--size",
        "96x64",
        "--frames",
        "2",
        "--repeats",
        "1",
        "--no-report",
        "--out",
        str(tmp_path),
    )
    assert run([*common, "--rivals", "nerv", "--nerv-epochs", "2"]) == 0
    rows = [row_from_dict(r) for r in json.loads((tmp_path / "results.json").read_text())["rows"]]
    found = [row for row in rows if row.codec == "nerv"]
    assert [(row.point, row.status) for row in found] == [("width 4", "ok"), ("width 6", "ok")]
    for row in found:
        (path,) = [p for p in tmp_path.rglob("*.nerv") if p.stat().st_size == row.figures["n_bytes"]]
        assert row.figures["roi_psnr_db"] > 5
        assert nerv.read(path)[0].n_frames == 2
