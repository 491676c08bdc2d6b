"""Comparisons of rows of `evaluate-classes`, paired member by member and image by image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from pipelines.artifacts.class_metrics import rounded
from sppnet.arrays import Bools
from sppnet.errors import ConfigError
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

    def view_sets(self, common: Sequence[str]) -> list[tuple[str, str]]:
        """Return both rows' sets of views for each comparison; `common` are those that both have."""
        if self.views is None:
            return [(views, views) for views in common]
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


def compare(name: str, config: ComparisonConfig, rows: RowVerdicts) -> Iterator[dict[str, Any]]:
    """Compare two rows' top-1 errors on the images that all their members judged.

    Groups of as many members are paired in their order, such as by seed; a single classifier is compared with each.

    Args:
        name: The comparison's.
        config: What is compared.
        rows: What is known of every row.

    Yields:
        JSON values, for each set of views.

    Raises:
        ConfigError: There is no such row or set of views, or members can't be paired.
    """
    where = f"comparisons.{name}"
    first, other = _row(config.row, rows, where), _row(config.other, rows, where)
    for views, over_views in config.view_sets([one for one in first if one in other]):
        ours, theirs = _members(config.row, first, views, where), _members(config.other, other, over_views, where)
        if len(ours) != len(theirs) and 1 not in (len(ours), len(theirs)):
            raise ConfigError(f"{where}: {len(ours)} members can't be paired with {len(theirs)}")
        pairs = max(len(ours), len(theirs))
        wrong = _on_shared_images([*ours, *theirs])
        if not wrong.shape[1]:
            raise ConfigError(f"{where}: no image was judged by all members")
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


def _row(name: str, rows: RowVerdicts, where: str) -> Mapping[str, Sequence[Verdicts]]:
    if name not in rows:
        raise ConfigError(f"{where}: '{name}' is no row; there are {', '.join(rows)}")
    return rows[name]


def _members(name: str, found: Mapping[str, Sequence[Verdicts]], views: str, where: str) -> Sequence[Verdicts]:
    if views not in found:
        raise ConfigError(f"{where}: '{name}' was not classified under {views}, but under {', '.join(found)}")
    return found[views]


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
