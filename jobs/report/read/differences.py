"""Differences of rows that an evaluation compares, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.report.read.json_numbers import finite

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Difference:
    """How much one row's figure is above another's.

    Attributes:
        name: The comparison's.
        row: The row that is compared, for a person.
        over: The row that it is compared with.
        mean: The difference, -1..1; None where one of them has no figure.
        by_pair: Of each pair of members; empty where rows have no members.
        over_pairs: The interval over other members, such as other seeds; None without, or with one pair.
        over_images: The interval over other images; None where there is no figure.
    """

    name: str
    row: str
    over: str
    mean: float | None
    by_pair: tuple[float, ...]
    over_pairs: Interval | None
    over_images: Interval | None

    @property
    def is_sure(self) -> bool:
        """Whether no interval that there is holds 0: by other members, and by other images."""
        found = [one for one in (self.over_pairs, self.over_images) if one is not None]
        return bool(found) and all(low > 0 or high < 0 for low, high in found)


def class_differences(body: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Read those of top-1 errors, of what `evaluate-classes` wrote; where one row is compared, views are named."""
    return tuple(
        Difference(
            name=str(one["name"]),
            row=f"{one['row']}, {one['views']}",
            over=f"{one['over']}, {one['over_views']}",
            mean=finite(one["difference"]),
            by_pair=tuple(map(finite, one["by_pair"])),
            over_pairs=_interval(one["over_pairs"]),
            over_images=_interval(one["over_images"]),
        )
        for one in body.get("comparisons", ())
    )


def detection_differences(body: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Read those of the mAP that the protocol goes by, of what `evaluate` wrote."""
    figure = "area_map" if body.get("protocol") == "det" else "voc07_map"
    return tuple(_of_detectors(one, one[figure]) for one in body.get("comparisons", ()))


def _of_detectors(one: Mapping[str, Any], found: Mapping[str, Any]) -> Difference:
    mean = None if found["difference"] is None else finite(found["difference"])
    bounds = None if mean is None else (found["low"], found["high"])
    return Difference(str(one["name"]), str(one["row"]), str(one["over"]), mean, (), None, _interval(bounds))


def _interval(found: Sequence[float] | None) -> Interval | None:
    return None if found is None else (finite(found[0]), finite(found[1]))
