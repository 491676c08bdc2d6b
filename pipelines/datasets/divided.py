"""A data set of any kind with one of its splits divided: images to learn from, and others held out.

Which part an image is in follows from its key alone, so that images that come or go move no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.keys import check_split
from pipelines.datasets.kinds import parse_dataset
from pipelines.datasets.protocol import DataSet, DatasetConfig, ImageFile, Item, Place
from sppnet.errors import ConfigError
from sppnet.seeds import derive_seed


class DividedDataset(DatasetConfig):
    """A data set with one of its splits divided into parts, each a split of its own.

    Attributes:
        kind: `divided`.
        root: Not used.
        base: The data set.
        split: Its split that is divided; the others stay.
        into: Names of the parts, and how much of the images each gets beside the others. Which one an image is in
            follows from its key and `seed`. [shares]
        seed: Of the division. [no unit]
    """

    kind: Literal["divided"] = "divided"
    root: Literal[""] = ""
    base: Annotated[SerializeAsAny[DatasetConfig], BeforeValidator(parse_dataset)]
    split: str = "train"
    into: Annotated[dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=2)]
    seed: int = 0

    def place(self) -> Any:
        """Return where the data set lies, and how it is divided: that decides how its shards are cut."""
        return [self.kind, self.base.place(), self.split, self.into, self.seed]

    def roots(self) -> tuple[str, ...]:
        """Return those of the data set."""
        return self.base.roots()

    def open(self) -> Divided:
        """See `DatasetConfig.open`; raise `ConfigError` also where the data set has no such split."""
        return Divided(self.base.open(), self)


class Divided:
    """A data set with a split divided.

    Args:
        base: The data set.
        config: See `DividedDataset`.

    Raises:
        ConfigError: There is no such split, or another one is called as a part is.
    """

    def __init__(self, base: DataSet, config: DividedDataset) -> None:
        self._base = base
        self._config = config
        check_split(config.split, base.splits)
        for name in config.into:
            if name in base.splits and name != config.split:
                raise ConfigError(f"dataset.into: the data set has a split '{name}' already; choose another name")

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of the data set, the parts in the place of the one that is divided."""
        parts = {split: (split,) for split in self._base.splits} | {self._config.split: tuple(self._config.into)}
        return tuple(name for split in self._base.splits for name in parts[split])

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`; raise `ConfigError` also for a part without images."""
        return self._own(split, self._base.items(self._whole(split), contents))

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        return [replace(place, split=split) for place in self._own(split, self._base.places(self._whole(split)))]

    def count(self, split: str) -> int:
        """See `DataSet`; of a part the images are listed."""
        return len(self.places(split)) if split in self._config.into else self._base.count(self._whole(split))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return those of the data set."""
        return self._base.categories(contents)

    def names(self) -> Mapping[str, str]:
        """Return those of the data set."""
        return self._base.names()

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        return self._base.image(self._in_base(place))

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`."""
        return self._base.annotation(self._in_base(place), width, height)

    def label(self, place: Place) -> str:
        """See `DataSet`."""
        return self._base.label(self._in_base(place))

    def _in_base(self, place: Place) -> Place:
        return replace(place, split=self._whole(place.split))

    def _whole(self, split: str) -> str:
        """Return the data set's own split that one is, or is a part of."""
        check_split(split, self.splits)
        return self._config.split if split in self._config.into else split

    def _own(self, split: str, found: Sequence[Any]) -> Sequence[Any]:
        if split not in self._config.into:
            return found
        own = [one for one in found if self._part(one.key) == split]
        if not own:
            raise ConfigError(
                f"dataset.into: none of the {len(found)} images of '{self._config.split}' is in '{split}'; give it a "
                "larger share, or another seed"
            )
        return own

    @cached_property
    def _part(self) -> Callable[[str], str]:
        """Tells the part that a key is in."""
        names, shares = tuple(self._config.into), self._config.into.values()
        whole = sum(shares)
        ends = [end / whole for end in accumulate(shares)]

        def part(key: str) -> str:
            drawn = derive_seed(self._config.seed, "divided", key) / 2**63
            return next((name for name, end in zip(names, ends, strict=True) if drawn < end), names[-1])

        return part
