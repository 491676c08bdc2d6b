"""Products of half floats with float32 weights on a GPU, by its units for half floats: weights as sums of halves.

A float32 weight is a sum of two float16 or three bfloat16 numbers up to its rounding, products of halves are exact in
float32 and are summed there: as near as a float32 product, at a multiple of its speed and without widened features.
"""

from __future__ import annotations

import numpy as np
import torch

from sppnet.arrays import Float32s
from sppnet.devices import has_bfloat_units, upload

_PARTS = {torch.float16: 2, torch.bfloat16: 3}
# Float16 reaches from 2^-24 to 2^16: the largest weight goes near the top, so that the parts lose nothing below.
_TOP = 10


def takes(rows: torch.Tensor) -> bool:
    """Tell whether features are such that this pays."""
    return rows.dtype in _PARTS and has_bfloat_units(rows.device)


class HalfProducts:
    """One linear function of features a category.

    Args:
        weights: float32 `[k, d]`.
        biases: float32 `[k]`.
        dtype: of the features, float16 or bfloat16.
        device: of the features.
    """

    def __init__(self, weights: Float32s, biases: Float32s, dtype: torch.dtype, device: torch.device) -> None:
        largest = np.abs(weights).max(axis=1, initial=0.0)
        exponents = _TOP - np.frexp(largest)[1]
        left = torch.from_numpy(np.ldexp(weights, exponents[:, None]))
        parts = []
        for _ in range(_PARTS[dtype]):
            parts.append(left.to(dtype))
            left = left - parts[-1].float()
        self._weights = upload(torch.cat(parts).contiguous(), device).T
        self._scales = upload(np.ldexp(np.ones(len(biases), np.float32), -exponents), device)
        self._biases = upload(biases, device)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return float32 `[n, k]` of features `[n, d]`."""
        if rows.is_cuda:
            products = torch.mm(rows, self._weights, out_dtype=torch.float32)
        else:
            products = rows.float() @ self._weights.float()
        sums = products.view(len(rows), -1, len(self._biases)).sum(dim=1)
        return torch.addcmul(self._biases, sums, self._scales)
