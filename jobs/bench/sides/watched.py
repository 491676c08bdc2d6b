"""A process that does one side of a benchmark, watched from outside: what it says it took, and its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import psutil

from sppnet.errors import IncompleteError

_LOOK_SECONDS = 0.5
_TOLD = 3  # last lines of a failed process


def run_watched(module: str, given: bytes, variables: Mapping[str, str]) -> dict[str, Any]:
    """Run a module in a process of its own.

    Args:
        module: Its name; the last line that it prints is a JSON object.
        given: Its standard input.
        variables: Of its environment, beside this process' own.

    Returns:
        The object, with `peak_mb`: the most memory that the process and all below it had at a look every half second,
        each shared page counted once.

    Raises:
        IncompleteError: The process failed.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as source:
        source.write(given)
        source.seek(0)
        environment = {**os.environ, **variables}
        command = [sys.executable, "-m", module]
        process = subprocess.Popen(command, stdin=source, stdout=said, stderr=errors, env=environment)
        try:
            peak = _peak(process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-_TOLD:]
            raise IncompleteError(f"{module} ended with code {process.returncode}: {' | '.join(last)}")
        said.seek(0)
        found: dict[str, Any] = json.loads(said.read().splitlines()[-1])
        return found | {"peak_mb": peak / 1e6}


def _peak(process: subprocess.Popen[bytes]) -> int:
    """Look at the process's memory until it ends; return the most in bytes."""
    peak, root = 0, psutil.Process(process.pid)
    while True:
        try:
            process.wait(_LOOK_SECONDS)
            return peak
        except subprocess.TimeoutExpired:
            peak = max(peak, tree_memory(root))


def tree_memory(root: psutil.Process) -> int:
    """Return the bytes in memory of a process and all below it; where the system tells, shared pages count once."""
    total = 0
    try:
        for process in (root, *root.children(recursive=True)):
            total += _memory(process)
    except psutil.NoSuchProcess:  # the root has ended
        return 0
    return total


def _memory(process: psutil.Process) -> int:
    try:
        found = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    return int(getattr(found, "pss", found.rss))
