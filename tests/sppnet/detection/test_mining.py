"""Hard negatives: order, limits, overlap, and samples that depend on names alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.boxes import nms
from sppnet.detection.mining import (
    HardNegatives,
    evict,
    first_responses,
    hard_negatives,
    initial_negatives,
    name_fraction,
    sampled_fraction,
)
from sppnet.errors import ConfigError, DataError
from sppnet.pooling.geometry import GEOMETRIES, Convention, windows_to_cells
from sppnet.pooling.scales import choose_scales, scale_windows
from sppnet.seeds import derive_seed
from sppnet.sizes import Size


def test_initial_negatives_are_distinct_sorted_and_seeded() -> None:
    rng = np.random.default_rng(derive_seed(1, "mine", "000001"))
    drawn = initial_negatives(100, 10, rng)
    assert len(set(drawn.tolist())) == 10
    assert drawn.tolist() == sorted(drawn.tolist())
    again = initial_negatives(100, 10, np.random.default_rng(derive_seed(1, "mine", "000001")))
    assert drawn.tolist() == again.tolist()
    other = initial_negatives(100, 10, np.random.default_rng(derive_seed(1, "mine", "000002")))
    assert drawn.tolist() != other.tolist()


def test_initial_negatives_of_a_small_image_are_all() -> None:
    rng = np.random.default_rng(0)
    assert initial_negatives(3, 10, rng).tolist() == [0, 1, 2]
    assert initial_negatives(3, None, rng).tolist() == [0, 1, 2]
    assert initial_negatives(0, 10, rng).tolist() == []
    with pytest.raises(ConfigError, match="negative"):
        initial_negatives(3, -1, rng)


def listed(found: HardNegatives) -> list[tuple[int, int, float]]:
    return list(zip(found.categories.tolist(), found.windows.tolist(), found.scores.tolist(), strict=True))


def test_hard_negatives_by_category_and_falling_score_with_ties_by_index() -> None:
    scores = np.array([[0.5, -1.0], [2.0, -0.9], [0.5, -3.0], [9.0, -0.9]], np.float32)
    mask = np.array([[1, 1], [1, 1], [1, 1], [0, 1]], bool)
    got = listed(hard_negatives(scores, mask))
    ninth = float(np.float32(-0.9))
    assert got == [(0, 1, 2.0), (0, 0, 0.5), (0, 2, 0.5), (1, 1, ninth), (1, 3, ninth)]  # -1.0 is not above -1
    assert listed(hard_negatives(scores, mask, limit=1)) == [got[0], got[3]]
    assert listed(hard_negatives(scores, mask, threshold=1.0)) == [(0, 1, 2.0)]
    assert listed(hard_negatives(scores, mask, limit=0)) == []
    assert [part.dtype.name for part in hard_negatives(scores, mask)] == ["int64", "int64", "float32"]


boxes_and_scores = st.integers(0, 2**32 - 1), st.integers(0, 14), st.integers(1, 4)


@given(*boxes_and_scores, st.one_of(st.none(), st.integers(1, 4)), st.sampled_from([None, 0.0, 0.3, 0.7, 1.0]))
def test_hard_negatives_are_a_sorted_filter_and_nms_a_category(
    seed: int, n: int, k: int, limit: int | None, overlap: float | None
) -> None:
    rng = np.random.default_rng(seed)
    scores, mask = (rng.integers(-3, 3, (n, k)) / 2).astype(np.float32), rng.random((n, k)) < 0.7
    corners = rng.integers(0, 4, (n, 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 4, (n, 2))], axis=1)  # some are empty
    expected = []
    for c in range(k):
        rows = np.flatnonzero(mask[:, c] & (scores[:, c] > -1.0))
        order = np.argsort(-scores[rows, c], kind="stable")
        if overlap is not None:
            order = nms(boxes[rows], scores[rows, c], overlap)
        expected += [(c, int(i), float(scores[i, c])) for i in rows[order][:limit]]
    assert listed(hard_negatives(scores, mask, limit=limit, boxes=boxes, max_overlap=overlap)) == expected


def test_names_give_uniform_numbers_that_depend_on_nothing_else() -> None:
    found = np.array([name_fraction(3, f"{i // 50:06d}", i % 50) for i in range(4000)])
    assert (found >= 0).all()
    assert (found < 1).all()
    assert np.abs(np.histogram(found, 10, (0, 1))[0] - 400).max() < 100
    assert len(np.unique(found)) == 4000
    assert name_fraction(3, "000001", 7) == found[57] != name_fraction(4, "000001", 7)


@settings(max_examples=20)
@given(st.integers(1, 500), st.integers(1, 3000), st.integers(0, 5))
def test_a_sampled_fraction_leaves_the_lowest_of_all(limit: int, candidates: int, seed: int) -> None:
    found = np.sort([name_fraction(seed, "a", i) for i in range(candidates)])
    kept = found[found < sampled_fraction(limit, candidates)]
    assert len(kept) >= min(limit, candidates)
    assert len(kept) <= limit + 12 * np.sqrt(limit) + 6


def test_windows_with_the_same_response_and_scale_count_once() -> None:
    geometry = GEOMETRIES["zf5"]
    windows = np.array(
        [[0, 0, 200, 200], [1, 0, 200, 200], [0, 0, 300, 300], [40, 40, 240, 240], [0, 0, 200, 200], [-90, 0, 200, 200]]
    )
    first = first_responses(windows, Size(500, 375), (480, 688), geometry)
    cells = [
        windows_to_cells(scale_windows(w[None], Size(500, 375), 480), Size(40, 30), geometry)
        for w in windows[[0, 1, 5]]
    ]
    assert (cells[0] == cells[1]).all()
    assert (cells[0] == cells[2]).all()  # but only once clipped to the map
    assert first.tolist() == [True, False, True, True, False, True]
    assert first_responses(windows[:0], Size(500, 375), (480,), geometry).tolist() == []


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["paper", "released"]))
def test_first_responses_are_the_first_of_each_name(seed: int, convention: Convention) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 60, (40, 2))
    windows = np.concatenate([corners, corners + rng.integers(150, 300, (40, 2))], axis=1)
    size, scales, geometry = Size(500, 400), (480, 688, 864), GEOMETRIES["zf5"]
    chosen = choose_scales(windows, size, scales, convention)
    seen, expected = set(), []
    for window, number in zip(windows, chosen, strict=True):
        scaled = scale_windows(window[None], size, scales[number], convention)
        cells = windows_to_cells(
            scaled, Size(500, 500), geometry, convention
        )  # large enough to clip nothing on that side
        name = (int(number), *cells[0].tolist())
        expected.append(name not in seen)
        seen.add(name)
    found = first_responses(windows, size, scales, geometry, convention)
    inside = windows[:, :2].min(axis=1) >= 20  # a window at the border is clipped here, and told apart there
    assert found[inside].sum() >= np.array(expected)[inside].sum()
    assert (found | ~np.array(expected)).all()


def test_evict_leaves_the_margin() -> None:
    assert evict([-1.3, -1.2, -1.0, 2.0]).tolist() == [True, False, False, False]
    assert evict([-1.15, -1.05], threshold=-1.1).tolist() == [True, False]


def test_bad_scores() -> None:
    with pytest.raises(DataError, match="nan-scores"):
        hard_negatives([[np.nan]], [[True]])
    assert listed(hard_negatives([[np.nan, 1.0]], [[False, True]])) == [(1, 0, 1.0)]
    with pytest.raises(DataError, match="bad-scores"):
        hard_negatives([[1.0]], [[True, False]])
    with pytest.raises(ConfigError, match="max_overlap needs the windows' boxes"):
        hard_negatives([[1.0]], [[True]], max_overlap=0.7)
