"""The spatial pyramid: its levels, their bins, and the SPP layer of training networks (paper, section 2.2).

A level n divides a window of h x w cells into n x n bins: bin (i, j) takes the rows
`[floor(i h / n), ceil((i + 1) h / n))` and likewise the columns (Appendix A). The paper's other rule, a sliding window
of `ceil(a / n)` cells at steps of `floor(a / n)`, does not always give n x n outputs (a = 10, n = 6); where the map is
13 x 13 the two are the same. So is the last pooling of a network without SPP, which is one level of 6 x 6 bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from sppnet.arrays import Integers
from sppnet.errors import ConfigError
from sppnet.sizes import Size

Levels = tuple[int, ...] | Literal["none"]
"""Levels of a pyramid, or `none` for a network without SPP."""

NAMED_LEVELS: Mapping[str, tuple[int, ...]] = MappingProxyType({"spp6": (6, 3, 2, 1), "spp4": (4, 3, 2, 1)})
"""The paper's pyramids: of 50 bins, and of 30 (section 3.1.1)."""

WITHOUT_SPP = (6,)
"""The last pooling of the paper's networks without SPP gives 6 x 6 bins: 3 / 2 on 13 cells, 3 / 3 on 18."""


@dataclass(frozen=True)
class LevelPlan:
    """How one level is computed.

    Attributes:
        level: n, for n x n bins.
        bins: the level's slice of the pyramid's bins.
        source: the finer level whose bins this one's are unions of, or None: computed from the map.
    """

    level: int
    bins: slice
    source: int | None


@dataclass(frozen=True)
class Pyramid:
    """The levels of a spatial pyramid, in the order of the pooled vector.

    Attributes:
        levels: n of each level's n x n bins; distinct. The paper's detector has (6, 3, 2, 1).
        fixed_map: size in cells of the only map that a network without SPP takes; None with SPP.

    Raises:
        ConfigError: no levels, a level below 1 or not an integer, or one twice.
    """

    levels: tuple[int, ...] = (6, 3, 2, 1)
    fixed_map: Size | None = None

    def __post_init__(self) -> None:
        levels = tuple(self.levels)
        if not levels or len(set(levels)) != len(levels) or any(type(n) is not int or n < 1 for n in levels):
            raise ConfigError(f"pyramid levels must be distinct integers of at least 1, not {list(levels)}")
        object.__setattr__(self, "levels", levels)

    @property
    def bins(self) -> int:
        """Number of bins of all the levels: 50 for (6, 3, 2, 1)."""
        return sum(n * n for n in self.levels)

    @property
    def slices(self) -> dict[int, slice]:
        """Each level's slice of the bins axis of `[n, bins, C]`; bins run row by row within it."""
        slices, start = {}, 0
        for n in self.levels:
            slices[n] = slice(start, start + n * n)
            start += n * n
        return slices

    def plan(self) -> list[LevelPlan]:
        """Return the levels, finest first, each with the level it derives from.

        Where n divides m, a bin of level n is exactly the union of (m / n)^2 adjacent bins of level m, so its maximum
        is the maximum of theirs. The coarsest such m is taken, as it costs least.
        """
        slices, done = self.slices, list[int]()
        plan = []
        for n in sorted(self.levels, reverse=True):
            source = min((m for m in done if m % n == 0), default=None)
            plan.append(LevelPlan(n, slices[n], source))
            done.append(n)
        return plan


def parse_levels(value: str | Sequence[int]) -> Levels:
    """Read levels as a recipe gives them: a list, `spp6`, `spp4`, or `none`, which stays a name.

    Raises:
        ConfigError: an unknown name, or a list that is no pyramid.
    """
    if value == "none":
        return "none"
    if isinstance(value, str):
        if value not in NAMED_LEVELS:
            raise ConfigError(f"pyramid {value!r} is unknown: a list of levels, {', '.join(NAMED_LEVELS)} or none")
        return NAMED_LEVELS[value]
    return Pyramid(tuple(value)).levels


def make_pyramid(levels: Levels, map_sizes: Sequence[Size]) -> Pyramid:
    """Build the pyramid of a network that is trained on maps of the given sizes, in cells.

    Raises:
        ConfigError: a level is finer than a map, or maps of several sizes for a network without SPP.
    """
    if levels != "none":
        pyramid = Pyramid(levels)
    elif len(set(map_sizes)) == 1:
        pyramid = Pyramid(WITHOUT_SPP, fixed_map=map_sizes[0])
    else:
        found = " and ".join(map(str, sorted(set(map_sizes))))
        raise ConfigError(f"levels: a network without SPP takes maps of one size, not of {found} cells")
    for map_size in map_sizes:
        check_levels(pyramid, map_size)
    return pyramid


def check_levels(pyramid: Pyramid, map_size: Size) -> None:
    """Raise `ConfigError` if a level has more bins along an axis than the map has cells: bins would repeat them."""
    finest = max(pyramid.levels)
    if finest > map_size.short_side:
        raise ConfigError(
            f"levels: {finest} x {finest} bins are finer than a map of {map_size} cells; take larger images "
            "or coarser levels"
        )


def bin_edges(length: int, n: int) -> Integers:
    """Return the cells of each of the n bins along an axis of `length` cells, in integer arithmetic.

    Returns:
        int64 `[n, 2]`: `[start, stop)` per bin; never empty, overlapping by a cell where n does not divide `length`.

    Raises:
        ValueError: `length` or `n` below 1.
    """
    if length < 1 or n < 1:
        raise ValueError(f"can't divide {length} cells into {n} bins")
    i = np.arange(n, dtype=np.int64)
    return np.stack([i * length // n, ((i + 1) * length + n - 1) // n], axis=1)


def pool_full_maps(maps: torch.Tensor, pyramid: Pyramid) -> torch.Tensor:
    """Pool whole maps, as the SPP layer of a training network does; differentiable.

    Args:
        maps: `[N, C, H, W]` floating point, any memory format, at least one cell.
        pyramid: the levels.

    Returns:
        `[N, bins, C]`, same dtype and device; levels in the pyramid's order, bins row by row.

    Raises:
        ValueError: maps of another shape or without cells.
        ConfigError: maps of another size than the only one that a network without SPP takes.
    """
    if maps.ndim != 4 or 0 in maps.shape[1:]:
        raise ValueError(f"maps must have shape [N, C, H, W] with at least one cell, not {list(maps.shape)}")
    found = Size(maps.shape[3], maps.shape[2])
    if pyramid.fixed_map not in (None, found):
        raise ConfigError(f"a network without SPP takes maps of {pyramid.fixed_map} cells only, not {found}")
    pooled: dict[int, torch.Tensor] = {}
    for step in pyramid.plan():
        if step.source is None:
            pooled[step.level] = functional.adaptive_max_pool2d(maps, step.level)
        else:
            pooled[step.level] = functional.max_pool2d(pooled[step.source], step.source // step.level)
    return torch.cat([pooled[n].flatten(2) for n in pyramid.levels], dim=2).transpose(1, 2)
