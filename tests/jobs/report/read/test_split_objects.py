"""The objects and detections of a split are those that `evaluate` judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jobs.report.read.split_objects import Source
from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.detecting.ground_truth import CategoryTruth, SplitTruth
from sppnet.evaluation.curves import FALSE_POSITIVE, TRUE_POSITIVE
from tests.support.small_page import CAT, DOG, KEYS


def test_objects_of_all_categories_are_numbered(source: Source):
    assert source.names == ("cat", "dog")
    assert (source.word("dog"), source.word("cat")) == ("a dog", "cat")
    objects = source.objects
    assert objects.categories.tolist() == [0] * 6 + [1] * 6
    assert np.unique(objects.objects.boxes, axis=0).tolist() == [list(CAT), list(DOG)]
    assert [source.keys[place] for place in source.places[objects.objects.images[:6]]] == list(KEYS)
    assert objects.needed.tolist() == [0.5] * 12


def test_detections_are_judged_as_they_were_evaluated(source: Source):
    """Regressed boxes are suppressed once more: one cat an image, and a dog that is taken for one in even images."""
    (cats, outcomes), (dogs, none) = source.judged()
    assert np.bincount(outcomes).tolist() == [3, 6]
    assert set(cats.scores[outcomes == TRUE_POSITIVE]) == {2.0}
    assert sorted(cats.scores[outcomes == FALSE_POSITIVE].round(2)) == [1.0, 1.02, 1.04]
    assert (len(dogs), len(none)) == (0, 0)
    scored = source.row.categories["cat"]
    assert scored.true_positives == np.count_nonzero(outcomes == TRUE_POSITIVE)
    assert scored.detections == len(cats)


@pytest.mark.parametrize(
    ("protocol", "aside"),
    [
        ("voc", [False, True, False, False]),
        ("det", [False, False, False, True]),
        ("coco", [False, True, True, True]),
    ],
)
def test_what_is_neither_found_nor_missed_is_the_protocols_to_say(source: Source, protocol: str, aside: list[bool]):
    """A plain object, a difficult one, a crowd, and one in an image that does not judge the category."""
    things = [
        ObjectAnnotation("cat", CAT),
        ObjectAnnotation("cat", CAT, difficult=True),
        ObjectAnnotation("cat", CAT, crowd=True),
        ObjectAnnotation("cat", CAT),
    ]
    judged = replace(source, evaluation=replace(source.evaluation, protocol=protocol))
    judged.__dict__["truth"] = SplitTruth({"cat": CategoryTruth([0, 1, 2, 3], things, [3])}, np.arange(7))
    assert judged.objects.objects.difficult.tolist() == aside
