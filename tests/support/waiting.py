"""Waiting for what happens in other processes: found soon after it happens, however long a busy machine takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

from pipelines.engine.stage import StageSpec
from pipelines.engine.workspace import Workspace
from pipelines.training.checkpoints import Checkpoints

T = TypeVar("T")

PATIENCE = 480.0
"""Seconds after which an event is taken not to come; below the longest test's own limit.

A virtual machine whose host is busy has been seen to take four times as long for all it does, for half an hour.
"""


def wait_for(condition: Callable[[], T], check: Callable[[], None] | None = None, seconds: float = PATIENCE) -> T:
    """Waits until a condition is true and returns its value; `check` raises when it can't come true any more.

    What is dear to look at, as a listing in S3 or every process's title, is looked at a sixth of the time at most:
    who waits shares the cores with what is waited for.
    """
    end = time.monotonic() + seconds
    while True:
        looked = time.monotonic()
        if found := condition():
            return found
        if check:
            check()
        now = time.monotonic()
        assert now < end, f"waited {seconds:g} s in vain"
        time.sleep(min(max(0.01, 5 * (now - looked)), 0.25))


def wait_for_step(spec: StageSpec, step: int) -> None:
    """Waits until a training has a checkpoint of a step or a later one."""
    checkpoints = Checkpoints(Workspace.open(spec.workspace).artifact(spec.artifact))
    wait_for(lambda: any(done >= step for done in checkpoints.steps()))


def is_alive(pid: int) -> bool:
    """Tells whether a process runs; one that goes while it is looked at does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
