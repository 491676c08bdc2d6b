"""Values that differ are found by path."""

from __future__ import annotations

from jobs.run.differences import Difference, differences


def test_values_that_differ_are_found_by_path() -> None:
    first = {"seed": 0, "steps": {"svms": {"c": 0.001, "scales": [480]}, "old": {"stage": "score"}}}
    second = {"seed": 0, "steps": {"svms": {"c": 0.01, "scales": [480, 688]}, "new": {"stage": "crops"}}}
    assert list(differences(first, second)) == [
        Difference("steps.new", None, {"stage": "crops"}),
        Difference("steps.old", {"stage": "score"}, None),
        Difference("steps.svms.c", 0.001, 0.01),
        Difference("steps.svms.scales", [480], [480, 688]),
    ]


def test_equal_values_have_none() -> None:
    assert list(differences({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}})) == []
