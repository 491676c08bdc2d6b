"""Products of features with the weights of all categories: what SVMs score and regressors move by (section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from sppnet.arrays import Float32s
from sppnet.devices import in_parts
from sppnet.half_products import HalfProducts, takes
from sppnet.products_numba import LANES, has_kernel, laid_out, multiply

_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class LinearProducts:
    """One linear function of features a category.

    Attributes:
        weights: float32 `[k, d]`.
        biases: float32 `[k]`.
    """

    weights: Float32s
    biases: Float32s
    _placed: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, repr=False)
    _tiles: list[tuple[Float32s, Float32s]] = field(default_factory=list, repr=False)
    _halves: dict[tuple[torch.dtype, torch.device], HalfProducts] = field(default_factory=dict, repr=False)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return `rows @ weights.T + biases`.

        Args:
            rows: `[n, d]` of any float type on any device.

        Returns:
            float32 `[n, k]` on the same device. A row's result depends on no other row.
        """
        if self._has_kernel(rows):
            if not self._tiles:
                self._tiles.append(laid_out(self.weights, self.biases))
            found = multiply(rows.contiguous(), *self._tiles[0])
            return torch.from_numpy(found[:, : len(self.biases)])
        if takes(rows):
            return in_parts(self._of_halves(rows), rows, _ROWS_AT_ONCE)
        weights, biases = self._on(rows.device)
        # A few rows at a time: a whole image's half floats widened at once would leave every cache.
        return in_parts(lambda part: torch.addmm(biases, part.float(), weights.T), rows, _ROWS_AT_ONCE)

    def _of_halves(self, rows: torch.Tensor) -> HalfProducts:
        key = rows.dtype, rows.device
        if key not in self._halves:
            self._halves[key] = HalfProducts(self.weights, self.biases, *key)
        return self._halves[key]

    def _has_kernel(self, rows: torch.Tensor) -> bool:
        fits = rows.device.type == "cpu" and rows.dtype in (torch.float16, torch.float32)
        return fits and rows.shape[1] % LANES == 0 and has_kernel()

    def _on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weights and biases on a device, sent there once: products are taken for each image."""
        if device not in self._placed:
            found = (torch.from_numpy(np.ascontiguousarray(one)).to(device) for one in (self.weights, self.biases))
            self._placed[device] = tuple(found)  # type: ignore[assignment]
        return self._placed[device]
