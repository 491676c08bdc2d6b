"""Ridge regression by its closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def textbook(x: NDArray[np.float64], y: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """`[d + 1, m]` weights, the bias row last, which is regularised like the others."""
    augmented = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    return np.linalg.inv(augmented.T @ augmented + ridge * np.eye(augmented.shape[1])) @ augmented.T @ y
