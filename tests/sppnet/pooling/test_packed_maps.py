from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.errors import ConfigError
from sppnet.pooling.packed_maps import PackedMaps
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.windows import pool_windows
from sppnet.sizes import Size


@pytest.mark.parametrize("levels", [(6, 3, 2, 1), (4, 2)])
def test_each_window_is_pooled_from_its_own_map(levels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    maps = [torch.from_numpy(rng.random((*hw, 8))).to(torch.bfloat16) for hw in ((5, 7), (9, 4), (6, 6))]
    packed = PackedMaps.of(maps)
    assert packed.sizes == (Size(7, 5), Size(4, 9), Size(6, 6))
    map_of = torch.tensor([2, 0, 2, 0])
    cells = torch.tensor([[0, 0, 6, 6], [3, 1, 7, 2], [5, 5, 6, 6], [0, 0, 7, 5]], dtype=torch.int32)
    pooled = packed.pool(map_of, cells, Pyramid(levels))
    for row, number in enumerate(map_of.tolist()):
        assert torch.equal(pooled[row], pool_windows(maps[number], cells[row : row + 1], Pyramid(levels))[0])
    assert packed.table[0].tolist() == [0, 35, 71]
    assert packed.table[1].tolist() == [7, 4, 6]
    assert packed.pool(map_of[:0], cells[:0], Pyramid()).shape == (0, 50, 8)


def test_no_maps_are_refused() -> None:
    with pytest.raises(ConfigError, match="no maps"):
        PackedMaps.of([])
