"""Objects as a user's own data set gives them, mappings of plain values, checked and in the one form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipelines.artifacts.annotations import Box, ObjectAnnotation
from sppnet.errors import DataError
from sppnet.own_parts import told

_FLAGS = ("difficult", "truncated", "crowd")
_FIELDS = ("category", "box", "subcategory", *_FLAGS, "area")


def object_of(one: Mapping[str, Any], whole: Box, key: str) -> ObjectAnnotation:
    """Return an object of an own data set.

    Args:
        one: Its values, see `pipelines.datasets.own_source.OwnSource`.
        whole: The box of one without a box: all of the image.
        key: Of the image, for messages.

    Raises:
        DataError: `bad-annotation`: a field is unknown, or a value is not what it should be.
    """
    unknown = sorted(one.keys() - set(_FIELDS))
    if unknown:
        raise DataError("bad-annotation", f"{key}: an object has {unknown[0]!r}, known are {', '.join(_FIELDS)}")
    given = one.get("box")
    try:
        x0, y0, x1, y1 = map(float, whole if given is None else given)
        area = None if one.get("area") is None else float(one["area"])
    except (TypeError, ValueError) as error:
        raise DataError("bad-annotation", f"{key}: an object's numbers: {told(error)}") from error
    if not all(map(math.isfinite, (x0, y0, x1, y1, area or 0.0))):
        raise DataError("bad-annotation", f"{key}: an object's numbers are not finite: {(x0, y0, x1, y1)}, area {area}")
    names = one.get("category"), one.get("subcategory")
    if not isinstance(names[0], str) or not (names[1] is None or isinstance(names[1], str)):
        raise DataError("bad-annotation", f"{key}: an object's category is {names[0]!r}, subcategory {names[1]!r}")
    flags = {name: bool(one.get(name, False)) for name in _FLAGS}
    flags["difficult"] |= flags["crowd"]
    return ObjectAnnotation(names[0], (x0, y0, x1, y1), names[1], area=area, **flags)
