"""Test views: counts as in the oracle, places as in the paper, each window inside its image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppnet.classification.views import (
    NAMED_VIEWS,
    POSITIONS,
    VIEW_SCALES,
    ViewSet,
    in_proportion,
    named_views,
    view_corners,
)
from sppnet.errors import ConfigError
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size
from tests.support.oracles import read_oracle


def test_counts_are_the_oracles() -> None:
    rows = read_oracle("multi_view")
    assert len(rows) == 7
    for row in rows:
        width, height = row["image"]
        views = named_views("maps96").views(Size(width, height))
        counts = {scale: sum(view.scale == scale for view in views) for scale in VIEW_SCALES}
        assert {str(scale): count for scale, count in counts.items()} == row["views_per_scale"]
        assert len(set(views)) == len(views) == row["total"]
        assert len(named_views("maps98").views(Size(width, height))) == row["total"] + 2


@pytest.mark.parametrize(
    ("name", "count", "on_map"), [("crop", 1, False), ("full", 1, True), ("crops10", 10, False), ("maps10", 10, True)]
)
def test_single_scale_sets(name: str, count: int, on_map: bool) -> None:
    views = named_views(name).views(Size(500, 375))
    assert len(views) == count
    assert {view.scale for view in views} == {256}
    assert {view.on_map for view in views} == {on_map}
    assert sum(view.flip for view in views) == (count // 2)


def test_ten_views_are_centre_and_corners_of_the_entire_image() -> None:
    views = named_views("maps10").views(Size(300, 200))  # 256 x 384 when resized
    assert [view.corner for view in views if not view.flip] == [(80, 16), (0, 0), (160, 0), (0, 32), (160, 32)]
    assert [view.corner for view in views if view.flip] == [view.corner for view in views if not view.flip]


def test_the_full_views_are_whole_images_at_the_single_scale() -> None:
    *_, plain, mirrored = named_views("maps98", scale=300).views(Size(500, 375))
    assert (plain.corner, plain.scale, plain.flip) == (None, 300, False)
    assert (mirrored.corner, mirrored.scale, mirrored.flip) == (None, 300, True)
    assert named_views("maps98").full == (256,)


def test_sizes_go_in_proportion_to_the_papers() -> None:
    assert in_proportion(256, 224) == 256
    assert named_views("maps96", size=112).scales == (112, 128, 150, 180, 224, 280)
    assert named_views("crop", size=56).scales == (64,)
    assert named_views("full", size=64).full == (73,)
    assert named_views("maps98", 96, scale=100, scales=[96, 120]) == ViewSet((96, 120), 9, 96, flip=True, full=(100,))
    for name in NAMED_VIEWS:
        views = named_views(name, size=64).views(Size(130, 100))
        assert len(views) == {"crop": 1, "full": 1, "crops10": 10, "maps10": 10, "maps96": 96, "maps98": 98}[name]


def test_positions_of_a_landscape_and_a_portrait() -> None:
    assert view_corners(Size(160, 100), 60, 3) == ((50, 20), (0, 20), (100, 20))
    assert view_corners(Size(100, 160), 60, 3) == ((20, 50), (20, 0), (20, 100))
    assert view_corners(Size(100, 100), 100, 9) == ((0, 0),)
    assert view_corners(Size(101, 100), 100, 9) == ((0, 0), (1, 0))  # half a pixel is rounded down
    assert view_corners(Size(160, 100), 60, 0) == ()


@given(
    st.integers(1, 90), st.integers(0, 60), st.integers(0, 60), st.sampled_from([count for count in POSITIONS if count])
)
def test_windows_lie_inside_and_are_distinct(size: int, more_rows: int, more_columns: int, positions: int) -> None:
    height, width = size + more_rows, size + more_columns
    corners = view_corners(Size(width, height), size, positions)
    assert len(set(corners)) == len(corners) <= positions
    for x, y in corners:
        assert 0 <= x <= width - size
        assert 0 <= y <= height - size
    if min(more_rows, more_columns) >= 2:
        assert len(corners) == positions


@given(st.integers(16, 600), st.integers(16, 600), st.sampled_from(NAMED_VIEWS), st.booleans())
def test_views_fit_their_resized_image(height: int, width: int, name: str, flip: bool) -> None:
    chosen = named_views(name)
    views = ViewSet(chosen.scales, chosen.positions, chosen.size, flip, chosen.full, chosen.maps).views(
        Size(width, height)
    )
    assert {view.scale for view in views} == set(chosen.all_scales)
    for view in views:
        columns, rows = resized_size(Size(width, height), view.scale)
        x, y = view.corner or (0, 0)
        assert x + view.size <= columns
        assert y + view.size <= rows
    if flip:
        assert sum(view.flip for view in views) * 2 == len(views)


def test_what_needs_maps_of_any_size() -> None:
    assert [name for name in NAMED_VIEWS if not named_views(name).needs_maps] == ["crop", "crops10"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (ViewSet, "a view set without views"),
        (lambda: ViewSet((256,), 0), "a view set without views"),
        (lambda: ViewSet((256,), 4), "positions: must be one of 0, 1, 3, 5, 9, not 4"),
        (lambda: ViewSet((256, 180)), "size: a view of 224 pixels does not fit into an image of scale 180"),
        (lambda: ViewSet((256,), 1, 0), "must be at least 1 pixel"),
        (lambda: ViewSet(full=(0,)), "must be at least 1 pixel"),
        (lambda: named_views("maps96", scales=(200,)), "a view of 224 pixels does not fit into an image of scale 200"),
        (lambda: named_views("maps12"), "no view set 'maps12'; there are: crop, full"),
        (lambda: view_corners(Size(300, 100), 101, 1), "a view of 101 pixels does not fit into an image of 300 x 100"),
    ],
)
def test_views_that_can_not_be(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
