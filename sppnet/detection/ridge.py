"""Ridge regression in whichever of primal and dual is smaller, on features that need not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from sppnet.arrays import Array, Bools, Float64s
from sppnet.detection.feature_scale import check_finite

_BLOCK = 4096
"""Rows or columns of the features that are in float64 at one time."""


@dataclass(frozen=True)
class RowBlocks:
    """Features that are read block by block, because all of them need not fit into memory.

    Attributes:
        rows: How many there are.
        dimension: Length of each.
        read: Gives them in order, `[n, dimension]` blocks of any float type; may be called again.
    """

    rows: int
    dimension: int
    read: Callable[[], Iterator[Array]]

    @classmethod
    def of(cls, features: Array) -> Self:
        """Return the rows of an array, in blocks."""
        starts = range(0, len(features), _BLOCK)
        rows, dimension = features.shape
        return cls(rows, dimension, lambda: (features[start : start + _BLOCK] for start in starts))

    def select(self, kept: Bools) -> RowBlocks:
        """Return only the rows where a mask is True; they are read when asked for."""

        def read() -> Iterator[Array]:
            place = 0
            for block in self.read():
                yield block[kept[place : place + len(block)]]
                place += len(block)

        return RowBlocks(int(kept.sum()), self.dimension, read)

    def whole(self) -> Array:
        """Read all rows into one array `[rows, dimension]`."""
        blocks = list(self.read())
        return np.concatenate(blocks) if blocks else np.zeros((0, self.dimension), np.float32)


def ridge_bytes(rows: int, dimension: int) -> int:
    """Return the peak memory of `train_regressor` on `RowBlocks`, bytes: the smaller Gram matrix and its sources.

    Args:
        rows: Examples, as float16.
        dimension: Of a feature.
    """
    if rows < dimension:
        return 8 * rows**2 + 2 * 2 * rows * dimension + 8 * rows * min(_BLOCK, dimension)
    return 8 * (dimension + 1) ** 2 + 8 * _BLOCK * (dimension + 1)


def solve_ridge(
    features: Array | RowBlocks,
    outputs: Float64s,
    ridge: float,
    feature_scale: float = 1.0,
    *,
    dual: bool | None = None,
) -> Float64s:
    """Solve ridge regression with a constant feature 1: `(X^T X + ridge I)^-1 X^T Y`, `X = [scale * features, 1]`.

    The equal `X^T (X X^T + ridge I)^-1 Y` is cheaper with fewer examples than features. Either Gram matrix
    is summed and factored in float64; the features are only ever converted block by block.

    Args:
        features: `[n, d]` of any float type, or blocks of them.
        outputs: float64 `[n, m]`.
        ridge: weight of the regularisation, of the bias too.
        feature_scale: factor on the features.
        dual: which form to solve; by default whichever has the smaller Gram matrix.

    Returns:
        float64 `[d + 1, m]` for the features as given, the bias row last.
    """
    blocks = features if isinstance(features, RowBlocks) else RowBlocks.of(features)
    if dual is None:
        dual = blocks.rows < blocks.dimension
    if dual:
        whole = blocks.whole() if isinstance(features, RowBlocks) else features
        check_finite(whole)
        weights = _solve_dual(whole, outputs, ridge, feature_scale)
    else:
        weights = _solve_primal(blocks, outputs, ridge, feature_scale)
    weights[:-1] *= feature_scale
    return weights


def _solve_dual(features: Array, outputs: Float64s, ridge: float, feature_scale: float) -> Float64s:
    n, d = features.shape
    gram = np.full((n, n), 1.0, order="F")
    for s in range(0, d, _BLOCK):
        gram = _add_gram(gram, features[:, s : s + _BLOCK].astype(np.float64).T * feature_scale)
    combination = _solve_positive(gram, outputs, ridge)
    weights = np.empty((d + 1, outputs.shape[1]))
    for s in range(0, d, _BLOCK):
        block = features[:, s : s + _BLOCK].astype(np.float64)
        weights[s : s + block.shape[1]] = feature_scale * (block.T @ combination)
    weights[d] = combination.sum(axis=0)
    return weights


def _solve_primal(features: RowBlocks, outputs: Float64s, ridge: float, feature_scale: float) -> Float64s:
    d = features.dimension
    gram, product = np.zeros((d + 1, d + 1), order="F"), np.zeros((d + 1, outputs.shape[1]))
    place = 0
    for rows in _joined(features.read()):
        check_finite(rows)
        block = np.ones((len(rows), d + 1))
        np.multiply(rows, feature_scale, out=block[:, :d], dtype=np.float64)
        gram = _add_gram(gram, block)
        product += block.T @ outputs[place : place + len(rows)]
        place += len(rows)
    return _solve_positive(gram, product, ridge)


def _joined(blocks: Iterator[Array]) -> Iterator[Array]:
    """Cut the same rows into blocks of one size, the last apart: sums don't depend on how they were cut before."""
    held: list[Array] = []
    count = 0
    for block in blocks:
        for start in range(0, len(block), _BLOCK):
            held.append(block[start : start + _BLOCK])
            count += len(held[-1])
            if count >= _BLOCK:
                whole = np.concatenate(held)
                yield whole[:_BLOCK]
                held, count = [whole[_BLOCK:]], len(whole) - _BLOCK
    if count:
        yield np.concatenate(held)


def _add_gram(gram: Float64s, block: Float64s) -> Float64s:
    """Add `block^T block` to `gram` in place, in the lower triangle only: half the arithmetic and no copy."""
    from scipy.linalg.blas import dsyrk

    # BLAS counts columns first: it sees a C-ordered block transposed already.
    by_columns = block.flags.f_contiguous
    operand, transposed = (block, 1) if by_columns else (np.ascontiguousarray(block).T, 0)
    result: Float64s = dsyrk(1.0, operand, beta=1.0, c=gram, trans=transposed, lower=1, overwrite_c=1)
    return result


def _solve_positive(gram: Float64s, right: Float64s, ridge: float) -> Float64s:
    """Solve `(gram + ridge I) x = right` by Cholesky; only the lower triangle is read, and `gram` is overwritten."""
    from scipy.linalg import cho_factor, cho_solve

    gram[np.diag_indices_from(gram)] += ridge
    factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    solution: Float64s = cho_solve(factor, right, check_finite=False)
    return solution
