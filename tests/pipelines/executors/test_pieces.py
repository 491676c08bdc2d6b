"""Functions of plain values on threads; on Ray they are tried by `test_ray_core.py`, which has one."""

from __future__ import annotations

import threading

import pytest

from pipelines.executors import pieces
from sppnet.errors import ArtifactError
from tests.support.waiting import PATIENCE


def test_every_piece_is_done_once() -> None:
    assert sorted(pieces.on_threads(lambda number: number * number, range(50))) == [n * n for n in range(50)]
    assert list(pieces.on_threads(str, [])) == []


def test_pieces_are_taken_as_threads_become_free() -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = pieces.on_threads(lambda number: number, endless())
    assert len({next(results) for _ in range(20)}) == 20
    assert taken <= 20 + 2 * pieces._THREADS
    results.close()


def test_they_run_side_by_side() -> None:
    barrier = threading.Barrier(2)
    assert sorted(pieces.on_threads(lambda number: (barrier.wait(PATIENCE), number)[1], [1, 2])) == [1, 2]


def test_what_a_piece_raises_comes_out() -> None:
    def fail(number: int) -> int:
        raise ArtifactError(f"{number} is not there")

    with pytest.raises(ArtifactError, match=r"^7 is not there$"):
        list(pieces.on_threads(fail, [7]))
