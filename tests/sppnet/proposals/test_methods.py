"""Methods of proposing together: each gives what it gives alone, in the order in which they are named."""

from __future__ import annotations

import numpy as np
import pytest

from sppnet.errors import ConfigError
from sppnet.proposals.edge_boxes import edge_boxes
from sppnet.proposals.methods import Proposals, SelectiveSearchSettings
from sppnet.proposals.selective_search import selective_search

IMAGE = np.kron(np.random.default_rng(0).integers(0, 255, (6, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)


def test_each_method_gives_what_it_gives_alone() -> None:
    settings = SelectiveSearchSettings(k=(80,), sigma=0.5)
    found = Proposals(("edge-boxes", "selective-search"), 10, 30, settings)(IMAGE, seed=3)
    assert list(found) == ["edge-boxes", "selective-search"]
    alone = selective_search(IMAGE, k=(80,), sigma=0.5, min_side=10, max_windows=30, seed=3)
    assert len(alone) > 5
    assert np.array_equal(found["selective-search"], alone)
    assert np.array_equal(found["edge-boxes"], edge_boxes(IMAGE, min_side=10, max_windows=30))


def test_a_method_comes_once() -> None:
    with pytest.raises(ConfigError, match="each at most once"):
        Proposals(("edge-boxes", "edge-boxes"))
