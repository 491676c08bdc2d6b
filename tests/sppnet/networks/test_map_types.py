"""The types of maps: float10_e5m5 against the definition of rounding, over every float16."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.networks.map_types import to_map_type

EVERY = torch.arange(0x7C00, dtype=torch.int16).view(torch.float16)  # non-negative and finite


def test_float10_is_the_nearest_of_its_values() -> None:
    exponent, mantissa = np.divmod(np.arange(1024), 32)
    values = np.where(exponent == 0, mantissa / 32 * 2.0**-14, (1 + mantissa / 32) * 2.0 ** (exponent - 15.0))[
        : 31 * 32
    ]
    values = np.append(values, 2.0**16)  # the next one, which is beyond the range
    given = EVERY.double().numpy()
    above = np.searchsorted(values, given)
    below = np.maximum(above - 1, 0)
    to_upper, to_lower = values[above] - given, given - values[below]
    upper = (to_upper < to_lower) | ((to_upper == to_lower) & (above % 2 == 0))
    expected = np.where(upper, values[above], values[below])
    expected[expected == 2.0**16] = np.inf
    found = to_map_type(EVERY, "float10_e5m5")
    assert found.dtype == torch.float16
    np.testing.assert_array_equal(found.double().numpy(), expected)


def test_rounding_keeps_the_order_and_what_was_rounded() -> None:
    found = to_map_type(EVERY, "float10_e5m5")
    assert bool((found[1:] >= found[:-1]).all())
    assert torch.equal(to_map_type(found, "float10_e5m5"), found)
    low = found.view(torch.int16) & 0x1F
    assert not low.any()


def test_what_is_not_finite_stays_so() -> None:
    bits = torch.arange(0x7C00, 0x7FFF + 1, dtype=torch.int32).to(torch.int16)
    assert not bool(to_map_type(bits.view(torch.float16), "float10_e5m5").isfinite().any())
    assert to_map_type(torch.tensor([65400.0, 1e9]), "float10_e5m5").isinf().all()


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_the_others_are_conversions(kind: str) -> None:
    values = torch.rand(3, 4, 5, dtype=torch.float64)
    assert torch.equal(to_map_type(values, kind), values.to(getattr(torch, kind)))


def test_what_is_given_is_not_changed() -> None:
    values = torch.tensor([1.03, 2.9]).half()
    to_map_type(values, "float10_e5m5")
    assert torch.equal(values, torch.tensor([1.03, 2.9]).half())
