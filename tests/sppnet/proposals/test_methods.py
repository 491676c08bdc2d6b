"""Methods of proposing together: each gives what it gives alone, in the order in which they are named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sppnet import own_parts
from sppnet.errors import ConfigError, DataError
from sppnet.proposals.edge_boxes import edge_boxes
from sppnet.proposals.methods import Proposals, SelectiveSearchSettings
from sppnet.proposals.selective_search import selective_search
from tests.support.own_modules import PROPOSALS

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


def test_a_method_of_ones_own(own_module: Callable[..., str]) -> None:
    own_module(PROPOSALS)
    with pytest.raises(ConfigError, match="their_parts:corners names code"):
        Proposals(("their_parts:corners",))
    own_parts.allow("their_parts:corners")
    found = Proposals(("their_parts:corners", "edge-boxes"), 10, 30)(IMAGE, seed=3)
    assert list(found) == ["their_parts:corners", "edge-boxes"]
    assert found["their_parts:corners"].dtype == np.float32
    assert found["their_parts:corners"].tolist() == [[0, 0, 64, 48], [64, 48, 128, 96]]  # clipped, none below 10
    assert len(Proposals(("their_parts:corners",), 1, 1)(IMAGE, seed=3)["their_parts:corners"]) == 1
    with pytest.raises(ConfigError, match="methods: unknown 'corners', one of selective-search, edge-boxes, package"):
        Proposals(("corners",))


@pytest.mark.parametrize(
    ("returned", "error", "expected"),
    [
        ("[]", None, ""),
        ("None", ConfigError, r"gave a NoneType of object \[\], expected numbers \[n, 4\]"),
        ("[[1, 2, 3]]", ConfigError, r"gave a list of int64 \[1, 3\], expected numbers"),
        ("[[1, 2], [3]]", ConfigError, r"gave no boxes \[n, 4\]: ValueError"),
        ("[['a', 'b', 'c', 'd']]", ConfigError, "expected numbers"),
        ("[[0, 0, 9, float('nan')]]", ConfigError, "boxes that are not finite"),
        ("exec('raise MemoryError(9)')", MemoryError, "9"),  # no image's fault
        ("1 / 0", DataError, "own-proposals: their_parts:f raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_a_method_gives_is_checked(
    own_module: Callable[..., str], returned: str, error: type[Exception] | None, expected: str
) -> None:
    own_module(f"def f(image):\n    image[:] = 0\n    return {returned}\n")  # it has a copy of its own
    own_parts.allow("their_parts:f")
    proposals, image = Proposals(("their_parts:f",)), IMAGE.copy()
    if error is None:
        assert proposals(image, 0)["their_parts:f"].shape == (0, 4)
    else:
        with pytest.raises(error, match=expected):
            proposals(image, 0)
    assert np.array_equal(image, IMAGE)
