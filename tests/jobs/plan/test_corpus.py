"""Images of a plan: from options, or from the data sets' own lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.plan.corpus import ImageSet, listed_images, parse_images, parse_size
from jobs.recipes import find_recipe
from pipelines.engine.recipe import Recipe, load_recipe
from sppnet.errors import ConfigError
from tests.support.plans import steps


def test_a_split_of_unknown_size_is_named(voc07: Recipe) -> None:
    with pytest.raises(ConfigError, match=r"the size of split 'val' is not known \(known: train\); .* --images val=N"):
        steps(voc07, train=10)


@pytest.mark.parametrize("text", ["train", "train=", "=5", "train=x", "train=0"])
def test_images_that_can_not_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="expected SPLIT=N"):
        parse_images([text])


@pytest.mark.parametrize("text", ["500", "500x", "0x3", "axb"])
def test_sizes_that_can_not_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="expected WIDTHxHEIGHT"):
        parse_size(text)


def test_options_that_can_be_read() -> None:
    assert parse_images(["train=5", "val=7"]) == {"train": ImageSet(5), "val": ImageSet(7)}
    assert parse_size("640x480") == (640, 480)


def test_images_are_counted_from_the_data_sets_lists(shared: Path) -> None:
    root = shared / "data/voc07/VOCdevkit/VOC2007"
    found = listed_images(load_recipe(find_recipe("voc07"), [f"images.dataset.root={root}"]))
    assert {name: images.count for name, images in found.items()} == {"images.train": 482, "images.val": 460}
    sizes = [path.stat().st_size for path in (root / "JPEGImages").iterdir()]
    for images in found.values():
        assert images.mean_bytes == pytest.approx(sum(sizes) / len(sizes), rel=0.25)
        assert images.mean_pixels == pytest.approx(500 * 375, rel=0.2)


def test_a_drawn_data_set_knows_its_images() -> None:
    found = listed_images(load_recipe(find_recipe("demo")))
    assert {name: images.count for name, images in found.items()} == {"images.train": 400, "images.val": 120}
    for images in found.values():
        assert images.mean_pixels == pytest.approx(330 * 330 * 0.74, rel=0.15)
        assert images.mean_bytes is not None
        assert images.mean_pixels / 8 < images.mean_bytes < images.mean_pixels
