"""Edges that a network finds, PiDiNet, made thin as the authors of EdgeBoxes make those of their forest.

Their toolbox (Dollár's `edgesDetect`, `edgeBoxes`) smooths the map a little, takes each pixel's orientation from the
curvature of the map smoothed more, and keeps what is the strongest of five pixels across its edge.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from sppnet.arrays import Float32s, Pixels
from sppnet.errors import ConfigError
from sppnet.images.network_input import TORCHVISION, normalise_images
from sppnet.networks.network import Precision
from sppnet.proposals.edges import Edges, half_turn, thin
from sppnet.proposals.pidinet import MIN_SIDE, PiDiNet
from sppnet.proposals.windows import check_image
from sppnet.threads import one_torch_thread

MAX_PIXELS = 262_144
"""Pixels of an image that has more are fewer for the network; every photograph of VOC2007 has fewer."""
SMOOTHING = 1
"""Radius, in pixels, of the triangle that smooths the map."""
ORIENTATION_SMOOTHING = 4
"""That of the triangle before orientations are taken."""
REACH = 2
"""Pixels on either side across an edge that must be weaker."""


class LearnedEdges:
    """Finds edges by a PiDiNet; images are convolved one at a time.

    Args:
        network: on the CPU; its memory may be used.
        device: where it computes.
        precision: type in which it does.
        max_pixels: of an image that has more, it sees the image made smaller, and its map is made larger.

    Raises:
        ConfigError: no pixels to see.
    """

    def __init__(
        self,
        network: PiDiNet,
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if max_pixels < MIN_SIDE**2:
            raise ConfigError(f"learned edges: max_pixels must be at least {MIN_SIDE**2}, got {max_pixels}")
        self._device = torch.device(device)
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        moved = network.eval().to(self._device, self._dtype)
        self._network = moved.to(memory_format=torch.channels_last)
        self._max_pixels = max_pixels

    def __call__(self, image: Pixels) -> Edges:
        """Find the edges of a uint8 `[H, W, 3]` RGB image; raise `ConfigError` for another shape or type."""
        check_image(image, "learned edges")
        strength = _smoothed(self.strength(image), SMOOTHING)
        orientation = ridge_orientation(_smoothed(strength, ORIENTATION_SMOOTHING))
        return Edges(np.minimum(thin(strength, orientation, REACH), 1), orientation)

    @torch.inference_mode()
    def strength(self, image: Pixels) -> Float32s:
        """Return the network's map of an image, before it is made thin: float32 `[H, W]` in 0..1."""
        import cv2

        height, width = image.shape[:2]
        seen = _within(image, self._max_pixels)
        rows, columns = seen.shape[:2]
        # Borders of images too thin for three poolings.
        more = [(0, max(MIN_SIDE - rows, 0)), (0, max(MIN_SIDE - columns, 0)), (0, 0)]
        padded = np.pad(seen, more, mode="edge")
        with one_torch_thread():  # sums of other lengths would round otherwise, and move windows
            found = self._network(normalise_images(padded[None], TORCHVISION, self._device, self._dtype))
        cut: Float32s = found[0, :rows, :columns].cpu().numpy()
        if (rows, columns) == (height, width):
            return cut
        return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def ridge_orientation(strength: Float32s) -> Float32s:
    """Return the angle across the ridge that each pixel of a smooth map lies on.

    The toolbox's approximation from second derivatives: exact for level, upright and diagonal edges, and nearer to the
    axes than the edge for others (the square of the tangent stands in the place of the tangent).

    Args:
        strength: float32 `[H, W]`.

    Returns:
        float32 `[H, W]` in [0, pi), as `Edges.orientation`.
    """
    if min(strength.shape) < 2:
        return np.zeros_like(strength)
    dy, dx = np.gradient(strength)
    dxx = np.gradient(dx, axis=1)
    dyy, dxy = np.gradient(dy)
    return half_turn(np.arctan2(np.where(dxy > 0, -dyy, dyy), dxx + np.float32(1e-5)))


def _smoothed(strength: Float32s, radius: int) -> Float32s:
    """Convolve with a triangle that reaches `radius` pixels, borders mirrored."""
    import cv2

    rising = np.arange(1, radius + 2, dtype=np.float32)
    kernel = np.concatenate([rising, rising[-2::-1]]) / np.float32((radius + 1) ** 2)
    found = cv2.sepFilter2D(strength, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT)
    return np.asarray(found, np.float32)


def _within(image: Pixels, max_pixels: int) -> Pixels:
    """Return an image, smaller if it has more than so many pixels."""
    import cv2

    height, width = image.shape[:2]
    if height * width <= max_pixels:
        return image
    factor = math.sqrt(max_pixels / (height * width))
    size = (max(1, math.floor(width * factor)), max(1, math.floor(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
