"""What is told of the built-in recipes."""

from __future__ import annotations

import pytest

from jobs.recipes import recipe_names
from jobs.reference.recipes import RecipeNote, recipe_note
from sppnet.errors import ConfigError


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_says_what_it_is_and_what_it_asks_for(name: str) -> None:
    note = recipe_note(name)
    assert note.name == name
    assert len(note.about) > 40
    for path, what in note.asks.items():
        assert len(what) > 20, path
        assert f"{path}=" in note.about, f"{name} begins without how to give {path}"


def test_it_is_told_in_blocks() -> None:
    note = RecipeNote("mine", "What it is.\n  --set a.b=C", {"a.b": "a file"}, {"images": "ingest", "a": "weights"})
    assert note.text() == (
        "recipe mine\n\nWhat it is.\n  --set a.b=C\n\nIt asks for:\n  a.b: a file\n\n"
        "Its steps:\n  images  ingest\n  a       weights\n\n"
        "sppnet plan mine tells what it costs, sppnet help STAGE what a step's fields mean."
    )
    assert "asks" not in RecipeNote("mine", "", {}, {"images": "ingest"}).text()


def test_the_steps_are_in_the_order_they_are_made() -> None:
    steps = recipe_note("voc07").steps
    assert steps["maps"] == "extract"
    assert list(steps).index("maps") < list(steps).index("svms-pool5-1s")


def test_an_unknown_one_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'voc07'"):
        recipe_note("voc7")
