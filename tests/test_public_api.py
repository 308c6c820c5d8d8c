"""What `import gscodec` promises: these names, quickly, with the versions in agreement."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import gscodec

ROOT = Path(__file__).parents[1]
PUBLIC = [
    "Decoder",
    "DecoderLimits",
    "Encoder",
    "EncoderConfig",
    "FrameType",
    "GscodecError",
    "GsvReader",
    "GsvWriter",
    "__version__",
    "decode_file",
    "encode_file",
    "encoder_config",
    "errors",
    "inspect_file",
]


def test_public_names_are_these():
    assert gscodec.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(gscodec))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_exists_and_says_what_it_is(name):
    value = getattr(gscodec, name)
    assert name == "__version__" or value.__doc__


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="'gscodec' has no attribute 'encode_clip'"):
        _ = gscodec.encode_clip  # type: ignore[attr-defined]


def test_error_tree_is_as_drawn():
    """Base classes in the drawing at the top of errors.py, and what a caller may rely on."""
    from gscodec import errors

    drawn = re.findall(r"^[ │]*(?:[├└]─ )?(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    assert set(drawn) == {name for name in vars(errors) if name.endswith("Error")}
    assert all(issubclass(getattr(errors, name), errors.GscodecError) for name in drawn)
    assert errors.ConfigError.exit_code == 2
    assert {getattr(errors, name).exit_code for name in drawn if name != "ConfigError"} == {1}


def test_import_loads_nothing_heavy():
    code = (
        "import sys, gscodec\n"
        "heavy = {'numpy', 'av', 'cv2', 'torch', 'click', 'dataclasses'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "gscodec.EncoderConfig, gscodec.GscodecError\n"
        "assert 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_versions_agree():
    latest = re.search(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest is not None
    assert latest[1] == gscodec.__version__
    try:
        installed = metadata.version("gscodec")
    except metadata.PackageNotFoundError:
        pytest.skip("gscodec is not installed, only on the path")
    assert installed == gscodec.__version__
