"""What a row says of the machine that it was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil
import torch

_CPU_INFO = Path("/proc/cpuinfo")


def cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_name() -> str:
    """Return the processor, how many CPUs, memory, and torch's version."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {cpus()} CPUs, {memory:.0f} GiB, torch {torch.__version__}"


def _processor() -> str:
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
