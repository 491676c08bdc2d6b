"""A data set with a split divided: each image in one part, by its key; the parts are read as the data set is."""

from __future__ import annotations

import pytest

from pipelines.datasets.contents import Contents
from pipelines.datasets.divided import Divided, DividedDataset
from pipelines.datasets.drawn import DrawnDataset
from pipelines.datasets.kinds import parse_dataset
from sppnet.errors import ConfigError
from tests.support.data_sets import check_items, items_of

BASE = DrawnDataset(splits={"train": 40, "val": 3}, size=(100, 120), seed=1)


def divided(**fields: object) -> Divided:
    raw = {"kind": "divided", "base": BASE.model_dump(), "into": {"fit": 3, "held-out": 1}, **fields}
    return parse_dataset(raw).open()


def keys(data: Divided, split: str) -> list[str]:
    return [place.key for place in data.places(split)]


def test_every_image_is_in_one_part() -> None:
    data, whole = divided(), [place.key for place in BASE.open().places("train")]
    assert data.splits == ("fit", "held-out", "val")
    fit, held_out = keys(data, "fit"), keys(data, "held-out")
    assert sorted([*fit, *held_out]) == sorted(whole)
    assert [key for key in whole if key in fit] == fit  # in the data set's order
    assert (len(held_out), data.count("held-out"), data.count("val")) == (12, 12, 3)
    assert keys(data, "val") == [place.key for place in BASE.open().places("val")]
    assert keys(divided(seed=1), "held-out") != held_out


def test_it_is_read_as_the_data_set_is() -> None:
    data, base = divided(), BASE.open()
    of_base = {item.key: item for item in items_of(base)["train"]}
    for split in ("fit", "held-out"):
        for item in data.items(split, Contents()):
            assert item == of_base[item.key]
    (place, *_), places = data.places("held-out"), {one.key: one for one in base.places("train")}
    theirs = places[place.key]
    assert data.annotation(place, 100, 80) == base.annotation(theirs, 100, 80)
    assert data.image(place).data == base.image(theirs).data
    assert (data.categories(Contents()), data.names()) == (base.categories(Contents()), base.names())
    check_items(divided)


def test_a_part_keeps_its_images_when_others_come() -> None:
    more = DrawnDataset(splits={"train": 60, "val": 3}, size=(100, 120), seed=1)
    before, after = (set(keys(divided(base=base.model_dump()), "held-out")) for base in (BASE, more))
    first = {place.key for place in BASE.open().places("train")}
    assert after & first == before < after


def test_shares_are_kept() -> None:
    base = DrawnDataset(splits={"train": 3000}, size=(100, 120)).model_dump()
    counts = [divided(base=base, into={"a": 1, "b": 0.5, "c": 0.5}).count(part) for part in "abc"]
    assert sum(counts) == 3000
    assert counts == pytest.approx([1500, 750, 750], abs=100)  # four deviations


def test_where_it_lies() -> None:
    config = DividedDataset.model_validate({"base": {"kind": "voc", "root": "a"}, "into": {"fit": 3, "rest": 1}})
    assert config.roots() == ("a",)
    other = config.model_copy(update={"seed": 1})
    assert config.place() != other.place()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": "test"}, "no split 'test' in the data set; it has: train, val"),
        ({"into": {"fit": 1, "val": 1}}, "dataset.into: the data set has a split 'val' already"),
        ({"into": {"fit": 1e6, "rest": 1}}, "none of the 40 images of 'train' is in 'rest'; give it a larger share"),
    ],
)
def test_what_can_not_be_divided(fields: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        divided(**fields).items("rest", Contents())


def test_a_part_may_keep_the_splits_name() -> None:
    assert divided(into={"train": 1, "rest": 1}).splits == ("train", "rest", "val")
