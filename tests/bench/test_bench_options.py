"""The command line of `gscodec bench`, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from gscodec.bench.options import SUITES, parse_options
from gscodec.bench.rivals import RIVALS
from gscodec.bench.suites import SUITE_TABLE
from gscodec.errors import ConfigError


def test_defaults():
    options = parse_options([])
    assert (options.suite, options.clips, options.out) == ("quick", (), Path("bench-out"))
    assert options.rivals is None


def test_suite_then_clips(tmp_path):
    options = parse_options(
        ["rd", str(tmp_path), "--dataset", "vcd", "--frames", "5", "--protocol", "masked"]
    )
    assert (options.suite, options.clips) == ("rd", (tmp_path, Path("vcd")))
    assert (options.frames, options.protocols) == (5, ("masked",))


def test_options_may_stand_between_suite_and_clips(tmp_path):
    options = parse_options(["rd", "--frames", "5", str(tmp_path), "--gop", "3", "b.mp4"])
    assert (options.suite, options.clips, options.gop) == ("rd", (tmp_path, Path("b.mp4")), 3)


def test_baselines_are_rivals_too():
    assert parse_options(["rd", "--rivals", "paper,x264-medium"]).rivals == ("paper", "x264-medium")


def test_a_clip_alone_is_for_quick(tmp_path):
    assert parse_options([str(tmp_path)]).suite == "quick"


def test_every_suite_is_there():
    assert set(SUITE_TABLE) == set(SUITES) - {"all"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fast"], "suite 'fast' is unknown; permitted: quick, init"),
        (["quick", "--rivals", "x263"], f"--rivals 'x263' is unknown; permitted: {next(iter(RIVALS))}"),
        (["quick", "--preset", "best"], "--preset 'best' is unknown"),
        (["quick", "--backend", "tpu"], "--backend 'tpu' is unknown"),
        (["quick", "--background", "blue"], "--background 'blue' is unknown"),
        (["quick", "--protocol", "half"], "--protocol 'half' is unknown"),
        (["quick", "--frames", "0"], "--frames 0 is out of range"),
        (["quick", "--frames", "many"], "invalid int value"),
        (["quick", "--against", "none.json"], "no such file"),
        (["quick", "--external", "none.csv"], "no such file"),
        (
            ["quick", "--matte", "none.png"],
            "--matte 'none.png' is neither a file nor a mode; expected an image",
        ),
        (["quick", "--matte", "portrait"], "white on the person, or human or full"),
        (["quick", "a.mp4", "b.mp4", "--matte", __file__], "--matte FILE is of one clip"),
        (["quick", str(Path(__file__).parent), "--matte", __file__], "--matte FILE is of one clip"),
        (["quick", "--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_bad_arguments_are_one_line(arguments, said):
    with pytest.raises(ConfigError) as caught:
        parse_options(arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_names_every_suite(capsys):
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in SUITES)
