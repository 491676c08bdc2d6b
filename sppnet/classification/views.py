"""Test views: which parts of an image a network is shown before its outputs are averaged (paper, section 3.1).

A view is the image at one scale (short side), a square window of it or all of it, as it is or mirrored. Its window is
either cut out and sent through the whole network (a crop) or pooled from the map of the whole resized image; the paper
finds the two within 0.1 % of one another (section 3.1.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sppnet.errors import ConfigError
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size

PAPER_SIZE = 224
PAPER_SCALE = 256
VIEW_SCALES = (224, 256, 300, 360, 448, 560)
"""The six scales of the multi-view test on maps (section 3.1.5)."""

POSITIONS = (0, 1, 3, 5, 9)
"""How many windows a scale may have: none, the centre, three along the long side, with the corners, with mid-sides."""


@dataclass(frozen=True, slots=True)
class View:
    """One view of an image.

    Attributes:
        scale: Short side in pixels that the image is resized to.
        flip: Whether the view is mirrored: the same pixels as without, left and right exchanged.
        corner: First pixel `(x, y)` of the window in the resized image before mirroring; None for the whole image.
        size: Side of the window in pixels; 0 for the whole image.
        on_map: Whether the window is pooled from the whole image's map, not cut out first.
    """

    scale: int
    flip: bool
    corner: tuple[int, int] | None
    size: int
    on_map: bool


@dataclass(frozen=True, slots=True)
class ViewSet:
    """The views over which a network's outputs are averaged.

    Attributes:
        scales: Short sides in pixels at which square windows are taken.
        positions: How many windows a scale, one of `POSITIONS`; those that coincide count once.
        size: Side of the windows in pixels.
        flip: Whether each view is joined by its mirror image.
        full: Short sides in pixels at which the whole image is a view too.
        maps: Whether windows are pooled from maps of the whole image; otherwise each is a crop of its own.

    Raises:
        ConfigError: No view at all, a value out of range, or windows larger than the image at a scale.
    """

    scales: tuple[int, ...] = ()
    positions: int = 1
    size: int = PAPER_SIZE
    flip: bool = False
    full: tuple[int, ...] = ()
    maps: bool = True

    def __post_init__(self) -> None:
        if self.positions not in POSITIONS:
            raise ConfigError(f"positions: must be one of {', '.join(map(str, POSITIONS))}, not {self.positions}")
        if min((*self.scales, *self.full, self.size)) < 1:
            raise ConfigError("scales, full and size: must be at least 1 pixel")
        if not self.full and not (self.scales and self.positions):
            raise ConfigError("a view set without views: give scales with positions, or full")
        if self.positions and self.scales and self.size > min(self.scales):
            raise ConfigError(
                f"size: a view of {self.size} pixels does not fit into an image of scale {min(self.scales)}; "
                "take scales of at least the size"
            )

    @property
    def all_scales(self) -> tuple[int, ...]:
        """Every short side that the image is resized to, ascending."""
        return tuple(sorted({*(self.scales if self.positions else ()), *self.full}))

    @property
    def needs_maps(self) -> bool:
        """Whether a view is not a crop of `size` pixels: it needs a network that takes images of any size."""
        return bool(self.full) or self.maps

    def views(self, image_size: Size) -> tuple[View, ...]:
        """List the distinct views of an image.

        Args:
            image_size: Of the original image, pixels.

        Returns:
            By scale, unmirrored ones first, windows in the order of `view_corners`; whole images last.
        """
        found: list[View] = []
        flips = (False, True) if self.flip else (False,)
        for scale in dict.fromkeys(self.scales):
            corners = view_corners(resized_size(image_size, scale), self.size, self.positions)
            found += [View(scale, flip, corner, self.size, self.maps) for flip in flips for corner in corners]
        found += [View(scale, flip, None, 0, True) for scale in dict.fromkeys(self.full) for flip in flips]
        return tuple(found)


def view_corners(image_size: Size, size: int, positions: int) -> tuple[tuple[int, int], ...]:
    """Place square windows in an image: the centre, then the corners, then the middles of the sides.

    Three windows lie at the start, the middle and the end of the long side. A centre between two pixels is rounded
    down. Windows that coincide are given once: with the size of the short side, nine become three, in a square one.

    Args:
        image_size: Of the (resized) image in pixels, both sides at least `size`.
        size: Side of the windows in pixels.
        positions: How many, one of `POSITIONS`.

    Returns:
        The windows' first pixels `(x, y)`.

    Raises:
        ConfigError: An image smaller than a window.
    """
    right, bottom = image_size.width - size, image_size.height - size
    if min(right, bottom) < 0:
        raise ConfigError(f"a view of {size} pixels does not fit into an image of {image_size}")
    x, y = right // 2, bottom // 2
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)]
    middles = [(x, 0), (0, y), (right, y), (x, bottom)]
    line = [(0, y), (right, y)] if image_size.width >= image_size.height else [(x, 0), (x, bottom)]
    chosen = {0: [], 1: [(x, y)], 3: [(x, y), *line], 5: [(x, y), *corners], 9: [(x, y), *corners, *middles]}
    return tuple(dict.fromkeys(chosen[positions]))


NAMED_VIEWS = ("crop", "full", "crops10", "maps10", "maps96", "maps98")
"""Names of the paper's view sets, for `named_views`."""


def named_views(
    name: str, size: int = PAPER_SIZE, scale: int | None = None, scales: Sequence[int] | None = None
) -> ViewSet:
    """Return one of the paper's view sets, by default with its sizes.

    `crop`: the centre. `full`: the whole image. `crops10`: centre and corners with flips, each a crop. `maps10`: the
    same from maps. `maps96`: six scales x (centre, corners, mid-sides) x flip from maps; 18 views a scale, but 6 at
    224, where the window is as high as the image. `maps98`: and the whole image with its flip at `scale`, which the
    paper does not state; 256 is what it takes for its single full view.

    Args:
        name: One of `NAMED_VIEWS`.
        size: Side of a window in pixels.
        scale: Short side in pixels of all but the multi-scale windows; by default 256, in proportion to `size`.
        scales: Short sides in pixels of `maps96` and `maps98`; by default the paper's six, in proportion to `size`.

    Raises:
        ConfigError: No such set, or windows larger than the image.
    """
    one = in_proportion(PAPER_SCALE, size) if scale is None else scale
    many = tuple(in_proportion(side, size) for side in VIEW_SCALES) if scales is None else tuple(scales)
    if name == "full":
        return ViewSet(full=(one,), size=size)
    if name == "crop":
        return ViewSet((one,), 1, size, maps=False)
    if name in ("crops10", "maps10"):
        return ViewSet((one,), 5, size, flip=True, maps=name == "maps10")
    if name in ("maps96", "maps98"):
        return ViewSet(many, 9, size, flip=True, full=(one,) if name == "maps98" else ())
    raise ConfigError(f"no view set '{name}'; there are: {', '.join(NAMED_VIEWS)}")


def in_proportion(side: int, size: int) -> int:
    """Scale a side in pixels that goes with windows of 224 to windows of another size, to the nearest pixel."""
    return (2 * side * size + PAPER_SIZE) // (2 * PAPER_SIZE)
