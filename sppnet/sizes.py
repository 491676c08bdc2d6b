"""Widths and heights, in one order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    import torch

    from sppnet.arrays import Array


class Size(NamedTuple):
    """The sides of an image in pixels, or of a map in cells."""

    width: int
    height: int

    @classmethod
    def of(cls, array: Array | torch.Tensor) -> Self:
        """Return the size of an image or map `[H, W, ...]`."""
        return cls(int(array.shape[1]), int(array.shape[0]))

    @classmethod
    def square(cls, side: int) -> Self:
        """Return the size of a square."""
        return cls(side, side)

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width, as shapes of arrays have them."""
        return self.height, self.width

    @property
    def short_side(self) -> int:
        """The shorter of both."""
        return min(self)

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"
