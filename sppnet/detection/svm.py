"""The one-vs-rest linear SVMs of a detector (section 4.1): what they score, and how they are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar, get_args

import numpy as np

from sppnet.arrays import Array, Float32s
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.networks.network import Layer
from sppnet.products import LinearProducts

if TYPE_CHECKING:
    import torch

ArrayOrTensor = TypeVar("ArrayOrTensor", Array, "torch.Tensor")


@dataclass(frozen=True)
class LinearSvms:
    """The SVMs of all categories.

    Attributes:
        weights: float32 `[k, d]`, for features that were multiplied by `feature_scale`.
        biases: float32 `[k]`.
        categories: `k` names.
        feature_scale: factor on raw features.
        features: what they score: `pool5`, `fc6` or `fc7`.
    """

    weights: Float32s
    biases: Float32s
    categories: tuple[str, ...]
    feature_scale: float
    features: Layer

    def __post_init__(self) -> None:
        k = len(self.categories)
        if self.weights.ndim != 2 or len(self.weights) != k or self.biases.shape != (k,):
            shapes = f"weights {list(self.weights.shape)}, biases {list(self.biases.shape)}"
            raise ConfigError(f"SVMs of {k} categories can't have {shapes}")
        if self.features not in get_args(Layer):
            raise ConfigError(f"features: {self.features!r} is not one of {', '.join(get_args(Layer))}")

    @classmethod
    def of(
        cls,
        trained: Mapping[str, tuple[Array, float]],
        feature_scale: float,
        features: Layer,
    ) -> Self:
        """Collect what `train_svm` returned for each category."""
        if not trained:
            raise ConfigError("no SVM was trained: there is no category")
        return cls(
            weights=np.stack([np.asarray(w, dtype=np.float32) for w, _ in trained.values()]),
            biases=np.array([b for _, b in trained.values()], dtype=np.float32),
            categories=tuple(trained),
            feature_scale=float(feature_scale),
            features=features,
        )

    def folded(self) -> tuple[Float32s, Float32s]:
        """Return weights `[k, d]` for raw features, and the biases `[k]`: scores are `x @ weights.T + biases`."""
        return self.weights * np.float32(self.feature_scale), self.biases

    @cached_property
    def _products(self) -> LinearProducts:
        """What scores raw features."""
        return LinearProducts(*self.folded())

    def scores(self, x: ArrayOrTensor) -> ArrayOrTensor:
        """Return the scores of raw (unscaled) features.

        Args:
            x: `[n, d]`, a numpy array or a torch tensor on any device.

        Returns:
            float32 `[n, k]`, of the same kind and on the same device.
        """
        if x.shape[-1] != self.weights.shape[1]:
            raise DataError("bad-features", f"SVMs of {self.weights.shape[1]} features got {x.shape[-1]}")
        if isinstance(x, np.ndarray):
            weights, biases = self.folded()
            return np.asarray(x, dtype=np.float32) @ weights.T + biases
        return self._products(x)

    def joined(self, other: LinearSvms) -> LinearSvms:
        """Return these categories and the other's behind them; both must score the same features.

        Where they scale them differently, weights take the scales in: each category's scores stay what they were.
        """
        if self.features != other.features:
            raise ConfigError(f"SVMs of {self.features} and of {other.features} can't be joined")
        if self.feature_scale != other.feature_scale:
            return self._unscaled().joined(other._unscaled())
        twice = set(self.categories) & set(other.categories)
        if twice:
            raise ConfigError(f"categories are in both: {', '.join(sorted(twice))}")
        return LinearSvms(
            weights=np.concatenate([self.weights, other.weights]),
            biases=np.concatenate([self.biases, other.biases]),
            categories=self.categories + other.categories,
            feature_scale=self.feature_scale,
            features=self.features,
        )

    def _unscaled(self) -> LinearSvms:
        weights, biases = self.folded()
        return LinearSvms(weights, biases, self.categories, 1.0, self.features)

    def select(self, categories: Sequence[str]) -> LinearSvms:
        """Return some of the categories, in the order given; raise `ConfigError` for one that there is not."""
        unknown = [name for name in categories if name not in self.categories]
        if unknown or not categories:
            raise ConfigError(f"no SVM of {unknown or 'any'}; there are {', '.join(self.categories)}")
        rows = [self.categories.index(name) for name in categories]
        return LinearSvms(self.weights[rows], self.biases[rows], tuple(categories), self.feature_scale, self.features)

    def to_tensors(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """Return the tensors and metadata for a safetensors file."""
        import torch

        tensors = {"weights": torch.from_numpy(self.weights), "biases": torch.from_numpy(self.biases)}
        metadata = {
            "kind": "linear-svms",
            "categories": json.dumps(list(self.categories), ensure_ascii=False),
            "feature_scale": repr(self.feature_scale),
            "features": self.features,
        }
        return tensors, metadata

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> Self:
        """Read what `to_tensors` gave.

        Raises:
            ArtifactError: a tensor or a key is missing or of another kind.
        """
        if metadata.get("kind") != "linear-svms":
            raise ArtifactError(f"these tensors are {metadata.get('kind')!r}, not 'linear-svms'")
        try:
            categories: Sequence[str] = json.loads(metadata["categories"])
            return cls(
                weights=np.asarray(tensors["weights"], dtype=np.float32),
                biases=np.asarray(tensors["biases"], dtype=np.float32),
                categories=tuple(categories),
                feature_scale=float(metadata["feature_scale"]),
                features=metadata["features"],  # type: ignore[arg-type]  # checked in __post_init__
            )
        except (KeyError, ValueError, ConfigError) as error:
            raise ArtifactError(f"SVMs can't be read: {error}") from error
