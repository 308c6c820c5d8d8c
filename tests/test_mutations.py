"""tools/mutate.py: every wrong decision it would put in still finds its place in the sources."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from mutate import MUTATIONS, PACKAGE, Mutation, place_of


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.what)
def test_every_mutation_finds_its_place(mutation: Mutation) -> None:
    assert place_of(mutation).is_relative_to(PACKAGE)
    assert mutation.new != mutation.old


def test_a_mutation_without_a_place_is_an_error() -> None:
    with pytest.raises(LookupError, match="0 times"):
        place_of(Mutation("nothing", "no line of ours reads like this one", ""))
