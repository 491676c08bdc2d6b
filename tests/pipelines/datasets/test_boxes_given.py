from __future__ import annotations

import math

import pytest

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.datasets.boxes_given import choose_categories, mend_boxes
from sppnet.errors import ConfigError


def test_boxes_are_mended_or_left_for_the_checks() -> None:
    boxes = [(0.0, 0.0, 10.0, 10.0), (-5.0, 2.0, 50.0, 8.0), (3.0, 3.0, 3.0, 9.0), (90.0, 0.0, 95.0, 9.0)]
    things = [ObjectAnnotation("cat", box) for box in boxes]
    assert list(mend_boxes(things, 40, 30, "quarantine")) == things
    assert [thing.box for thing in mend_boxes(things, 40, 30, "mend")] == [boxes[0], (0.0, 2.0, 40.0, 8.0)]
    lost = ObjectAnnotation("cat", (0.0, 0.0, math.inf, 10.0))
    assert list(mend_boxes([lost], 40, 30, "mend")) == [lost]


def test_chosen_categories_are_known_ones() -> None:
    assert choose_categories(None, ["b", "a"], "f") == ("b", "a")
    assert choose_categories(["a"], ["b", "a"], "f") == ("a",)
    with pytest.raises(ConfigError, match=r"dataset.categories: 'dag' is not in f; did you mean 'dog'\?"):
        choose_categories(["dag"], ["cat", "dog"], "f")
    with pytest.raises(ConfigError, match="'zebra' is not in f; there are: cat, dog"):
        choose_categories(["zebra"], ["cat", "dog"], "f")
    with pytest.raises(ConfigError, match="names the category 'cat' twice"):
        choose_categories(["cat", "cat"], ["cat"], "f")
