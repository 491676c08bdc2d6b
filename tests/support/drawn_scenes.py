"""Small drawn images with outlines at known places, and a forest of structured edges small enough to write by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def scene(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """A noisy ground with two plain rectangles at [20, 30, 70, 80) and [90, 10, 150, 110)."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), (90, 110, 60), np.float64)
    image[30:80, 20:70] = (200, 40, 40)
    image[10:110, 90:150] = (40, 60, 190)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


OBJECTS = np.array([[20, 30, 70, 80], [90, 10, 150, 110]], np.float32)
"""The rectangles of `scene`."""

_PATCH, _SHRINK, _INNER, _TREES = 32, 2, 16, 4
_MAGNITUDE = 3  # after the three colours, the first of the features is the gradient's magnitude


def write_forest(path: Path, threshold: float = 1.0) -> Path:
    """Writes a forest whose trees all say: an edge in a patch's middle where the gradient there is large."""
    side = _PATCH // _SHRINK
    feature = _MAGNITUDE * side**2 + side // 2 * side + side // 2
    bins = [y * _INNER + x for y in (7, 8) for x in (7, 8)] * 32  # as if 32 patches said so
    numbers = {
        "stride": 2, "shrinkNumber": _SHRINK, "patchSize": _PATCH, "patchInnerSize": _INNER,
        "numberOfGradientOrientations": 4, "gradientSmoothingRadius": 0, "regFeatureSmoothingRadius": 2,
        "ssFeatureSmoothingRadius": 8, "gradientNormalizationRadius": 4, "selfsimilarityGridSize": 5,
        "numberOfTrees": _TREES, "numberOfTreesToEvaluate": _TREES,
    }  # fmt: skip
    # A tree's nodes are the root, the leaf without an edge and the leaf with one, whose bins follow the tree's before.
    boundaries = [len(bins) * (node // 3) for node in range(3 * _TREES + 1)]
    lists = {
        "childs": [[2, 0, 0]] * _TREES,
        "featureIds": [[feature, 0, 0]] * _TREES,
        "thresholds": [[threshold, 0.0, 0.0]] * _TREES,
        "edgeBoundaries": [boundaries],
        "edgeBins": [bins * _TREES],
    }
    options = "".join(f"   {name}: {value}\n" for name, value in numbers.items())
    rows = "".join(f"{name}:\n" + "".join(f"   - {list(row)}\n" for row in value) for name, value in lists.items())
    path.write_text(f"%YAML:1.0\n---\noptions:\n{options}{rows}")
    return path
