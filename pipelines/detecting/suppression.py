"""How scored windows become detections, as the stages that score ask for it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipelines.engine.stage import StageConfig
from sppnet.detection.ensemble import Rules


class SuppressionFields(StageConfig):
    """The fields of a stage that makes detections, to be mixed into its config.

    Attributes:
        threshold: Scores that are not above it are dropped; `null` drops none, and only `per_image` bounds them. What
            lies below the release's -1.5 counts where SVMs score little above it, as those on fc7 do. [score]
        nms_iou: Of two detections of a category that overlap more, of any detector, the lower is suppressed.
            [IoU; section 4.1; section 4.4]
        per_image: At most so many detections an image and category. [detections]
    """

    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = -1.5
    nms_iou: Annotated[float, Field(gt=0, le=1)] = 0.3
    per_image: Annotated[int, Field(ge=1)] = 100

    def rules(self) -> Rules:
        """Return the same for the method."""
        return Rules(self.threshold, self.nms_iou, self.per_image)
