"""Objects and detections to judge: drawn at random, and those of the exact vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from sppnet.evaluation.curves import Detections, GroundTruth

corner = st.integers(0, 12)
box = st.tuples(corner, corner, st.integers(1, 20), st.integers(1, 20)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)
some_objects = st.lists(st.tuples(st.integers(0, 2), box, st.booleans()), max_size=8)
some_detections = st.lists(st.tuples(st.integers(0, 3), box, st.integers(0, 4)), max_size=12)


def judged(rows: list[Any], found: list[Any]) -> tuple[GroundTruth, Detections]:
    """One category of `some_objects` and `some_detections`."""
    truth = GroundTruth.of(np.array([r[0] for r in rows], int), [r[1] for r in rows], [r[2] for r in rows])
    return truth, Detections.of(np.array([r[0] for r in found], int), [r[1] for r in found], [r[2] for r in found])


def vector(row: dict[str, Any]) -> tuple[GroundTruth, Detections]:
    """One category of `oracles/average_precision.json`."""
    objects = [(image, o) for image, found in row["ground_truth"].items() for o in found]
    truth = GroundTruth.of(
        [image for image, _ in objects], [o["box"] for _, o in objects], [o["difficult"] for _, o in objects]
    )
    found = row["detections"]
    return truth, Detections.of([d["image"] for d in found], [d["box"] for d in found], [d["score"] for d in found])
