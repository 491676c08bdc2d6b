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
        The object, with `peak_mb`, the most memory that the process and all below it had at a look every half second,
        and `cpu_s`, their CPU time from their start on; see `Watch`.

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
            watch = _until_the_end(process)
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
        return found | {"peak_mb": watch.peak / 1e6, "cpu_s": watch.cpu_s}


def _until_the_end(process: subprocess.Popen[bytes]) -> Watch:
    watch = Watch(psutil.Process(process.pid))
    while True:
        watch.look()
        try:
            process.wait(_LOOK_SECONDS)
            return watch
        except subprocess.TimeoutExpired:
            continue


class Watch:
    """Looks at a process and all below it.

    Args:
        root: The process.

    Attributes:
        peak: Most memory at any look, bytes: what each process has for itself, and the largest part that one shares
            with others (an object store, libraries). Asking for the exact part of each in what is shared takes a tenth
            of a CPU.
    """

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._cpu: dict[tuple[int, float], float] = {}
        self.peak = 0

    @property
    def cpu_s(self) -> float:
        """CPU time of all processes, as of the last look at each."""
        return sum(self._cpu.values())

    def look(self) -> None:
        """Look once; what has ended is passed over."""
        try:
            processes = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        found = [self._look_at(process) for process in processes]
        self.peak = max(self.peak, sum(own for own, _ in found) + max(shared for _, shared in found))

    def _look_at(self, process: psutil.Process) -> tuple[int, int]:
        try:
            memory, times = process.memory_info(), process.cpu_times()
            self._cpu[process.pid, process.create_time()] = times.user + times.system
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return 0, 0
        shared = getattr(memory, "shared", 0)  # Linux tells
        return memory.rss - shared, shared
