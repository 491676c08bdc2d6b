"""Cutting into shards that keep their images, and telling what has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.contents import Contents
from pipelines.datasets.looking import SeenDataSet, cut_items, cut_of, decode_items, describe_changes, look_at
from pipelines.datasets.protocol import Item
from sppnet.errors import ArtifactError

KEYS = st.lists(st.text("abcdefgh", min_size=1, max_size=2), unique=True, max_size=12)


class Listed:
    """A data set whose images are given."""

    def __init__(self, splits: Mapping[str, Sequence[Item]], categories: tuple[str, ...] = ("dog", "cat")) -> None:
        self._items = splits
        self._categories = categories
        self.splits = tuple(splits)

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        return self._items[split]

    def categories(self, contents: Contents) -> tuple[str, ...]:
        return self._categories

    def names(self) -> Mapping[str, str]:
        return {}


def item(key: str, image: str = "", label: str = "", group: str = "") -> Item:
    return Item(key, image or f"image of {key}", label or f"label of {key}", group)


def look(*items: Item, before: SeenDataSet | None = None, size: int = 3, **more: tuple[str, ...]) -> SeenDataSet:
    cut = cut_of(before.manifest) if before else {}
    return look_at(Listed({"train": items}, **more), Contents(), size, cut)  # type: ignore[arg-type]


def keys(seen: SeenDataSet) -> list[str]:
    return ["".join(shard.keys) for shard in seen.manifest.splits["train"]]


def units(seen: SeenDataSet) -> set[str]:
    return set(seen.manifest.units("train"))


FIRST = look(*map(item, "abcdefgh"))


@given(KEYS, KEYS, st.integers(1, 4))
def test_shards_keep_their_images_and_new_ones_go_into_new_shards(old: list[str], new: list[str], size: int) -> None:
    before = [tuple(i.key for i in part) for part in cut_items([item(key) for key in old], size)]
    after = [tuple(i.key for i in part) for part in cut_items([item(key) for key in new], size, before)]
    assert sorted(key for part in after for key in part) == sorted(new)
    assert all(after)
    kept = [tuple(key for key in part if key in new) for part in before]
    kept = [part for part in kept if part] if 2 * len({*old} & {*new}) >= len(old) else []
    assert after[: len(kept)] == kept
    added = [key for key in new if not any(key in part for part in kept)]
    assert [key for part in after[len(kept) :] for key in part] == added
    assert all(len(part) == size for part in after[len(kept) : -1])


def test_groups_are_shards_of_their_own() -> None:
    items = [*(item(key, group="one.tar") for key in "abcde"), *(item(key, group="two.tar") for key in "fg")]
    seen = look(*items)
    assert keys(seen) == ["abcde", "fg"]
    assert [shard.group for shard in seen.manifest.splits["train"]] == ["one.tar", "two.tar"]
    more = look(*items, item("h", group="three.tar"), before=seen)
    assert keys(more) == ["abcde", "fg", "h"]
    assert units(more) > units(seen)


def test_shards_keep_their_numbers_beside_groups() -> None:
    mixed = [*map(item, "abcd"), item("x", group="1"), item("y", group="2")]
    first = look(*mixed)
    assert look(*mixed, before=first).manifest == first.manifest
    assert keys(look(*mixed, item("e"), before=first)) == [*keys(first), "e"]


def test_an_added_image_is_one_new_shard() -> None:
    seen = look(*map(item, "abXcdefgh"), before=FIRST)
    assert keys(seen) == ["abc", "def", "gh", "X"]
    assert len(units(seen) - units(FIRST)) == 1
    assert units(seen) > units(FIRST)
    assert describe_changes(FIRST, seen) == ["train/000003: 1 image added"]


def test_a_removed_image_changes_its_shard() -> None:
    seen = look(*map(item, "abcdfgh"), before=FIRST)
    assert keys(seen) == ["abc", "df", "gh"]
    assert len(units(seen) - units(FIRST)) == 1
    assert describe_changes(FIRST, seen) == ["train/000001: 1 image removed"]


def test_a_shard_whose_images_are_all_gone_is_gone() -> None:
    seen = look(*map(item, "abcgh"), before=FIRST)
    assert keys(seen) == ["abc", "gh"]
    assert units(seen) < units(FIRST)
    assert describe_changes(FIRST, seen) == ["train/000001: 3 images removed"]


def test_a_replaced_image_changes_its_shard() -> None:
    seen = look(*map(item, "abcd"), item("e", image="another"), *map(item, "fgh"), before=FIRST)
    assert keys(seen) == keys(FIRST)
    assert len(units(seen) - units(FIRST)) == 1
    assert describe_changes(FIRST, seen) == ["train/000001: 1 image replaced"]


def test_a_changed_label_changes_no_image() -> None:
    seen = look(item("a"), item("b", label="new"), item("c", label="new"), *map(item, "defgh"), before=FIRST)
    assert units(seen) == units(FIRST)
    changed = [old.annotations != new.annotations for old, new in zip(*_shards(FIRST, seen), strict=True)]
    assert changed == [True, False, False]
    assert describe_changes(FIRST, seen) == ["train/000000: 2 labels changed"]


def _shards(*found: SeenDataSet) -> list[tuple[object, ...]]:
    return [one.manifest.splits["train"] for one in found]


def test_a_small_part_is_not_left_with_scraps_of_shards() -> None:
    part = look(*map(item, "adg"), before=FIRST)
    assert keys(part) == ["adg"]
    assert keys(look(*map(item, "abdg"), before=FIRST)) == ["ab", "d", "g"]


def test_several_changes_are_told_together() -> None:
    seen = look(item("a", image="x"), item("b", label="y"), *map(item, "defgh"), item("z"), before=FIRST)
    assert describe_changes(FIRST, seen) == [
        "train/000000: 1 image replaced, 1 image removed, 1 label changed",
        "train/000003: 1 image added",
    ]
    assert describe_changes(seen, seen) == []


def test_other_categories_change_annotations_only() -> None:
    seen = look(*map(item, "abcdefgh"), before=FIRST, categories=("dog",))
    assert units(seen) == units(FIRST)
    assert all(old.annotations != new.annotations for old, new in zip(*_shards(FIRST, seen), strict=True))  # type: ignore[attr-defined]
    assert describe_changes(FIRST, seen) == ["categories: were dog, cat, are dog"]


def test_equal_shards_of_unlike_data_sets_have_equal_names() -> None:
    one = look_at(Listed({"a": [*map(item, "abcd")]}), Contents(), 2, {})  # type: ignore[arg-type]
    other = look_at(Listed({"b": [*map(item, "ab"), *map(item, "xy")]}, ()), Contents(), 2, {})  # type: ignore[arg-type]
    assert set(one.manifest.units("a")) & set(other.manifest.units("b")) == {one.manifest.units("a")[0]}


def test_items_round_trip() -> None:
    seen = look(item("a", group="g"), Item("b", None, "l"))
    assert decode_items(seen.encode(), "items") == seen.items
    with pytest.raises(ArtifactError, match="items is corrupt"):
        decode_items(b'{"train": 3}', "items")
