"""Strips of rows: whatever their height, the maps are those of whole activations, and little is held."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sppnet.networks import row_strips
from sppnet.networks.layer_plan import IMAGE, Step
from sppnet.networks.layer_windows import Window
from sppnet.networks.row_strips import RowLayer, Rows, run_steps


class Sum(RowLayer):
    """Sums of a column's cells, exact in float64: no layer of ours can hide an error of the rows that it is given."""

    def __init__(self, window: Window | None) -> None:
        self.window = window
        self.heights = list[int]()

    def __call__(self, inputs: Sequence[Rows]) -> torch.Tensor:
        (rows,) = inputs
        values = F.pad(rows.joined(), (0, 0, rows.top, rows.bottom))
        self.heights.append(values.shape[2])
        return values if self.window is None else sums(values, self.window.kernel, self.window.stride)


class Add(RowLayer):
    def __call__(self, inputs: Sequence[Rows]) -> torch.Tensor:
        one, other = (rows.joined() for rows in inputs)
        assert one.shape == other.shape
        return one + other


def sums(values: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    return values.unfold(2, kernel, stride).sum(-1)


def plain(values: torch.Tensor, window: Window) -> torch.Tensor:
    """Return the sums of a whole map; what lies beyond it is zero."""
    count = window.outputs(values.shape[2])
    below = (count - 1) * window.stride + window.kernel - values.shape[2] - window.padding
    return sums(F.pad(values, (0, 0, window.padding, max(below, 0))), window.kernel, window.stride)[:, :, :count]


windows = st.builds(
    lambda kernel, stride, padding, ceil: Window(kernel, stride, min(padding, kernel // 2), ceil),
    st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.booleans(),
)  # fmt: skip


@settings(max_examples=80)
@given(
    first=windows, second=windows, third=st.sampled_from([None, Window(3, 1, 1), Window(3, 2, 0, ceil=True)]),
    height=st.integers(30, 60), images=st.sampled_from([1, 1, 2]), strip=st.integers(8, 3000),
)  # fmt: skip
def test_strips_change_nothing(
    first: Window, second: Window, third: Window | None, height: int, images: int, strip: int
) -> None:
    image = torch.randint(0, 100, (images, 2, height, 3)).double()
    steps = [
        Step(Sum(first), (IMAGE,)),
        Step(Sum(second), (0,)),
        Step(Sum(Window(3, 1, 1)), (1,)),  # a branch that lags behind the one it is added to
        Step(Add(), (1, 2)),
        Step(Sum(third), (3,)),
    ]
    before, row_strips.STRIP_BYTES = row_strips.STRIP_BYTES, strip
    try:
        found, branch = run_steps(steps, image, (4, 1))
    finally:
        row_strips.STRIP_BYTES = before
    own = plain(plain(image, first), second)
    both = own + plain(own, Window(3, 1, 1))
    assert torch.equal(branch, own)
    assert torch.equal(found, both if third is None else plain(both, third))


def test_a_layer_is_given_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_strips, "STRIP_BYTES", 8 * 3 * 2 * 10)  # ten rows
    layer = Sum(Window(3, 1, 1))
    run_steps([Step(layer, (IMAGE,))], torch.ones(1, 2, 95, 3).double(), (0,))
    assert max(layer.heights) <= 12
    assert sum(layer.heights) - 2 * len(layer.heights) == 95


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (2, 2, 0), (7, 3, 3), (2, 3, 1)])
def test_outputs_are_torchs(kernel: int, stride: int, padding: int, ceil: bool) -> None:
    window = Window(kernel, stride, padding, ceil)
    for cells in range(8, 24):
        image = torch.zeros(1, 1, cells, 8)
        assert (
            window.outputs(cells)
            == F.max_pool2d(image, (kernel, 1), (stride, 1), (padding, 0), ceil_mode=ceil).shape[2]
        )
