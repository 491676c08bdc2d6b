"""The endless shuffled order of samples: blocks in a permuted order, and within a group of blocks their rows.

A place in the order is a number, so that a training starts anywhere, and any number of workers share its batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from pipelines.artifacts.window_samples import Block
from sppnet.arrays import Integers
from sppnet.seeds import derive_seed


class Group(NamedTuple):
    """Some blocks whose rows follow one another in a random order.

    Attributes:
        blocks: The blocks.
        owners: int64 `[rows]` index of each row's block.
        rows: int64 `[rows]` its row in there.
    """

    blocks: tuple[Block, ...]
    owners: Integers
    rows: Integers


class SampleOrder:
    """Every sample of a part once an epoch.

    Args:
        blocks: All blocks, one at least.
        group: Blocks whose rows are shuffled among one another.
        seed: Of the order.

    Attributes:
        size: Samples of an epoch.
    """

    def __init__(self, blocks: Sequence[Block], group: int, seed: int) -> None:
        self._blocks = tuple(blocks)
        self._group = group
        self._seed = seed
        self._groups = -(-len(blocks) // group)
        self.size = sum(block.rows for block in blocks)
        self._epoch = lru_cache(maxsize=4)(self._permuted)

    def locate(self, places: Integers) -> tuple[Integers, Integers]:
        """Return the number of the group of each place, and the row there, int64 like `places`."""
        epochs, within = np.divmod(places, self.size)
        numbers, rows = np.empty_like(places), np.empty_like(places)
        for epoch in np.unique(epochs).tolist():
            own = np.flatnonzero(epochs == epoch)
            ends = self._epoch(epoch)[1]
            found = np.searchsorted(ends, within[own], side="right")
            numbers[own] = epoch * self._groups + found
            rows[own] = within[own] - np.r_[0, ends][found]
        return numbers, rows

    def group(self, number: int) -> Group:
        """Return a group by its number, counted over all epochs."""
        epoch, place = divmod(number, self._groups)
        order = self._epoch(epoch)[0]
        blocks = tuple(self._blocks[i] for i in order[place * self._group : (place + 1) * self._group])
        owners = np.repeat(np.arange(len(blocks)), [block.rows for block in blocks])
        rows = np.concatenate([np.arange(block.rows) for block in blocks])
        shuffled = np.random.default_rng(derive_seed(self._seed, "group", number)).permutation(len(rows))
        return Group(blocks, owners[shuffled], rows[shuffled])

    def _permuted(self, epoch: int) -> tuple[Integers, Integers]:
        """Return the order of the blocks in an epoch, and the place at which each group ends."""
        order = np.random.default_rng(derive_seed(self._seed, "epoch", epoch)).permutation(len(self._blocks))
        ends = list(accumulate(self._blocks[i].rows for i in order))
        return order, np.array([ends[min(end, len(ends)) - 1] for end in self._group_ends()], np.int64)

    def _group_ends(self) -> range:
        return range(self._group, self._group * self._groups + 1, self._group)
