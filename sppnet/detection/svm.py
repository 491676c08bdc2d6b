"""One-vs-rest linear SVMs on window features (section 4.1), as R-CNN's liblinear call trains them.

Features are scaled so that their mean norm is 20; C = 0.001, positives count twice, and the bias is the
weight of a constant feature 10 (so it is regularised, weakly).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sppnet.errors import ArtifactError, ConfigError, DataError

if TYPE_CHECKING:
    import torch

    from sppnet.detection.svm_solvers import SvmSolution

logger = logging.getLogger(__name__)

FeatureName = Literal["pool5", "fc6", "fc7"]
Solver = Literal["dual-cd", "liblinear"]
"""Our dual coordinate descent, or scikit-learn's liblinear."""
MEAN_NORM = 20.0
"""Mean L2 norm of the scaled features."""

_ROWS_AT_ONCE = 256

ArrayOrTensor = TypeVar("ArrayOrTensor", "NDArray[Any]", "torch.Tensor")


def feature_scale(norms: ArrayLike, mean_norm: float = MEAN_NORM) -> float:
    """The one factor that gives features a mean norm of 20.

    Args:
        norms: `[n]` L2 norms of the features of a sample of windows.
        mean_norm: the mean norm wanted.

    Raises:
        DataError: there are no norms, or their mean is not a positive number.
    """
    array = np.asarray(norms, dtype=np.float64).reshape(-1)
    mean = float(array.mean()) if len(array) else 0.0
    if not (np.isfinite(mean) and mean > 0.0):
        raise DataError("bad-features", f"{len(array)} feature norms with mean {mean}: nothing to scale")
    return mean_norm / mean


def train_svm(
    features: NDArray[Any],
    labels: ArrayLike,
    *,
    C: float = 0.001,
    positive_weight: float = 2.0,
    bias_scale: float = 10.0,
    max_iter: int = 1000,
    tolerance: float = 1e-4,
    seed: int = 0,
    solver: Solver = "dual-cd",
) -> tuple[NDArray[np.float32], float]:
    """Trains one category's SVM.

    Minimises `1/2 |w|^2 + 1/2 (b / bias_scale)^2 + positive_weight C sum_pos hinge + C sum_neg hinge`.

    Args:
        features: `[n, d]`, already scaled; C-contiguous float32 is used in place, anything else copied to that.
        labels: `[n]` of +1 and -1.
        C: cost of a negative within the margin.
        positive_weight: factor on the cost of positives.
        bias_scale: value of the constant feature whose weight is the bias.
        max_iter: passes over the examples at most.
        tolerance: relative duality gap to reach. liblinear has no such criterion: its own, the largest
            violation, gets the same number.
        seed: of the order in which examples are visited.
        solver: `dual-cd`, or `liblinear` for scikit-learn's (which copies the features to float64).

    Returns:
        The weights, float32 `[d]`, and the bias.

    Raises:
        DataError: `one-class` without a positive or a negative, `nan-features`, `bad-labels`.
        ConfigError: a parameter is out of its range.
    """
    if solver == "liblinear":
        from sppnet.detection.svm_solvers import solve_liblinear

        X, y, _ = _problem(features, labels, C, positive_weight, bias_scale)
        return solve_liblinear(X, y, C, positive_weight, bias_scale, max_iter, tolerance, seed)
    if solver != "dual-cd":
        raise ConfigError(f"solver: {solver!r} is not one of {', '.join(get_args(Solver))}")
    solution = solve_svm(
        features,
        labels,
        C=C,
        positive_weight=positive_weight,
        bias_scale=bias_scale,
        max_iter=max_iter,
        tolerance=tolerance,
        seed=seed,
    )
    return solution.weights, solution.bias


def solve_svm(
    features: NDArray[Any],
    labels: ArrayLike,
    *,
    C: float = 0.001,
    positive_weight: float = 2.0,
    bias_scale: float = 10.0,
    max_iter: int = 1000,
    tolerance: float = 1e-4,
    seed: int = 0,
    alphas: NDArray[np.float64] | None = None,
) -> SvmSolution:
    """`train_svm` with the dual variables and the gap, and a warm start from earlier ones.

    Args:
        features: `[n, d]`, as in `train_svm`, which has the other parameters too.
        labels: `[n]` of +1 and -1.
        C: cost of a negative within the margin.
        positive_weight: factor on the cost of positives.
        bias_scale: value of the constant feature whose weight is the bias.
        max_iter: passes over the examples at most.
        tolerance: relative duality gap to reach.
        seed: of the order in which examples are visited.
        alphas: float64 `[n]` to start from: those of the rows kept from the last round, 0 for new rows.
    """
    from sppnet.detection.svm_solvers import solve_dual

    X, y, upper = _problem(features, labels, C, positive_weight, bias_scale)
    if alphas is not None and len(alphas) != len(y):
        raise DataError("bad-labels", f"{len(alphas)} dual variables for {len(y)} examples")
    solution = solve_dual(X, y, upper, bias_scale, tolerance=tolerance, max_epochs=max_iter, seed=seed, alphas=alphas)
    if solution.gap > tolerance:
        logger.warning("svm not converged epochs=%d gap=%.2e", solution.epochs, solution.gap)
    return solution


