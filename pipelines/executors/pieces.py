"""Pieces of work that are no units: a function of plain values, run for each on threads or as tasks of a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar

from pipelines.executors.ray_work import import_ray
from sppnet.errors import IncompleteError, SppError

P = TypeVar("P")
R = TypeVar("R")

_THREADS = 2 * (os.cpu_count() or 1)
_AHEAD = 2
_PIECE_SECONDS = 1800.0
_TRIES = 3


def on_threads(function: Callable[[P], R], pieces: Iterable[P]) -> Iterator[R]:
    """Run a function for each piece on threads of this process, which read and hash side by side.

    Args:
        function: Of one piece.
        pieces: Taken as threads become free.

    Yields:
        What it returns, as it comes.
    """
    waiting = iter(pieces)
    with ThreadPoolExecutor(_THREADS) as pool:
        at_work: set[Future[R]] = {pool.submit(function, piece) for piece in islice(waiting, _THREADS)}
        while at_work:
            done, at_work = wait(at_work, return_when=FIRST_COMPLETED)
            at_work |= {pool.submit(function, piece) for piece in islice(waiting, len(done))}
            for one in done:
                yield one.result()


def on_ray(function: Callable[[P], R], pieces: Iterable[P], cpus: float) -> Iterator[R]:
    """Run a function for each piece as tasks of the cluster that this process is connected to, see `RayExecutor`.

    Args:
        function: Of a module, by whose name the workers find it.
        pieces: Taken as workers become free.
        cpus: That the cluster has, one for each task.

    Yields:
        What it returns, as it comes.

    Raises:
        IncompleteError: A piece was lost several times, failed, or took too long.
    """
    ray = import_ray()
    remote = ray.remote(num_cpus=1, max_retries=_TRIES, scheduling_strategy="SPREAD")(function)
    waiting, room = iter(pieces), max(1, int(_AHEAD * cpus))
    at_work = [remote.remote(piece) for piece in islice(waiting, room)]
    while at_work:
        done, at_work = ray.wait(at_work, num_returns=1, timeout=_PIECE_SECONDS)
        if not done:
            raise IncompleteError(f"no worker has answered for {_PIECE_SECONDS:g} s; look at the cluster and run again")
        at_work += [remote.remote(piece) for piece in islice(waiting, len(done))]
        for one in done:
            yield _result(ray, one)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, SppError):
            raise error.cause from error
        raise IncompleteError(f"a worker failed: {str(error.cause).strip().splitlines()[-1:]}") from error
    except ray.exceptions.RayError as error:
        raise IncompleteError(f"a worker was lost: {type(error).__name__}; run again") from error
