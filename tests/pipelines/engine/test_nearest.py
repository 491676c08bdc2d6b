"""Hints for names that are not known."""

from __future__ import annotations

from pipelines.engine.nearest import nearest


def test_the_nearest_name_is_told_or_all_of_them() -> None:
    assert nearest("widht", ["batch", "width", "wide"]) == "; did you mean 'width'?"
    assert nearest("zzz", iter(["batch", "width"])) == "; known: batch, width"
