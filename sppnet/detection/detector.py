"""A whole detector: from the maps and windows of an image to its detections (sections 4.1 and 4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sppnet.arrays import Float32s
from sppnet.detection.features import MapsByScale, WindowFeatures
from sppnet.detection.regression import BoxRegressor
from sppnet.detection.svm import LinearSvms
from sppnet.sizes import Size


@dataclass(frozen=True)
class Detector:
    """A whole detector, ready to score the windows of cached maps.

    Attributes:
        features: For the SVMs.
        svms: Of all categories.
        regression_features: For the regressors, None without.
        regressors: By category, empty without.
    """

    features: WindowFeatures
    svms: LinearSvms
    regression_features: WindowFeatures | None
    regressors: Mapping[str, BoxRegressor]

    def regress(
        self,
        maps: MapsByScale,
        image_wh: Size,
        windows: Float32s,
        rows: npt.NDArray[np.integer[Any]],
        categories: Sequence[str],
    ) -> Float32s:
        """Move windows of an image by the regressors of their categories; each distinct window is pooled once.

        Args:
            maps: The image's, at every scale that its features take.
            image_wh: Width and height in pixels.
            windows: `[n, 4]` pixels, all of the image.
            rows: `[m]`, which of them to move; one may come several times.
            categories: `m` names.

        Returns:
            float32 `[m, 4]` pixels, clipped to the image; rows of NaN where the category has no regressor.
        """
        boxes = np.full((len(rows), 4), np.nan, np.float32)
        if self.regression_features is None or len(rows) == 0:
            return boxes
        distinct, place = np.unique(rows, return_inverse=True)
        pooled = self.regression_features(maps, image_wh, windows[distinct])
        names = np.array(categories, dtype=object)
        for category in dict.fromkeys(categories):
            if category in self.regressors:
                own = np.flatnonzero(names == category)
                features = pooled[torch.from_numpy(place[own]).to(pooled.device)].float().cpu().numpy()
                boxes[own] = self.regressors[category].predict(features, windows[rows[own]], image_wh)
        return boxes
