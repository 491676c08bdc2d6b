"""The objects of a split by category: what each protocol is told."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.detecting.ground_truth import gather_truth, not_judged, read_truth
from sppnet.errors import ConfigError
from sppnet.evaluation.curves import FALSE_POSITIVE, IGNORED, TRUE_POSITIVE, Detections
from tests.support.chain import CATEGORIES, Chain

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


def test_a_splits_objects_and_the_images_that_are_not_judged(chain: Chain) -> None:
    """`thin` has no windows but an annotation; `broken` could not be decoded."""
    truth = read_truth(chain.ingested, "train")
    notes = [note for unit in chain.shards("train") for note in chain.annotations(unit).values()]
    for category in CATEGORIES:
        assert len(truth.of(category).things) == sum(o.category == category for note in notes for o in note.objects) > 0
    assert not_judged(chain.ingested, "train") == {"broken"}
    assert not_judged(chain.ingested, "val") == set()


def test_matching_is_each_protocols() -> None:
    """A small object: by DET's rule an overlap of 0.4 is enough; in an image that doesn't judge, none counts."""
    small = ObjectAnnotation("cat", (0.0, 0.0, 10.0, 10.0))
    truth = gather_truth(["a", "b"], [note("a", small), note("b", small, ignored=("cat",))]).of("cat")
    found = Detections.of([0, 1], [[0, 0, 10, 4], [0, 0, 10, 10]], [0.5, 0.6])
    assert truth.match(found, "voc", 0.5).tolist() == [FALSE_POSITIVE, TRUE_POSITIVE]
    assert truth.match(found, "voc", 0.4).tolist() == [TRUE_POSITIVE, TRUE_POSITIVE]
    assert truth.match(found, "det", 0.5).tolist() == [TRUE_POSITIVE, IGNORED]
