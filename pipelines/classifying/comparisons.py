"""Comparisons of rows of `evaluate-classes`, paired member by member and image by image."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from pipelines.artifacts.class_metrics import rounded
from sppnet.arrays import Bools
from sppnet.errors import ConfigError, DataError
from sppnet.evaluation.paired import Interval, paired_difference


class ComparisonConfig(BaseModel):
    """What is compared with what.

    Attributes:
        row: The row that is compared: a step, an ensemble or a group.
        over: The row that it is compared with; by default the same, under other views.
        views: The set of views; by default each that both rows have.
        over_views: The other row's set of views; by default the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str
    over: str | None = None
    views: str | None = None
    over_views: str | None = None

    @model_validator(mode="after")
    def _two(self) -> ComparisonConfig:
        if self.over_views and not self.views:
            raise ValueError("over_views needs views")
        if self.other == self.row and (self.over_views or self.views) == self.views:
            raise ValueError(f"'{self.row}' is compared with itself; give over, or views and over_views")
        return self

    @property
    def other(self) -> str:
        """The row that `row` is compared with."""
        return self.over or self.row

    def view_sets(self, first: Collection[str], other: Collection[str]) -> list[tuple[str, str]]:
        """Return both rows' sets of views for each comparison, given which sets each has."""
        if self.views is None:
            return [(views, views) for views in first if views in other]
        return [(self.views, self.over_views or self.views)]


@dataclass
class Verdicts:
    """Which images one classifier got wrong.

    Attributes:
        keys: The images, in the order in which they were judged.
        wrong: Whether each was taken for another class.
    """

    keys: list[str] = field(default_factory=list)
    wrong: list[bool] = field(default_factory=list)

    def add(self, keys: Sequence[str], wrong: Bools) -> None:
        """Take in a shard's images."""
        self.keys.extend(keys)
        self.wrong.extend(wrong.tolist())


RowVerdicts = Mapping[str, Mapping[str, Sequence[Verdicts]]]
"""The members' verdicts of a row, by the row's name and set of views."""


def check_comparison(name: str, config: ComparisonConfig, rows: Mapping[str, Mapping[str, int]]) -> None:
    """Check that two rows can be compared.

    Args:
        name: The comparison's.
        config: What is compared.
        rows: How many members every row has, by its name and set of views.

    Raises:
        ConfigError: There is no such row or set of views, or members can't be paired.
    """
    where = f"comparisons.{name}"
    for row in (config.row, config.other):
        if row not in rows:
            raise ConfigError(f"{where}: '{row}' is no row; there are {', '.join(rows)}")
    first, other = rows[config.row], rows[config.other]
    pairs = config.view_sets(first, other)
    if not pairs:
        raise ConfigError(f"{where}: no view set is in both; give views and over_views")
    for views, over_views in pairs:
        for row, wanted in ((config.row, views), (config.other, over_views)):
            if wanted not in rows[row]:
                raise ConfigError(
                    f"{where}: '{row}' is not classified under {wanted}, but under {', '.join(rows[row])}"
                )
        counts = first[views], other[over_views]
        if counts[0] != counts[1] and 1 not in counts:
            raise ConfigError(f"{where}: {counts[0]} members can't be paired with {counts[1]}")


def compare(name: str, config: ComparisonConfig, rows: RowVerdicts) -> Iterator[dict[str, Any]]:
    """Compare two rows' top-1 errors on the images that all their members judged.

    Groups of as many members are paired in their order, such as by seed; a single classifier is compared with each.

    Args:
        name: The comparison's.
        config: What is compared, as `check_comparison` lets it be.
        rows: What is known of every row.

    Yields:
        JSON values, for each set of views.

    Raises:
        DataError: No image was judged by all members.
    """
    first, other = rows[config.row], rows[config.other]
    for views, over_views in config.view_sets(first, other):
        ours, theirs = first[views], other[over_views]
        pairs = max(len(ours), len(theirs))
        wrong = _on_shared_images([*ours, *theirs])
        if not wrong.shape[1]:
            raise DataError("no-images", f"comparisons.{name}: no image was judged by all members")
        mine, others = (np.broadcast_to(part, (pairs, wrong.shape[1])) for part in np.split(wrong, [len(ours)]))
        found = paired_difference(mine, others)
        yield {
            "name": name,
            "row": config.row,
            "views": views,
            "over": config.other,
            "over_views": over_views,
            "images": wrong.shape[1],
            "difference": rounded(found.mean),
            "by_pair": [rounded(value) for value in found.by_pair],
            "over_pairs": _interval(found.over_pairs),
            "over_images": _interval(found.over_images),
        }


def _on_shared_images(members: Sequence[Verdicts]) -> Bools:
    """Return bool `[members, images]` of the images that all judged, in one order."""
    keys = members[0].keys
    if any(one.keys != keys for one in members):
        shared = set.intersection(*(set(one.keys) for one in members))
        keys = sorted(shared)
    rows = [_in_order(one, keys) for one in members]
    return np.array(rows, dtype=np.bool_).reshape(len(members), len(keys))


def _in_order(member: Verdicts, keys: Sequence[str]) -> list[bool]:
    if member.keys is keys or member.keys == keys:
        return member.wrong
    found = dict(zip(member.keys, member.wrong, strict=True))
    return [found[key] for key in keys]


def _interval(found: Interval | None) -> list[float | None] | None:
    return None if found is None else [rounded(found.low), rounded(found.high)]
