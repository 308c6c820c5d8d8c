"""tools/mutate.py: every wrong decision still finds its place, and docs/testing.md lists it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import mutate
from mutate import BEGIN, END, GUARDS, MUTATIONS, PACKAGE, PAGE, ROOT, Mutation, Row, place_of, write_table


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.what)
def test_every_mutation_finds_its_place(mutation: Mutation) -> None:
    assert place_of(mutation).is_relative_to(PACKAGE)
    assert mutation.new != mutation.old


def test_a_mutation_without_a_place_is_an_error() -> None:
    with pytest.raises(LookupError, match="0 times"):
        place_of(Mutation("nothing", "no line of ours reads like this one", ""))


def test_a_mutation_with_two_places_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"is there \d\d+ times"):
        place_of(Mutation("anything", "import numpy as np", ""))


def test_the_guard_tests_exist() -> None:
    for guard in GUARDS:
        assert (ROOT / guard).exists(), guard


def test_the_table_is_of_these_mutations_and_all_are_noticed() -> None:
    table = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    cells = [line.split(" | ") for line in table.splitlines() if re.match(r"\| \d", line)]
    assert [what for _, what, _ in cells] == [mutation.what for mutation in MUTATIONS], "run `make mutate`"
    assert "nobody" not in table


def test_the_table_goes_between_the_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "testing.md"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n", encoding="utf-8")
    monkeypatch.setattr(mutate, "PAGE", page)
    names = [f"test_a.py::test_number_{i}" for i in range(5)]
    write_table([Row(1, "one", names, 9.0), Row(2, "two", [], 50.0)], {2}, 90.0)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}1 of 2 are noticed.")
    assert text.endswith(f"| 2 | two | **nobody** |\n{END}after\n")
    assert "| 1 | one | `test_a.py`: number 0; number 1; number 2 and 2 more |" in text
