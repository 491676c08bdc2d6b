"""The objects of a split by category: what each protocol is told."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.detecting.ground_truth import gather_truth
from sppnet.errors import ConfigError

BOX = (0.0, 0.0, 10.0, 20.0)


def note(key: str, *things: ObjectAnnotation, **fields: object) -> ImageAnnotation:
    return ImageAnnotation(key, 50, 50, things, **fields)


def test_objects_by_category() -> None:
    crowd = ObjectAnnotation("cat", BOX, difficult=True, crowd=True, area=31.0)
    plain, hard = ObjectAnnotation("cat", BOX), ObjectAnnotation("cat", BOX, difficult=True)
    truth = gather_truth(["a", "b", "c"], [note("a", crowd, plain), note("c", hard, ignored=("cat", "dog"))])
    objects = truth.of("cat").objects()
    assert (objects.images.tolist(), objects.difficult.tolist()) == ([0, 0, 2], [True, False, True])
    assert (truth.of("cat").ignored, truth.of("dog").ignored, truth.of("cow").ignored) == ([2], [2], [])
    coco = truth.of("cat").coco_objects()  # without those of an image that does not judge the category
    assert (coco.objects.images.tolist(), coco.crowd.tolist()) == ([0, 0], [True, False])
    assert coco.areas.tolist() == [31.0, 200.0]
    assert len(truth.of("cow").coco_objects().objects) == 0


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((30, 10, 20), [2, 0, 1]),
        (("b", "c", "a"), [1, 2, 0]),
        ((None, None, None), [0, 1, 2]),
        ((7, "a", 3), [0, 1, 2]),
        ((7, None, 3), [0, 1, 2]),
    ],
)
def test_images_rank_by_their_own_numbers_where_all_have_one(numbers: tuple[object, ...], expected: list[int]) -> None:
    keys = ["a", "b", "c"]
    thing = ObjectAnnotation("cat", BOX)
    truth = gather_truth(keys, [note(key, thing, index=n) for key, n in zip(keys, numbers, strict=True)])
    np.testing.assert_array_equal(truth.numbers, expected)
    assert truth.of("cat").images == expected


def test_an_image_without_a_usable_annotation_comes_last() -> None:
    truth = gather_truth(["gone", "a", "b"], [note("a", index=9), note("b", index=4)])
    assert truth.numbers.tolist() == [2, 1, 0]


def test_objects_under_other_names() -> None:
    thing = ObjectAnnotation("cat", BOX)
    truth = gather_truth(["a"], [note("a", thing, ObjectAnnotation("dog", BOX))])
    renamed = truth.renamed({"cat": "puss"})
    assert set(renamed.categories) == {"puss", "dog"}
    assert renamed.of("puss").things == [thing]
    assert truth.renamed({"cow": "ox"}).categories == truth.categories
    with pytest.raises(ConfigError, match="'cat' is called 'dog', but the images hold objects of that name"):
        truth.renamed({"cat": "dog"})
