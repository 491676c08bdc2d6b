"""Which images tell most of a category: where the detector does best and worst, from the operating scores on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from jobs.report.read.analysis import Analysis
from sppnet.arrays import Bools, Float64s, Integers
from sppnet.evaluation.curves import FALSE_POSITIVE, TRUE_POSITIVE
from sppnet.evaluation.error_kinds import JudgedDetections

BEST, WORST = "best", "worst"


@dataclass(frozen=True, slots=True)
class Example:
    """An image that shows how a category fares.

    Attributes:
        category: The category's number.
        role: BEST or WORST.
        image: Place among the split's images.
    """

    category: int
    role: str
    image: int


def found_at(analysis: Analysis) -> Float64s:
    """Return the score of the detection that finds each object, float64 `[objects]`; minus infinity: none does."""
    scores = np.full(len(analysis.source.objects.objects), -np.inf)
    for one in analysis.judged:
        right = (one.outcomes == TRUE_POSITIVE) & (one.targets >= 0)
        scores[one.targets[right]] = one.scores[right]
    return scores


def choose_examples(analysis: Analysis, each: int, among: Collection[int]) -> list[Example]:
    """Choose each category's images, first of every category one, then a second one.

    The best: most objects found, none missed and nothing wrong, then the highest score. The worst: most that is missed
    or wrong, then the highest score of something wrong.

    Args:
        analysis: All detections.
        each: Images of a category and role, at most.
        among: Places of the images to choose from.
    """
    missed = (
        found_at(analysis)
        < np.append(analysis.operating, np.inf)[np.minimum(analysis.source.objects.categories, len(analysis.judged))]
    )
    inside = np.zeros(len(analysis.source.keys), bool)
    inside[list(among)] = True
    ranked = [
        {role: list(images) for role, images in _ranked(analysis, one, missed, inside, each)} for one in analysis.judged
    ]
    return [
        Example(one.category, role, images[role][turn])
        for turn in range(each)
        for one, images in zip(analysis.judged, ranked, strict=True)
        for role in (WORST, BEST)
        if turn < len(images[role])
    ]


def _ranked(
    analysis: Analysis, one: JudgedDetections, missed: Bools, inside: Bools, each: int
) -> Iterator[tuple[str, Integers]]:
    """Return the images of one category, best first and worst first."""
    source = analysis.source
    shown = one.scores >= analysis.operating[one.category]
    lost = source.objects.counted(one.category) & missed
    parts = [shown & (one.outcomes == TRUE_POSITIVE), shown & (one.outcomes == FALSE_POSITIVE)]
    numbers = [one.detections.images[rows] for rows in parts] + [source.objects.objects.images[lost]]
    places = [source.places[np.asarray(own, np.int64)] for own in numbers]
    images, codes = np.unique(np.concatenate(places), return_inverse=True)
    right, wrong, gone = (
        np.bincount(own, minlength=len(images)) for own in np.split(codes, np.cumsum([len(p) for p in places])[:-1])
    )
    best_right, best_wrong = np.full((2, len(images)), -np.inf)
    np.maximum.at(best_right, codes[: len(places[0])], one.scores[parts[0]])
    np.maximum.at(best_wrong, codes[len(places[0]) : len(places[0]) + len(places[1])], one.scores[parts[1]])
    here = inside[images]
    good = np.flatnonzero(here & (wrong + gone == 0))
    bad = np.flatnonzero(here & (wrong + gone > 0))
    yield BEST, images[good[np.lexsort((images[good], -best_right[good], -right[good]))][:each]]
    yield WORST, images[bad[np.lexsort((images[bad], -best_wrong[bad], -(wrong + gone)[bad]))][:each]]
