"""Several data sets as one: DET's validation images with training images that lie elsewhere, say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from pipelines.datasets.keys import Shards, checked_categories
from pipelines.datasets.sources import DataSet, DatasetConfig, RawImage, split_of
from sppnet.errors import ConfigError


def _parse_part(raw: Any) -> Any:
    from pipelines.datasets.kinds import parse_dataset  # which knows this module

    return parse_dataset(raw)


class JoinedDataset(DatasetConfig):
    """Data sets of any kinds side by side, each with splits of its own.

    Attributes:
        kind: `joined`.
        root: Not used.
        parts: The data sets; no two may have a split of the same name.
        categories: The categories in order; by default those of the parts, the first part's first.
    """

    kind: Literal["joined"] = "joined"
    root: Literal[""] = ""
    parts: Annotated[
        tuple[Annotated[SerializeAsAny[DatasetConfig], BeforeValidator(_parse_part)], ...], Field(min_length=1)
    ]
    categories: tuple[str, ...] | None = None

    def open(self) -> Joined:
        """See `DatasetConfig.open`; raises `ConfigError` also for a split that two parts have."""
        return Joined([(part.kind, part.open()) for part in self.parts], self.categories)


class Joined:
    """Data sets as one.

    Args:
        parts: The data sets with the names of their kinds.
        categories: See `JoinedDataset`.

    Raises:
        ConfigError: Two parts have a split of the same name.
    """

    def __init__(self, parts: Sequence[tuple[str, DataSet]], categories: Sequence[str] | None = None) -> None:
        self._parts = tuple(parts)
        self._categories = categories
        self._owners: dict[str, DataSet] = {}
        for _, part in self._parts:
            for split in part.splits:
                if split in self._owners:
                    raise ConfigError(f"dataset: two of its parts have a split {split!r}")
                self._owners[split] = part

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of all parts."""
        return tuple(self._owners)

    def shards(self, split: str, size: int) -> Shards:
        """See `DataSet`."""
        return self._owners[split].shards(split, size)

    def categories(self) -> tuple[str, ...]:
        """The config's, or those of all parts."""
        if self._categories is not None:
            return checked_categories(self._categories, "categories")
        return tuple(dict.fromkeys(category for _, part in self._parts for category in part.categories()))

    def names(self) -> Mapping[str, str]:
        """Those of all parts; of several for one category the first."""
        return {code: name for _, part in reversed(self._parts) for code, name in part.names().items()}

    def describe(self) -> Mapping[str, Any]:
        """See `DataSet`."""
        parts = [{"kind": kind, **part.describe()} for kind, part in self._parts]
        return {"parts": parts, "categories": list(self.categories())}

    def fetch(self, unit: str, key: str) -> RawImage:
        """See `DataSet`."""
        return self._owners[split_of(unit)].fetch(unit, key)
