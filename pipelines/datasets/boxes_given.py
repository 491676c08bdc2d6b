"""What data sets with boxes of any layout share: boxes without area or outside, and categories that are chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.datasets.keys import checked_categories, near
from sppnet.errors import ConfigError

GivenBoxes: TypeAlias = Literal["quarantine", "mend"]
"""What becomes of a box without area or that leaves its image by more than a pixel: it sets its image aside; or it is
cut at the image's edges, and the object is dropped if nothing is left."""


def mend_boxes(
    things: Iterable[ObjectAnnotation], width: int, height: int, rule: GivenBoxes
) -> Iterator[ObjectAnnotation]:
    """Yield objects as the rule has them; with `quarantine` all as they are, for the checks that all data sets share.

    Args:
        things: An image's.
        width: Of the image, pixels.
        height: Likewise.
        rule: See `GivenBoxes`. A box that is not finite stays, and sets its image aside by either rule.
    """
    for thing in things:
        x0, y0, x1, y1 = thing.box
        if rule == "quarantine" or not all(map(math.isfinite, thing.box)):
            yield thing
            continue
        box = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
        if box[2] > box[0] and box[3] > box[1]:
            yield replace(thing, box=box)


def choose_categories(chosen: Sequence[str] | None, known: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the categories that a config chooses of those that a data set knows; all if it chooses none.

    Args:
        chosen: The config's `categories`.
        known: The data set's.
        where: What knows them, for messages.

    Raises:
        ConfigError: One comes twice, or is not known; the message has the nearest.
    """
    if chosen is None:
        return tuple(known)
    for name in checked_categories(chosen, "dataset.categories"):
        if name not in known:
            raise ConfigError(f"dataset.categories: {name!r} is not in {where}{near(name, known)}")
    return tuple(chosen)
