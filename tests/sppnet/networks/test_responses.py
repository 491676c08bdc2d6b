"""Receptive fields against the pixels that a cell's gradient reaches, and the strongest cells against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sppnet.boxes import clip_boxes
from sppnet.errors import ConfigError
from sppnet.networks.receptive_fields import trace_geometry
from sppnet.networks.responses import receptive_field_boxes, strongest_cells
from sppnet.pooling.geometry import GEOMETRIES
from sppnet.pooling.scales import scale_windows
from sppnet.sizes import Size


@pytest.fixture(scope="module")
def trunk() -> nn.Sequential:
    layers = nn.Sequential(nn.Conv2d(3, 4, 5, 2, 1), nn.ReLU(), nn.AvgPool2d(3, 2), nn.Conv2d(4, 4, 3, 1, 1))
    for parameter in layers.parameters():
        nn.init.constant_(parameter, 0.5)
    return layers


@pytest.mark.parametrize("cell", [(0, 0), (3, 2), (8, 1), (11, 8)])
def test_a_box_holds_exactly_the_pixels_that_reach_the_cell(trunk: nn.Sequential, cell: tuple[int, int]):
    image = torch.rand(1, 3, 40, 52, requires_grad=True)
    trunk(image)[0, :, cell[1], cell[0]].sum().backward()
    rows, columns = (torch.nonzero(image.grad[0].abs().sum(dim=(0, axis))).flatten() for axis in (2, 1))
    box = receptive_field_boxes([cell], trace_geometry(trunk), Size(52, 40), 40)
    reached = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_array_equal(clip_boxes(box, Size(52, 40))[0], [int(edge) for edge in reached])


def test_zf5s_fields_at_the_rim_and_at_a_scale():
    """Receptive field 139, stride 16, padding 55; an image of 500 x 344 at scale 688 is twice as large."""
    found = receptive_field_boxes([(0, 0), (10, 4)], GEOMETRIES["zf5"], Size(500, 344), 688)
    np.testing.assert_array_equal(found, [[-27.5, -27.5, 42.0, 42.0], [52.5, 4.5, 122.0, 74.0]])


@given(
    cell=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    wh=st.tuples(st.integers(20, 900), st.integers(20, 900)),
    scale=st.integers(100, 1200),
    net=st.sampled_from(sorted(GEOMETRIES)),
)
def test_scaled_back_a_field_has_the_networks_size_and_place(cell, wh, scale, net):
    geometry = GEOMETRIES[net]
    (box,) = scale_windows(receptive_field_boxes([cell], geometry, Size(*wh), scale), Size(*wh), scale)
    np.testing.assert_allclose(box[2:] - box[:2], geometry.receptive_field)
    np.testing.assert_allclose(box[:2], np.array(cell) * geometry.stride - geometry.padding, atol=1e-6)


@given(seed=st.integers(0, 10**6), shape=st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 5)))
def test_the_strongest_cells_are_a_plain_loops(seed, shape):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 9, shape).astype(np.float16)  # few values: equals are common
    filters = rng.permutation(shape[2])
    responses, cells = strongest_cells(values, filters)
    for number, response, (cx, cy) in zip(filters, responses, cells, strict=True):
        channel = values[:, :, number]
        assert response == channel.max() == channel[cy, cx]
        assert not (channel.ravel()[: cy * shape[1] + cx] == response).any()  # the first of equals


def test_what_is_refused():
    values = np.zeros((2, 3, 4), np.float32)
    for number in (-1, 4):
        with pytest.raises(ConfigError, match=rf"filters: {number} is not among the map's 4 filters, 0 to 3"):
            strongest_cells(values, [0, number])
    with pytest.raises(ValueError, match="0 x 3 cells"):
        strongest_cells(values[:0], [0])
    with pytest.raises(ValueError, match="cells must have shape"):
        receptive_field_boxes([0, 1], GEOMETRIES["zf5"], Size(10, 10), 10)
    with pytest.raises(ValueError, match="can't be resized"):
        receptive_field_boxes([(0, 1)], GEOMETRIES["zf5"], Size(10, 0), 10)
