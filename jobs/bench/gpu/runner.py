"""The parts of `bench gpu`: each in a time of its own, guarded, in one report."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from jobs.bench.gpu.inputs import Row, Setup, setup_for
from jobs.bench.timing import device_name, pick_device
from sppnet.errors import ConfigError, SppError

PARTS: Mapping[str, tuple[str, float]] = {
    "checks": ("jobs.bench.gpu.runner:run_checks", 0.12),
    "classes": ("jobs.bench.gpu.classifying:run", 0.05),
    "pooling": ("jobs.bench.gpu.pooling:run", 0.12),
    "features": ("jobs.bench.gpu.features:run", 0.15),
    "maps": ("jobs.bench.gpu.making_maps:run", 0.15),
    "end-to-end": ("jobs.bench.gpu.end_to_end:run", 0.26),
}
"""Every part: its function, from a setup to rows, and its share of the time; what is left goes into starts."""

_START_SECONDS = 90.0
"""What a part's process may take beyond its own time: imports, compilers, the head's factors."""


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        machine: where.
        parts: by name, `rows` or `error`, and `seconds`.
    """

    machine: Row
    parts: dict[str, Row]

    @property
    def failures(self) -> list[str]:
        """Return a line for each part that broke and each check that failed."""
        broken = [
            f"{name}: {part['error'].strip().splitlines()[-1]}" for name, part in self.parts.items() if "error" in part
        ]
        failed = [f"{row['name']}: {row['failed']}" for row in self.rows if row.get("failed")]
        return broken + failed

    @property
    def rows(self) -> list[Row]:
        """Return the rows of all parts, each with its part's name."""
        return [{"part": name, **row} for name, part in self.parts.items() for row in part.get("rows", [])]

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        found = {"machine": self.machine, "parts": self.parts, "failures": self.failures}
        path.write_text(json.dumps(found, indent=1, default=str) + "\n")


def run(
    *,
    minutes: float = 8.0,
    device: str | torch.device | None = None,
    jpegs: str | None = None,
    out: str = "bench-gpu.json",
) -> list[Row]:
    """Run all parts and write the report.

    Args:
        minutes: that they may take together, about.
        device: default: the GPU if there is one, else the CPU, where the sizes are small: a rehearsal.
        jpegs: folder of JPEGs; default: drawn ones.
        out: file of the report.

    Returns:
        The rows of all parts.

    Raises:
        SppError: a check failed or a part broke; the report is written then too.
    """
    report = make_report(minutes, pick_device(device), Path(jpegs) if jpegs else None, Path(out))
    if report.failures:
        raise SppError(f"bench gpu: {len(report.failures)} failed, see {out}: {'; '.join(report.failures)}")
    return report.rows


def make_report(
    minutes: float,
    device: torch.device,
    jpegs: Path | None = None,
    out: Path | None = None,
    parts: Sequence[str] = tuple(PARTS),
) -> Report:
    """Run parts one after the other; on a GPU each in a process of its own, as one may take the device down with it.

    The report is written to `out` after each of them.
    """
    if not minutes > 0:
        raise ConfigError(f"minutes: must be positive, not {minutes}")
    report = Report(machine(device), {})
    for name in parts:
        seconds = 60 * minutes * PARTS[name][1]
        start = time.perf_counter()
        part = (
            _isolated(name, seconds, device, jpegs) if device.type == "cuda" else run_part(name, seconds, device, jpegs)
        )
        report.parts[name] = {"seconds": time.perf_counter() - start, **part}
        print_part(name, report.parts[name])
        if out is not None:
            report.write(out)
    return report


def run_part(name: str, seconds: float, device: torch.device, jpegs: Path | None) -> Row:
    """Run one part in this process: its `rows`, or the `error` that ended it."""
    try:
        module, function = PARTS[name][0].split(":")
        measure: Callable[[Setup], list[Row]] = getattr(import_module(module), function)
        return {"rows": measure(setup_for(device, seconds, jpegs))}
    except Exception:  # noqa: BLE001  # whatever breaks a part, the others still run
        return {"error": traceback.format_exc()}


def run_checks(setup: Setup) -> list[Row]:
    """Run every check; a row tells its seconds and, where it failed, why."""
    from jobs.bench.gpu.checks import CHECKS

    rows = []
    for name, check in CHECKS.items():
        start = time.perf_counter()
        failed = ""
        try:
            check(setup)
        except AssertionError as error:
            failed = str(error) or "failed"
        except Exception as error:  # noqa: BLE001  # a check that breaks has failed; the others still run
            failed = f"{type(error).__name__}: {error}"
        rows.append({"name": name, "seconds": time.perf_counter() - start, "failed": failed})
    return rows


def _isolated(name: str, seconds: float, device: torch.device, jpegs: Path | None) -> Row:
    """Run one part in a process of its own, with a deadline."""
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "part.json"
        command = [sys.executable, "-m", "jobs.bench.gpu", "--part", name, "--seconds", str(seconds)]
        command += ["--device", str(device), "--out", str(target)]
        command += ["--jpegs", str(jpegs)] if jpegs else []
        try:
            ended = subprocess.run(command, env=environment, timeout=2 * seconds + _START_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {2 * seconds + _START_SECONDS:.0f} s"}
        if not target.is_file():
            return {"error": f"its process ended with {ended.returncode} and left nothing"}
        found: Row = json.loads(target.read_text())
        return found


def machine(device: torch.device) -> Row:
    """Return what the figures depend on."""
    found: dict[str, Any] = {
        "device": device_name(device),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
    }
    for name in ("torch", "torchvision", "triton", "numpy", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def print_part(name: str, part: Row) -> None:
    """Print a part's rows: a line a case."""
    print(f"== {name}, {part['seconds']:.1f} s", flush=True)  # noqa: T201
    if "error" in part:
        print(part["error"], flush=True)  # noqa: T201
    for row in part.get("rows", []):
        values = ", ".join(f"{key} {_short(value)}" for key, value in row.items() if key != "name")
        print(f"{row['name']}: {values}", flush=True)  # noqa: T201


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
