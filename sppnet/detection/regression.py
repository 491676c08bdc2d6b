"""Bounding-box regression on pooled vectors (section 4.1, after R-CNN's appendix C).

Ridge regression from a window's features to the move that turns it into its object's box. The targets are
centred and whitened first; the bias is the weight of a constant 1, regularised like the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sppnet.arrays import Array, Float32s, Float64s
from sppnet.boxes import decode_boxes, encode_boxes, paired_iou
from sppnet.detection.ridge import RowBlocks, solve_ridge
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.products import LinearProducts
from sppnet.sizes import Size

if TYPE_CHECKING:
    import torch

_WHITENING_FLOOR = 0.001


@dataclass(frozen=True)
class BoxRegressor:
    """The regressor of one category.

    Attributes:
        weights: float32 `[d + 1, 4]` from raw features to whitened deltas, the bias row last.
        mean: float64 `[4]` of the deltas.
        inverse_whitening: float64 `[4, 4]` from whitened to plain deltas.
    """

    weights: Float32s
    mean: Float64s
    inverse_whitening: Float64s

    def __post_init__(self) -> None:
        shapes = (self.weights.shape[1:], self.mean.shape, self.inverse_whitening.shape)
        if self.weights.ndim != 2 or shapes != ((4,), (4,), (4, 4)):
            raise ConfigError(f"a box regressor can't have weights {list(self.weights.shape)}")

    def deltas(self, features: Array | torch.Tensor) -> Float64s:
        """Return by how much the objects in windows are moved and resized.

        Args:
            features: `[n, d]` raw features, a numpy array or a torch tensor on any device.

        Returns:
            float64 `[n, 4]`: dx, dy, dw, dh.
        """
        if features.shape[-1] + 1 != len(self.weights):
            raise DataError("bad-features", f"regressor of {len(self.weights) - 1} features got {features.shape[-1]}")
        return _times(features, self.weights[:-1], self.weights[-1]) @ self.inverse_whitening + self.mean

    def predict(
        self,
        features: Array | torch.Tensor,
        windows: ArrayLike,
        image_size: Size | None,
    ) -> Float64s:
        """Return where the objects in the windows are.

        Args:
            features: `[n, d]` raw features, a numpy array or a torch tensor on any device.
            windows: `[n, 4]` pixels.
            image_size: of the image in pixels, to which the boxes are clipped; None does not clip.

        Returns:
            float64 `[n, 4]` pixels.
        """
        return decode_boxes(windows, self.deltas(features), image_size)


def _times(features: Array | torch.Tensor, weights: Float32s, bias: Float32s) -> Float64s:
    """Return `features @ weights + bias` in float32, computed where the features are."""
    if isinstance(features, np.ndarray):
        return (np.asarray(features, dtype=np.float32) @ weights + bias).astype(np.float64)
    import torch

    w, b = (torch.from_numpy(np.ascontiguousarray(a)).to(features.device) for a in (weights, bias))
    moved: Float64s = torch.addmm(b, features.float(), w).double().cpu().numpy()
    return moved


def train_regressor(
    features: Array | RowBlocks,
    windows: ArrayLike,
    targets: ArrayLike,
    *,
    ridge: float = 1000.0,
    min_iou: float = 0.5,
    feature_scale: float = 1.0,
) -> BoxRegressor:
    """Train the regressor of one category.

    Args:
        features: `[n, d]` raw features of the windows, float16 or float32; as blocks, they are never all in memory
            where there are more of them than features.
        windows: `[n, 4]` pixels.
        targets: `[n, 4]` pixels: the object that each window overlaps most.
        ridge: weight of the regularisation; R-CNN 1000, the authors' release 4000.
        min_iou: windows train only if they overlap their target by more (the paper's 50 %).
        feature_scale: factor that brings the features to mean norm 20, on which `ridge` rests. It is folded
            into the weights.

    Returns:
        A regressor for raw features.

    Raises:
        DataError: `no-examples` if no window overlaps its target enough; `nan-features`; shapes differ.
        ConfigError: `ridge` or `feature_scale` is not positive.
    """
    for name, value in (("ridge", ridge), ("feature_scale", feature_scale)):
        if not value > 0.0:
            raise ConfigError(f"{name} must be greater than 0, not {value}")
    source = np.asarray(windows, dtype=np.float64).reshape(-1, 4)
    goal = np.asarray(targets, dtype=np.float64).reshape(-1, 4)
    if not isinstance(features, RowBlocks):
        if features.ndim != 2:
            raise DataError("bad-features", f"features {list(features.shape)} are not [n, d]")
        features = RowBlocks.of(features)
    if features.rows != len(source):
        raise DataError("bad-features", f"{features.rows} features do not go with {len(source)} windows")
    kept = paired_iou(source, goal) > min_iou
    if not kept.any():
        raise DataError("no-examples", f"none of {len(source)} windows overlaps its object by more than {min_iou}")
    deltas = encode_boxes(source[kept], goal[kept])
    mean, whitening, inverse = _whitening(deltas)
    weights = solve_ridge(features.select(kept), (deltas - mean) @ whitening, ridge, feature_scale)
    return BoxRegressor(weights.astype(np.float32), mean, inverse)


def _whitening(deltas: Float64s) -> tuple[Float64s, Float64s, Float64s]:
    """Return the mean `[4]`, the symmetric whitening `[4, 4]` and its inverse."""
    mean = deltas.mean(axis=0)
    centred = deltas - mean
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(deltas))
    deviations = np.sqrt(np.maximum(variances, 0.0) + _WHITENING_FLOOR)
    return mean, (vectors / deviations) @ vectors.T, (vectors * deviations) @ vectors.T


@dataclass(frozen=True)
class BoxRegressors:
    """The regressors of all categories.

    Attributes:
        categories: `k` names.
        regressors: `k` regressors for the same features, in the categories' order.
    """

    categories: tuple[str, ...]
    regressors: tuple[BoxRegressor, ...]

    def __post_init__(self) -> None:
        if len(self.categories) != len(self.regressors) or not self.categories:
            raise ConfigError(f"{len(self.categories)} categories can't have {len(self.regressors)} regressors")
        sizes = sorted({len(r.weights) - 1 for r in self.regressors})
        if len(sizes) > 1:
            raise ConfigError(f"box regressors of different numbers of features: {sizes}")

    def __getitem__(self, category: str) -> BoxRegressor:
        if category not in self.categories:
            raise ConfigError(f"no box regressor for category {category!r}")
        return self.regressors[self.categories.index(category)]

    @cached_property
    def _products(self) -> LinearProducts:
        """What moves boxes, before it is whitened back: four numbers a category."""
        weights = np.stack([r.weights for r in self.regressors], axis=1)
        whole = weights.reshape(len(weights), -1)
        return LinearProducts(np.ascontiguousarray(whole[:-1].T), whole[-1])

    @cached_property
    def _placed(self) -> dict[torch.device, tuple[torch.Tensor, torch.Tensor]]:
        return {}

    def _on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inverse whitenings and means on a device, sent there once."""
        import torch

        if device not in self._placed:
            inverse = np.stack([r.inverse_whitening for r in self.regressors])
            mean = np.stack([r.mean for r in self.regressors])
            self._placed[device] = torch.from_numpy(inverse).to(device), torch.from_numpy(mean).to(device)
        return self._placed[device]

    def deltas(self, features: torch.Tensor) -> torch.Tensor:
        """Return what each category's regressor gives for each window, where the features are.

        Args:
            features: `[n, d]` raw features.

        Returns:
            float64 `[n, k, 4]`: dx, dy, dw, dh, up to float32 products those of `BoxRegressor.deltas`.
        """
        length = len(self.regressors[0].weights) - 1
        if features.shape[1] != length:
            raise DataError("bad-features", f"regressors of {length} features got {features.shape[1]}")
        inverse, mean = self._on(features.device)
        whitened = self._products(features).double().view(len(features), len(self.regressors), 4, 1)
        # A product of millions of 4 x 4 matrices, which libraries take one by one.
        return (whitened * inverse).sum(dim=2) + mean

    def to_tensors(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """Return the tensors and metadata for a safetensors file."""
        import torch

        tensors = {
            "weights": torch.from_numpy(np.stack([r.weights for r in self.regressors])),
            "means": torch.from_numpy(np.stack([r.mean for r in self.regressors])),
            "inverse_whitenings": torch.from_numpy(np.stack([r.inverse_whitening for r in self.regressors])),
        }
        categories = json.dumps(list(self.categories), ensure_ascii=False)
        return tensors, {"kind": "box-regressors", "categories": categories}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> Self:
        """Read what `to_tensors` gave.

        Raises:
            ArtifactError: a tensor or a key is missing or of another kind.
        """
        if metadata.get("kind") != "box-regressors":
            raise ArtifactError(f"these tensors are {metadata.get('kind')!r}, not 'box-regressors'")
        try:
            columns = (
                np.asarray(tensors["weights"], dtype=np.float32),
                np.asarray(tensors["means"], dtype=np.float64),
                np.asarray(tensors["inverse_whitenings"], dtype=np.float64),
            )
            regressors = tuple(BoxRegressor(*row) for row in zip(*columns, strict=True))
            return cls(tuple(json.loads(metadata["categories"])), regressors)
        except (KeyError, ValueError, ConfigError) as error:
            raise ArtifactError(f"box regressors can't be read: {error}") from error
