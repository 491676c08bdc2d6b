"""The kinds of arrays that signatures name; docstrings say their shapes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""Of any type."""
Bools: TypeAlias = NDArray[np.bool_]
Integers: TypeAlias = NDArray[np.int64]
Float32s: TypeAlias = NDArray[np.float32]
Float64s: TypeAlias = NDArray[np.float64]
Floats: TypeAlias = NDArray[np.floating[Any]]
"""Of any float type."""
Pixels: TypeAlias = NDArray[np.uint8]
"""Grey levels, RGB, `[H, W, 3]` unless a docstring says otherwise."""
Windows: TypeAlias = NDArray[np.float32]
"""`[n, 4]` windows `[x0, y0, x1, y1)`, half-open pixels of the original image."""
