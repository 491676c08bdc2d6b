"""The ILSVRC DET synsets: 200 categories, and the 499 leaves below them that pre-training tells apart (section 4.5).

The hierarchy is in the 2013 and 2014 devkits only: 815 synsets with their children. 257 of its leaves hang below a
category. The links of the other 242 are not in the file: each is tied to the category in whose lists of positive
images its own images are. Later devkits have the 200 categories only; there every folder of training images is taken
for a leaf, and all are tied by the lists.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipelines.datasets.keys import parse_list
from pipelines.datasets.matlab import read_mat
from sppnet.errors import ConfigError

_CATEGORIES = 200
_WNID = re.compile(r"n\d{8}")
_LIST_NUMBER = re.compile(r"_(\d+)\.txt$")


@dataclass(frozen=True, slots=True)
class Synset:
    """One node of the hierarchy.

    Attributes:
        number: Its id in the devkit; 1 to 200 are the categories.
        wnid: Its WordNet id, `n` and eight digits.
        name: Its words.
        children: Ids of the nodes right below it.
    """

    number: int
    wnid: str
    name: str
    children: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A subcategory.

    Attributes:
        synset: The leaf itself.
        category: Its category, which may be the leaf itself.
        images: How many entries of the category's lists are of the leaf's images.
        purity: These over all list entries of the leaf's images; 1 if there are none.
    """

    synset: Synset
    category: Synset
    images: int
    purity: float


@dataclass(frozen=True)
class DetHierarchy:
    """Categories and leaves.

    Attributes:
        categories: By number.
        leaves: By number.
    """

    categories: tuple[Synset, ...]
    leaves: tuple[Leaf, ...]

    @classmethod
    def build(cls, synsets: Sequence[Synset], listed: Mapping[str, Counter[int]]) -> DetHierarchy:
        """Tie every leaf to its category.

        Args:
            synsets: All nodes.
            listed: Per wnid, how many of its images the lists of each category hold: see `count_listed`.
        """
        by_number = {synset.number: synset for synset in synsets}
        categories = tuple(by_number[number] for number in sorted(by_number) if number <= _CATEGORIES)
        owners = _linked(by_number, categories)
        candidates = [synset for synset in synsets if not synset.children]
        if not any(synset.children for synset in synsets):  # a devkit without the hierarchy
            known = {synset.wnid for synset in synsets}
            more = sorted(wnid for wnid in listed if wnid not in known)
            candidates += [Synset(len(synsets) + place, wnid, wnid) for place, wnid in enumerate(more, 1)]
        leaves = []
        for synset in candidates:
            counts = listed.get(synset.wnid, Counter())
            owner = owners.get(synset.number)
            if owner is None and counts:
                owner = by_number.get(min(counts, key=lambda number: (-counts[number], number)))
            if owner is None:  # no link and no image: of no use to anybody
                continue
            images = counts[owner.number]
            leaves.append(Leaf(synset, owner, images, images / counts.total() if counts else 1.0))
        return cls(categories, tuple(sorted(leaves, key=lambda leaf: leaf.synset.number)))

    @property
    def names(self) -> dict[str, str]:
        """The categories' words by wnid."""
        return {category.wnid: category.name for category in self.categories}

    @cached_property
    def category_of(self) -> dict[str, str]:
        """Each leaf's category, by wnid."""
        return {leaf.synset.wnid: leaf.category.wnid for leaf in self.leaves}

    def leaf_of(self, category: str, tag: str | None, image_id: str) -> str | None:
        """Return the leaf that an object is of.

        Args:
            category: The object's category, a wnid.
            tag: Its `<subcategory>`, a wnid, if it has one.
            image_id: The image's id; training images of one synset are in a folder of its wnid.

        Returns:
            The first of tag, folder and category that is a leaf of the category, or None.
        """
        folders = image_id.split("/")[:-1]
        for wnid in (tag, *reversed(folders), category):
            if wnid is not None and self.category_of.get(wnid) == category:
                return wnid
        return None


def _linked(by_number: Mapping[int, Synset], categories: Iterable[Synset]) -> dict[int, Synset]:
    """Return the category above each leaf that has links up to one."""
    owners: dict[int, Synset] = {}
    for category in categories:
        stack = [category.number]
        while stack:
            synset = by_number[stack.pop()]
            if not synset.children:
                owners.setdefault(synset.number, category)
            stack += synset.children
    return owners


def parse_synsets(data: bytes, where: str) -> tuple[Synset, ...]:
    """Read the devkit's `meta_det.mat`, or its `map_det.txt` (wnid, number, words), which has no hierarchy.

    Raises:
        ConfigError: It is neither, or lacks one of the 200 categories.
    """
    synsets = _from_map(data, where) if not data.startswith(b"MATLAB") else _from_mat(data, where)
    numbers = {synset.number for synset in synsets}
    if not set(range(1, _CATEGORIES + 1)) <= numbers or len(numbers) != len(synsets):
        raise ConfigError(f"{where}: expected ILSVRC DET's synsets, the first 200 of them the categories")
    unknown = {child for synset in synsets for child in synset.children} - numbers
    if unknown:
        raise ConfigError(f"{where}: synset {min(unknown)} is a child but is not there")
    return synsets


def _from_map(data: bytes, where: str) -> tuple[Synset, ...]:
    rows = [row for row in parse_list(data, where) if len(row) >= 3 and _WNID.fullmatch(row[0]) and row[1].isdecimal()]
    return tuple(Synset(int(row[1]), row[0], " ".join(row[2:]).replace("_", " ")) for row in rows)


def _from_mat(data: bytes, where: str) -> tuple[Synset, ...]:
    content = read_mat(data, ["synsets"], f"{where}: not the devkit's meta_det.mat")
    try:
        rows: Any = content["synsets"].ravel()
        number = next(name for name in rows.dtype.names if name.endswith("_DET_ID"))
        has_children = "children" in rows.dtype.names
        return tuple(
            Synset(
                int(row[number].item()),
                str(row["WNID"].item()),
                str(row["name"].item()),
                tuple(int(child) for child in row["children"].ravel()) if has_children else (),
            )
            for row in rows
        )
    except (KeyError, ValueError, TypeError, AttributeError, StopIteration) as error:
        raise ConfigError(f"{where}: not the devkit's meta_det.mat ({error})") from error


def count_listed(lists: Iterable[tuple[str, bytes]]) -> dict[str, Counter[int]]:
    """Count, per wnid, its images in each category's lists of positive images.

    Args:
        lists: Names (`train_pos_17.txt`, `train_part_17.txt`, `train_17.txt`) and bytes. Of a second column, where
            there is one, 1 marks a positive image and 0 one that shows the category among others.

    Raises:
        ConfigError: A name without a number.
    """
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for name, text in lists:
        number = _LIST_NUMBER.search(name)
        if number is None:
            raise ConfigError(f"{name}: expected a category's number at the end, as in train_pos_17.txt")
        for columns in parse_list(text, name):
            if len(columns) > 1 and columns[1] not in ("0", "1"):
                continue
            for wnid in columns[0].split("/")[:-1]:
                if _WNID.fullmatch(wnid):
                    found[wnid][int(number[1])] += 1
    return dict(found)
