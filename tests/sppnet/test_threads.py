"""Python's own threads for compiled kernels."""

from __future__ import annotations

import threading

import pytest

from sppnet.threads import run_split


def test_every_part_is_done_once_the_first_in_this_thread() -> None:
    done: dict[tuple[int, int], str] = {}
    run_split(lambda begin, end: done.update({(begin, end): threading.current_thread().name}), [0, 3, 3, 10])
    assert sorted(done) == [(0, 3), (3, 3), (3, 10)]
    assert done[0, 3] == threading.current_thread().name
    assert all(done[part].startswith("sppnet-kernel") for part in ((3, 3), (3, 10)))


def test_one_part_starts_no_thread() -> None:
    names: list[str] = []
    run_split(lambda begin, end: names.append(threading.current_thread().name), [0, 5])
    assert names == [threading.current_thread().name]


def test_what_fails_in_another_thread_is_raised_here() -> None:
    def work(begin: int, end: int) -> None:
        if begin:
            raise ValueError(f"part {begin}")

    with pytest.raises(ValueError, match="part 2"):
        run_split(work, [0, 2, 4])
