"""Amounts of work add up, and so do their seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.plan.work import Work
from tests.support.plans import RATES


@given(first=st.floats(0, 1e9), second=st.floats(0, 1e9), times=st.floats(0, 100))
def test_work_adds_up(first: float, second: float, times: float) -> None:
    one, other = (
        Work.of(3.0, macs=first, read=second),
        Work.of(1.0, read=first, start=1) + Work.product(second, "float32"),
    )
    both = (one + other) * times
    assert both.written == pytest.approx(4.0 * times)
    assert both.macs == pytest.approx(times * (first + second))
    apart = sum(one.seconds(RATES).values()) + sum(other.seconds(RATES).values())
    assert sum(both.seconds(RATES).values()) == pytest.approx(times * apart)
