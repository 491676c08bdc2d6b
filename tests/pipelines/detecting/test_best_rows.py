"""TopExamples: whatever the order and the parts, the best rows with their own features stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.artifacts.examples import Examples, make_examples
from pipelines.detecting.best_rows import TopExamples


def make_part(numbers: list[int], stepped: bool) -> Examples:
    """Rows whose every column tells their number."""
    column = np.repeat(np.array(numbers, np.float32)[:, None], 4, axis=1)
    return Examples(
        category="car",
        keys=tuple(f"im{i // 7:04d}" for i in numbers),
        windows=np.array([i % 7 for i in numbers], np.int32),
        scores=column[:, 0],
        boxes=column,
        targets=column,
        features=column[:, :3].astype(np.uint8 if stepped else np.float16),
        steps=1 + column[:, 0] if stepped else None,
    )


def priorities_of(numbers: list[int]) -> np.ndarray:
    return (np.array(numbers) * 37 % 11).astype(np.float64)  # many are equal


def best(numbers: list[int], limit: int | None) -> list[int]:
    """The names of the best by falling priority, key and window."""
    return sorted(numbers, key=lambda i: (-(i * 37 % 11), i // 7, i % 7))[:limit]


@settings(max_examples=40)
@given(
    st.permutations(range(60)),
    st.one_of(st.none(), st.integers(1, 70)),
    st.lists(st.integers(1, 25), max_size=6),
    st.booleans(),
)
def test_order_and_parts_do_not_matter(numbers: list[int], limit: int | None, sizes: list[int], stepped: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sppnet.top_rows._LEAST_SPARE", 2)
        top, start = TopExamples("car", limit), 0
        for size in [*sizes, len(numbers)]:
            part = list(numbers[start : start + size])
            if part:
                top.add(make_part(part, stepped), priorities_of(part))
            start += size
        expected = best(list(numbers), limit)
        found = top.take()
        assert len(top) == len(expected)
        assert found.scores.tolist() == expected
        assert found.windows.tolist() == [i % 7 for i in expected]
        assert list(found.keys) == [f"im{i // 7:04d}" for i in expected]
        assert found.boxes[:, 2].tolist() == found.targets[:, 1].tolist() == expected
        features = np.zeros((len(expected), 3), np.float32)
        top.write_features(np.arange(len(expected)), features)
        assert features[:, 1].tolist() == [i * (i + 1) if stepped else i for i in expected]
        whole = top.take_whole()
        assert whole.features[:, 0].tolist() == [i for i in numbers if i in set(expected)]
        if stepped:
            assert whole.steps.tolist() == (1 + whole.scores).tolist()


def test_memory_is_an_eighth_more_than_the_limit() -> None:
    top = TopExamples("car", 4000)
    for start in range(0, 20_000, 500):
        numbers = list(range(start, start + 500))
        part = make_examples("car", "a", numbers, numbers, np.zeros((500, 4)), np.zeros((500, 8), np.float16))
        top.add(part, np.array(numbers, np.float64))
        assert all(len(values) == 4500 for values in top._rows._columns.values())
    assert top.take().windows.tolist() == list(range(19_999, 15_999, -1))


def test_nothing_was_added() -> None:
    top = TopExamples("car", 5)
    assert len(top) == len(top.take()) == len(top.take_whole()) == top.dimension == 0
    top.write_features(np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
