"""The endless order of samples: each once an epoch, from any place, near ones of many blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.artifacts.window_samples import Block
from pipelines.finetuning.order import SampleOrder


def blocks(rows: list[int]) -> list[Block]:
    return [Block(f"sample/{number}", number, count) for number, count in enumerate(rows)]


def names(order: SampleOrder, places: np.ndarray) -> list[tuple[str, int]]:
    """Block and row of each place."""
    found = []
    for number, row in zip(*(part.tolist() for part in order.locate(places)), strict=True):
        group = order.group(number)
        found.append((group.blocks[group.owners[row]].unit, int(group.rows[row])))
    return found


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 5), st.integers(0, 3))
def test_every_sample_comes_once_an_epoch(rows: list[int], group: int, epoch: int) -> None:
    order = SampleOrder(blocks(rows), group, seed=5)
    assert order.size == sum(rows)
    found = names(order, np.arange(epoch * order.size, (epoch + 1) * order.size))
    assert sorted(found) == [(block.unit, row) for block in blocks(rows) for row in range(block.rows)]


def test_epochs_and_seeds_differ_and_places_do_not() -> None:
    order = SampleOrder(blocks([40, 40, 40, 7]), 2, seed=5)
    first, second = (names(order, np.arange(start, start + 127)) for start in (0, 127))
    assert first != second
    assert names(order, np.array([3, 126, 130])) == [first[3], first[126], second[3]]
    assert names(SampleOrder(blocks([40, 40, 40, 7]), 2, seed=5), np.arange(127)) == first
    assert names(SampleOrder(blocks([40, 40, 40, 7]), 2, seed=6), np.arange(127)) != first


def test_a_groups_rows_are_shuffled_among_one_another() -> None:
    order = SampleOrder(blocks([50] * 8), 4, seed=1)
    found = names(order, np.arange(200))
    assert len({unit for unit, _ in found}) == 4
    assert len({unit for unit, _ in found[:20]}) == 4
    assert {order.locate(np.array([place]))[0][0] for place in (0, 199)} == {0}
    assert {order.locate(np.array([place]))[0][0] for place in (200, 399)} == {1}
