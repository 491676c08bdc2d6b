"""What a node of a cluster finds out about itself, in a worker process: versions, GPUs, storage, settings."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import uuid
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jobs.doctor.check import Check, run_checks
from jobs.doctor.machine import memory, shared_memory, spill_disk
from pipelines.engine.executor import one_line
from pipelines.executors.ray_environment import KEEPALIVE_TIME, KEEPALIVE_TIMEOUT

SETTINGS = (
    "RAY_AUTH_MODE",
    KEEPALIVE_TIME,
    KEEPALIVE_TIMEOUT,
)
"""The environment variables of the process that `ray start` made, that matter to others."""
_RAYLET = "raylet"
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_STORAGE_SECONDS = 30.0
_GPU_SECONDS = 45.0
_NAME_GPUS = """
import json, torch
print(json.dumps([torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node's word about itself.

    Attributes:
        versions: Of Python and of the packages on both ends, by name.
        gpus: Names of the GPUs that torch sees where nothing hides them.
        settings: Those of `SETTINGS` that are set.
        storage: What its worker could not do with the workspace, in one line; empty if it can all.
        left: The object that it left in the workspace for the driver to find; empty if it could not.
        checks: Its memory and its disks.
    """

    versions: dict[str, str]
    gpus: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    storage: str = ""
    left: str = ""
    checks: list[Check] = field(default_factory=list)

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Node:
        """Read what `look_here` returned."""
        return cls(**{**raw, "checks": [Check(**one) for one in raw["checks"]]})


def own_versions() -> dict[str, str]:
    """Return the versions that have to be the same on both ends."""
    found = {"python": platform.python_version()}
    for name in ("sppnet", "ray", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def look_here(asked: dict[str, str]) -> dict[str, Any]:
    """Look at the node on which this process works.

    Args:
        asked: The URI of the `workspace`, and the object `probe` that the driver left in it; empty if it could not.

    Returns:
        A `Node` as plain values.
    """
    environment, folder = _raylet()
    storage, left = _look_at_storage(asked["workspace"], asked["probe"])
    checks = [("memory", memory), ("shared memory", shared_memory), ("spill disk", lambda: spill_disk(folder))]
    found = Node(
        versions=own_versions(),
        gpus=_gpus(environment.get(_VISIBLE)),
        settings={name: environment[name] for name in SETTINGS if name in environment},
        storage=storage,
        left=left,
        checks=run_checks(checks),
    )
    return asdict(found)


def _raylet() -> tuple[dict[str, str], str | None]:
    """Return what the process that manages the node was started with, and where it keeps its files, if it says so."""
    import psutil

    own = psutil.Process()
    found = next((parent for parent in own.parents() if parent.name() == _RAYLET), own)
    folders = (part.partition("=")[2] for part in found.cmdline() if part.startswith("--session_dir="))
    return found.environ(), next(folders, None)


def _gpus(visible: str | None) -> list[str]:
    """Ask torch for the node's GPUs, in a process from which Ray hides none; this one has no GPU of its own."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return []
    environment = {name: value for name, value in os.environ.items() if name != _VISIBLE}
    if visible is not None:
        environment[_VISIBLE] = visible
    command = [sys.executable, "-c", _NAME_GPUS]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_GPU_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []  # torch sees none: that is the finding
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _look_at_storage(workspace: str, probe: str) -> tuple[str, str]:
    """Read what the driver left, and leave something too; return what failed, and the name of what was left."""
    found = (f"no answer within {_STORAGE_SECONDS:g} s", "")

    def look() -> None:
        nonlocal found
        from pipelines.engine.store import open_store

        left = f"{probe}-{uuid.uuid4().hex[:8]}"
        try:
            store = open_store(workspace)
            if probe:
                store.read(probe)  # first: to write would make a folder that is not there
            store.put(left, b"")
            store.read(left)
        except Exception as error:  # noqa: BLE001  # boundary: whatever fails is the finding
            found = (one_line(error), "")
        else:
            found = ("", left)

    thread = threading.Thread(target=look, daemon=True)  # a store that hangs must not keep the others waiting
    thread.start()
    thread.join(_STORAGE_SECONDS)
    return found
