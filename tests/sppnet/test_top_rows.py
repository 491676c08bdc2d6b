"""TopRows against sorting everything at once, in any order and cut of the parts, with ties of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppnet.top_rows import TopRows

# Few priorities, names and vectors, so that ties are the rule.
ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abé"), st.integers(0, 1), st.integers(0, 1)), max_size=60)


def add(top: TopRows, rows: list[tuple[int, str, int, int]], start: int) -> None:
    columns = {
        "names": np.array([row[1] for row in rows], dtype=object),
        "vectors": np.array([row[2:] for row in rows], np.float32).reshape(-1, 2),
        "numbers": np.arange(start, start + len(rows)),
    }
    top.add(columns, np.array([row[0] for row in rows], np.float32))


@given(ROWS, st.one_of(st.none(), st.integers(1, 70)), st.lists(st.integers(1, 25), max_size=6))
def test_it_is_sorting_everything(rows: list[tuple[int, str, int, int]], limit: int | None, sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sppnet.top_rows._LEAST_SPARE", 2)
        top, start = TopRows(limit, ("names", "vectors")), 0
        for size in [*sizes, len(rows)]:
            add(top, rows[start : start + size], start)
            start = min(start + size, len(rows))
        expected = sorted((-priority, *rest) for priority, *rest in rows)[:limit]
        assert len(top) == len(expected)
        if not expected:
            return
        chosen = top.column("numbers")[top.best_first()]
        assert [(-rows[number][0], *rows[number][1:]) for number in chosen] == expected
        assert top.column("priorities")[top.best_first()].tolist() == [-row[0] for row in expected]
        assert [rows[number][1] for number in chosen] == top.column("names")[top.best_first()].tolist()
        added = top.column("numbers")[top.as_added()].tolist()
        assert added == sorted(added)
        assert sorted(added) == sorted(chosen.tolist()) or len(set(rows)) < len(rows)  # twins may stand for each other


def test_memory_is_an_eighth_more_than_the_limit() -> None:
    top = TopRows(4000, ())
    for start in range(0, 20_000, 500):
        add(top, [(number, "a", 0, 0) for number in range(start, start + 500)], start)
        assert {len(values) for values in top._columns.values()} == {4500}
        assert len(top.column("names")) <= 4500
    assert top.column("numbers")[top.best_first()].tolist() == list(range(19_999, 15_999, -1))
    assert top.bar >= 20_000 - 4500


def test_a_limit_far_off_reserves_nothing() -> None:
    top = TopRows(10**12, ())
    for start in range(0, 2000, 500):
        add(top, [(1, "a", 0, 0)] * 500, start)
    assert len(top) == 2000
    assert max(len(values) for values in top._columns.values()) <= 3000


def test_nothing_was_added() -> None:
    top = TopRows(3, ())
    assert len(top) == len(top.best_first()) == 0
