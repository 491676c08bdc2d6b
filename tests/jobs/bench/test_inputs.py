"""Windows that benchmarks share: like selective search's, inside the image, decided by the seed."""

from __future__ import annotations

import numpy as np

from jobs.bench.inputs import IMAGE, proposal_windows


def test_windows_lie_inside_the_image_and_depend_on_the_seed_only() -> None:
    windows = proposal_windows(400, 1)
    assert (windows.shape, windows.dtype) == ((400, 4), np.float64)
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, 2:] <= IMAGE).all()
    assert (windows[:, 2:] - windows[:, :2] >= 1).all()
    np.testing.assert_array_equal(windows, proposal_windows(400, 1))
    assert not np.array_equal(windows, proposal_windows(400, 2))


def test_windows_come_in_families_and_in_many_sizes() -> None:
    windows = proposal_windows(2000, 0)
    areas = np.prod(windows[:, 2:] - windows[:, :2], axis=1)
    assert areas.max() / areas.min() > 100
    corners = {tuple(corner) for corner in np.round(windows[:, :2] / 25).tolist()}
    assert len(corners) < len(windows) / 4
