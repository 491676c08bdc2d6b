"""The confusion matrix as a heat map: shares of each row, names, and a size that stays small."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from jobs.report.plots.heat import NAMES_UP_TO, heat_map, row_shares
from tests.support.reported import CLASS_CONFUSION, CLASS_LABELS


def pixels(svg: str) -> np.ndarray:
    data = re.search(r'href="data:image/png;base64,([^"]+)"', svg)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_heat_map_shows_each_rows_shares():
    np.testing.assert_allclose(row_shares(CLASS_CONFUSION, 3), [[0.8, 0.2, 0], [0.1, 0.6, 0.3], [0, 0, 0]])
    svg = heat_map(CLASS_LABELS, CLASS_CONFUSION, 'a "map"')
    image = pixels(svg)
    assert image.shape == (3, 3, 4)
    assert image[0, 0, 3] > image[1, 1, 3] > image[1, 2, 3] > image[0, 1, 3] > image[1, 0, 3] > image[0, 2, 3] == 0
    assert tuple(image[0, 0, :3]) != tuple(image[0, 1, :3]) == tuple(image[1, 2, :3])
    assert re.findall(r'class="number">(\d+)<', svg) == ["80", "20", "10", "60", "30"]
    assert svg.count("&lt;i&gt;gas&lt;/i&gt; pump") == 2
    assert 'aria-label="a &#34;map&#34;"' in svg


@pytest.mark.parametrize("n", [1, 102, NAMES_UP_TO, 1000])
def test_heat_maps_of_many_classes_stay_small(n: int):
    counts = np.diag(np.full(n, 40)) + np.random.default_rng(0).poisson(0.1, (n, n))
    entries = [(int(i), int(j), int(counts[i, j])) for i, j in np.argwhere(counts)]
    svg = heat_map([f"a class called {i:04d}" for i in range(n)], entries, "many")
    assert len(svg) < 400_000
    assert pixels(svg).shape == (n, n, 4)
    assert svg.count("a class called 0000") == (2 if n <= NAMES_UP_TO else 0)
    assert int(re.search(r'width="(\d+)"', svg)[1]) <= 1300