def svm_objective(
    features: NDArray[Any],
    labels: ArrayLike,
    weights: NDArray[Any],
    bias: float,
    *,
    C: float = 0.001,
    positive_weight: float = 2.0,
    bias_scale: float = 10.0,
) -> float:
    """What `train_svm` minimises, at the given weights.

    Args:
        features: `[n, d]`, scaled.
        labels: `[n]` of +1 and -1.
        weights: `[d]`.
        bias: added to every score.
        C: cost of a negative within the margin.
        positive_weight: factor on the cost of positives.
        bias_scale: value of the constant feature whose weight is the bias.
    """
    y = np.asarray(labels, dtype=np.float64).reshape(-1)
    w = np.asarray(weights)
    hinge = np.maximum(0.0, 1.0 - y * (features @ w + bias))
    cost = np.where(y > 0, positive_weight * C, C)
    norm = float(np.square(w, dtype=np.float64).sum()) + (bias / bias_scale) ** 2
    return 0.5 * norm + float((cost * hinge).sum())


def _problem(
    features: NDArray[Any], labels: ArrayLike, C: float, positive_weight: float, bias_scale: float
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Checked features, labels and the cost of each row."""
    for name, value in (("C", C), ("positive_weight", positive_weight), ("bias_scale", bias_scale)):
        if not value > 0.0:
            raise ConfigError(f"{name} must be greater than 0, not {value}")
    y = np.asarray(labels, dtype=np.float64).reshape(-1)
    if features.ndim != 2 or len(features) != len(y):
        raise DataError("bad-features", f"features {list(features.shape)} do not go with {len(y)} labels")
    if not np.isin(y, (1.0, -1.0)).all():
        raise DataError("bad-labels", "labels of an SVM are +1 and -1")
    positives = int(np.count_nonzero(y > 0))
    if positives in {0, len(y)}:
        raise DataError("one-class", f"{positives} positives and {len(y) - positives} negatives: need both")
    X = np.ascontiguousarray(features, dtype=np.float32)
    check_finite(X)
    return X, y, np.where(y > 0, positive_weight * C, C)


def check_finite(features: NDArray[Any]) -> None:
    """Raises `DataError("nan-features")` if a feature is not a finite number.

    Args:
        features: `[n, d]`.
    """
    # A row's sum is finite only if the row is: no [n, d] mask is made.
    bad = np.flatnonzero(~np.isfinite(features.sum(axis=1, dtype=np.float32)))
    if len(bad):
        raise DataError("nan-features", f"{len(bad)} of {len(features)} rows are not finite, the first is {bad[0]}")


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

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]
    categories: tuple[str, ...]
    feature_scale: float
    features: FeatureName

    def __post_init__(self) -> None:
        k = len(self.categories)
        if self.weights.ndim != 2 or len(self.weights) != k or self.biases.shape != (k,):
            shapes = f"weights {list(self.weights.shape)}, biases {list(self.biases.shape)}"
            raise ConfigError(f"SVMs of {k} categories can't have {shapes}")
        if self.features not in get_args(FeatureName):
            raise ConfigError(f"features: {self.features!r} is not one of {', '.join(get_args(FeatureName))}")

    @classmethod
    def of(
        cls,
        trained: Mapping[str, tuple[NDArray[Any], float]],
        feature_scale: float,
        features: FeatureName,
    ) -> Self:
        """Collects what `train_svm` returned for each category."""
        if not trained:
            raise ConfigError("no SVM was trained: there is no category")
        return cls(
            weights=np.stack([np.asarray(w, dtype=np.float32) for w, _ in trained.values()]),
            biases=np.array([b for _, b in trained.values()], dtype=np.float32),
            categories=tuple(trained),
            feature_scale=float(feature_scale),
            features=features,
        )

    def folded(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights `[k, d]` that take raw features, and the biases `[k]`: scores are `x @ weights.T + biases`."""
        return self.weights * np.float32(self.feature_scale), self.biases

    @cached_property
    def _placed(self) -> dict[torch.device, tuple[torch.Tensor, torch.Tensor]]:
        return {}

    def _on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Folded weights and biases on a device, sent there once: scoring is called for each image."""
        import torch

        if device not in self._placed:
            self._placed[device] = tuple(torch.from_numpy(array).to(device) for array in self.folded())  # type: ignore[assignment]
        return self._placed[device]

    def scores(self, x: ArrayOrTensor) -> ArrayOrTensor:
        """Scores of raw (unscaled) features.

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
        import torch

        w, b = self._on(x.device)
        # On the CPU a few rows at a time: a whole image's half floats widened at once would leave every cache.
        rows = _ROWS_AT_ONCE if x.device.type == "cpu" else max(1, len(x))
        return torch.cat([torch.addmm(b, part.float(), w.T) for part in torch.split(x, rows)])

    def joined(self, other: LinearSvms) -> LinearSvms:
        """These categories and the other's behind them; both must score the same scaled features."""
        if (self.features, self.feature_scale) != (other.features, other.feature_scale):
            raise ConfigError("SVMs of different features or feature scales can't be joined")
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

    def to_tensors(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """Tensors and metadata for a safetensors file."""
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
        """The inverse of `to_tensors`.

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
