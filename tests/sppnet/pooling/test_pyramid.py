from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from sppnet.errors import ConfigError
from sppnet.pooling.pyramid import Pyramid, bin_edges, check_levels, make_pyramid, parse_levels, pool_full_maps
from sppnet.sizes import Size
from tests.support.oracles import read_oracle


def test_bin_edges_equal_every_vector() -> None:
    rows = read_oracle("bins")
    assert rows
    assert [row for row in rows if bin_edges(row["length"], row["n"]).tolist() != row["bins"]] == []


@given(st.integers(1, 3000), st.integers(1, 12))
def test_bins_cover_the_axis_without_gaps_and_are_never_empty(length: int, n: int) -> None:
    edges = bin_edges(length, n)
    assert edges[0, 0] == 0
    assert edges[-1, 1] == length
    assert (edges[:, 0] < edges[:, 1]).all()
    assert (edges[1:, 0] <= edges[:-1, 1]).all()


@given(st.integers(1, 500), st.integers(1, 6), st.integers(1, 6))
def test_bins_of_a_dividing_level_are_unions(length: int, n: int, factor: int) -> None:
    fine, coarse = bin_edges(length, n * factor), bin_edges(length, n)
    assert coarse[:, 0].tolist() == fine[::factor, 0].tolist()
    assert coarse[:, 1].tolist() == fine[factor - 1 :: factor, 1].tolist()


def test_paper_training_window_rule_on_13_cells() -> None:
    assert bin_edges(13, 6).tolist() == [[0, 3], [2, 5], [4, 7], [6, 9], [8, 11], [10, 13]]
    assert bin_edges(10, 6).tolist() == [[0, 2], [1, 4], [3, 5], [5, 7], [6, 9], [8, 10]]


def test_layout_and_plan() -> None:
    pyramid = Pyramid()
    assert pyramid.levels == (6, 3, 2, 1)
    assert pyramid.bins == 50
    assert pyramid.slices == {6: slice(0, 36), 3: slice(36, 45), 2: slice(45, 49), 1: slice(49, 50)}
    assert [(step.level, step.source) for step in pyramid.plan()] == [(6, None), (3, 6), (2, 6), (1, 2)]
    assert [(step.level, step.source) for step in Pyramid((4, 3, 2, 1)).plan()] == [
        (4, None),
        (3, None),
        (2, 4),
        (1, 2),
    ]
    assert Pyramid((1, 2, 3, 6)).slices[6] == slice(14, 50)
    assert Pyramid([3, 1]).levels == (3, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("levels", [(), (0,), (6, 6), (2.0,), (True,)])
def test_bad_levels(levels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="pyramid levels"):
        Pyramid(levels)


@given(
    st.integers(1, 20), st.integers(1, 20),
    st.sampled_from([(6, 3, 2, 1), (1, 2, 3, 6), (4, 3, 2, 1), (1,), (5, 7)]), st.integers(0, 9),
)  # fmt: skip
def test_full_maps_equal_the_maximum_of_each_bin(h: int, w: int, levels: tuple[int, ...], seed: int) -> None:
    maps = torch.randn(2, 3, h, w, generator=torch.Generator().manual_seed(seed))
    pooled = pool_full_maps(maps, Pyramid(levels))
    expected = [
        maps[:, :, y0:y1, x0:x1].amax(dim=(2, 3))
        for n in levels
        for y0, y1 in bin_edges(h, n).tolist()
        for x0, x1 in bin_edges(w, n).tolist()
    ]
    assert torch.equal(pooled, torch.stack(expected, dim=1))


def test_gradient_equals_that_of_pooling_each_level() -> None:
    maps = torch.randperm(2 * 3 * 13 * 10).reshape(2, 3, 13, 10).double().requires_grad_()
    weights = torch.rand(2, 50, 3, dtype=torch.float64)
    (ours,) = torch.autograd.grad((pool_full_maps(maps, Pyramid()) * weights).sum(), maps)
    levels = [functional.adaptive_max_pool2d(maps, n).flatten(2) for n in (6, 3, 2, 1)]
    (each,) = torch.autograd.grad((torch.cat(levels, 2).transpose(1, 2) * weights).sum(), maps)
    torch.testing.assert_close(ours, each)


def test_levels_by_name_or_list() -> None:
    assert parse_levels("spp6") == parse_levels([6, 3, 2, 1]) == (6, 3, 2, 1)
    assert parse_levels("spp4") == (4, 3, 2, 1)
    assert parse_levels("none") == "none"
    for wrong, message in (("spp5", "'spp5' is unknown: a list of levels, spp6, spp4 or none"), ([2, 2], "distinct")):
        with pytest.raises(ConfigError, match=message):
            parse_levels(wrong)


@pytest.mark.parametrize(("cells", "kernel", "stride"), [(13, 3, 2), (18, 3, 3)])
def test_without_spp_it_is_the_last_pooling_of_the_paper(cells: int, kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, cells, cells)
    pyramid = make_pyramid("none", [Size.square(cells)])
    assert (pyramid.levels, pyramid.fixed_map) == ((6,), Size.square(cells))
    pooled = pool_full_maps(maps, pyramid).transpose(1, 2).reshape(2, 5, 6, 6)
    assert torch.equal(pooled, functional.max_pool2d(maps, kernel, stride))
    with pytest.raises(ConfigError, match=f"takes maps of {cells} x {cells} cells only, not {cells} x 10"):
        pool_full_maps(maps[:, :, :10], pyramid)


def test_without_spp_maps_have_one_size() -> None:
    assert make_pyramid("none", [Size.square(13), Size.square(13)]).fixed_map == Size.square(13)
    with pytest.raises(ConfigError, match="without SPP takes maps of one size, not of 10 x 10 and 13 x 13 cells"):
        make_pyramid("none", [Size.square(13), Size.square(10)])
    assert make_pyramid((6, 3, 2, 1), [Size.square(13), Size.square(10)]) == Pyramid()


def test_levels_finer_than_the_smallest_map_are_refused() -> None:
    check_levels(Pyramid(), Size(9, 6))
    with pytest.raises(ConfigError, match="levels: 6 x 6 bins are finer than a map of 5 x 9 cells"):
        check_levels(Pyramid((1, 2, 3, 6)), Size(5, 9))
    for levels in ((6, 1), "none"):
        with pytest.raises(ConfigError, match="finer than a map of 5 x 5 cells"):
            make_pyramid(levels, [Size.square(5)])


def test_errors() -> None:
    with pytest.raises(ValueError, match="divide 0 cells"):
        bin_edges(0, 3)
    with pytest.raises(ValueError, match=r"\[N, C, H, W\]"):
        pool_full_maps(torch.zeros(3, 4, 5), Pyramid())
    with pytest.raises(ValueError, match="at least one cell"):
        pool_full_maps(torch.zeros(1, 3, 0, 5), Pyramid())
