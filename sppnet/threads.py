"""Threads: Python's own for compiled kernels, which release the GIL, and how many torch uses.

Unlike numba's, Python's may be entered from several threads at once, and a fork does not break them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


class _Threads:
    """This process's threads, started when first needed."""

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None

    def get(self) -> ThreadPoolExecutor:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="sppnet-kernel")
        return self.pool

    def forget(self) -> None:
        self.pool = None


_threads = _Threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.forget)  # a forked child has the object without its threads


def run_split(work: Callable[[int, int], None], bounds: Sequence[int]) -> None:
    """Do work in parts, the first in this thread and each of the others in one of its own, and wait for all.

    Args:
        work: takes the begin and the end of a part.
        bounds: of the parts, rising, two at least.
    """
    others = [_threads.get().submit(work, *pair) for pair in itertools.pairwise(bounds[1:])]
    work(bounds[0], bounds[1])
    for other in others:
        other.result()


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Have torch use one thread on CPUs: what it computes then doesn't depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
