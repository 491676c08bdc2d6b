"""A data set with one more category: the same images in the same shards, more objects; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.datasets.contents import Contents
from pipelines.datasets.drawn import DrawnDataset
from pipelines.datasets.extended import Extended, ExtendedDataset
from sppnet.errors import ConfigError
from tests.support.data_sets import check_items, read_all

BASE = DrawnDataset(splits={"train": 3}, size=(100, 120), seed=1)
HEADER = "ImageID,LabelName,XMin,YMin,XMax,YMax\n"


def opened(folder: Path, rows: str, **fields: object) -> Extended:
    (folder / "boxes.csv").write_text(HEADER + rows)
    raw = {"base": BASE.model_dump(), "category": "moth", "boxes": str(folder / "boxes.csv"), **fields}
    return ExtendedDataset.model_validate(raw).open()


def first_key() -> str:
    return BASE.open().places("train")[0].key


def test_objects_of_the_table_stand_behind_the_data_sets(tmp_path: Path) -> None:
    key = first_key()
    data = opened(tmp_path, f"{key}.jpg,moth,10,12,40,50\n{key},wasp,1,1,5,5\n{key},moth,0,0,900,20\n")
    base = BASE.open()
    assert data.categories(Contents()) == (*base.categories(Contents()), "moth")
    place, *others = base.places("train")
    plain, found = base.annotation(place, 100, 80), data.annotation(place, 100, 80)
    more = found.objects[len(plain.objects) :]
    assert found.objects[: len(plain.objects)] == plain.objects
    assert [(thing.category, thing.box) for thing in more] == [("moth", (10, 12, 40, 50)), ("moth", (0, 0, 100, 20))]
    assert all(data.annotation(other, 100, 80) == base.annotation(other, 100, 80) for other in others)


def test_the_images_are_the_same_and_lie_at_the_same_place(tmp_path: Path) -> None:
    key = first_key()
    config = ExtendedDataset.model_validate({"base": BASE.model_dump(), "category": "moth", "boxes": "b.csv"})
    assert (config.place(), config.roots()) == (BASE.place(), BASE.roots())
    data, base = opened(tmp_path, f"{key},moth,10,12,40,50\n"), BASE.open()
    ours, theirs = data.items("train", Contents()), base.items("train", Contents())
    assert [(item.key, item.image) for item in ours] == [(item.key, item.image) for item in theirs]
    assert all(ours[n].label != theirs[n].label for n in range(3))
    assert (data.count("train"), data.splits, data.names()) == (3, ("train",), {})
    assert len(read_all(data, "train")[0]) == 3
    check_items(lambda: opened(tmp_path, f"{key},moth,10,12,40,50\n"))


def test_fractions(tmp_path: Path) -> None:
    data = opened(tmp_path, f"{first_key()},moth,0.1,0.25,0.5,1\n", unit="fraction")
    place = data.places("train")[0]
    assert data.annotation(place, 200, 80).objects[-1].box == (20, 20, 100, 80)


@pytest.mark.parametrize(
    ("rows", "message"),
    [("nothing,moth,1,1,9,9\n", "knows none of the images"), ("a,bee,1,1,9,9\n", "has no box of 'moth'")],
)
def test_tables_that_do_not_fit(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        opened(tmp_path, rows).items("train", Contents())


def test_a_category_that_is_there_already(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="car"):
        opened(tmp_path, f"{first_key()},car,1,1,9,9\n", category="car").categories(Contents())
