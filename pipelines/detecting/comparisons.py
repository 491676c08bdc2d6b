"""Comparisons of rows of `evaluate`: differences of mAP, and how they vary with the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.artifacts.metrics import DetectionProtocol
from pipelines.detecting.ground_truth import CategoryTruth
from sppnet.arrays import Float64s
from sppnet.errors import ConfigError
from sppnet.evaluation.curves import Detections
from sppnet.evaluation.paired import CONFIDENCE
from sppnet.evaluation.resampled import JudgedCategory, ResampledMaps, draw_images, resampled_maps
from sppnet.seeds import derive_seed


class DetectionComparison(BaseModel):
    """What is compared with what.

    Attributes:
        row: The row that is compared: a step that scores, or its name and `+bb` for its regressed boxes.
        over: The row that it is compared with.
        draws: How often as many images as there are are drawn anew, with replacement. [draws]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str
    over: str
    draws: int = Field(1000, ge=100, le=100_000)

    @model_validator(mode="after")
    def _two(self) -> DetectionComparison:
        if self.row == self.over:
            raise ValueError(f"'{self.row}' is compared with itself")
        return self

    @property
    def steps(self) -> tuple[str, str]:
        """The steps of both rows."""
        return self.row.removesuffix("+bb"), self.over.removesuffix("+bb")


def judge_category(truth: CategoryTruth, found: Detections, protocol: DetectionProtocol, iou: float) -> JudgedCategory:
    """Tell what becomes of a category's detections, image by image.

    Args:
        truth: The category's objects.
        found: Its detections.
        protocol: `voc` or `det`.
        iou: Overlap from which a detection is right by VOC's rule.
    """
    objects = truth.objects()
    counted = ~np.isin(objects.images, truth.ignored) if protocol == "det" else ~objects.difficult
    return JudgedCategory.of(found, truth.match(found, protocol, iou), objects.images[counted])


def compare_detections(
    comparisons: Mapping[str, DetectionComparison],
    rows: Mapping[str, Mapping[str, JudgedCategory]],
    images: int,
) -> Iterator[dict[str, Any]]:
    """Compare rows on the same draws of images.

    Args:
        comparisons: By name.
        rows: The categories of every row that is compared.
        images: Images of the split.

    Yields:
        JSON values: by average precision, the difference over all images and the interval that holds 95 % of the
        differences over the draws.

    Raises:
        ConfigError: There is no such row, or the rows tell other categories.
    """
    once = np.ones((1, images), np.int64)
    for name, config in comparisons.items():
        for row in (config.row, config.over):
            if row not in rows:
                raise ConfigError(f"comparisons.{name}: '{row}' is no row; there are {', '.join(rows)}")
        one, other = rows[config.row], rows[config.over]
        if set(one) != set(other):
            apart = ", ".join(sorted(set(one) ^ set(other)))
            raise ConfigError(f"comparisons.{name}: only one of the rows has {apart}")
        counts = draw_images(images, config.draws, derive_seed(0, "comparisons"))
        first, second = resampled_maps(one, counts), resampled_maps(other, counts)
        whole = resampled_maps(one, once), resampled_maps(other, once)
        yield {
            "name": name,
            "row": config.row,
            "over": config.over,
            "images": images,
            "draws": config.draws,
            **_differences(whole, (first, second)),
        }


def _differences(whole: tuple[ResampledMaps, ResampledMaps], drawn: tuple[ResampledMaps, ResampledMaps]) -> Any:
    found = {}
    for figure in ("voc07", "area"):
        mean = getattr(whole[0], figure)[0] - getattr(whole[1], figure)[0]
        found[f"{figure}_map"] = _body(mean, getattr(drawn[0], figure) - getattr(drawn[1], figure))
    return found


def _body(mean: float, differences: Float64s) -> dict[str, float | None]:
    known = differences[~np.isnan(differences)]
    if not len(known) or np.isnan(mean):
        return {"difference": None, "low": None, "high": None}
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {"difference": round(float(mean), 6), "low": round(float(low), 6), "high": round(float(high), 6)}
