"""What is disturbed: the toy stages and the demo's chain in small, in one process and on Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.engine.recipe import load_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.workspace import Workspace
from tests.support.ray_cluster import RayCluster
from tests.support.small_demo import contents, overrides
from tests.support.toy_fixtures import ROOT, Toys
from tests.support.toy_stages import register

SHARDS = 8
_TOY: dict[str, Any] = {"refuse": 5, "max_quarantined": 0.5}
_DEMO: dict[str, Any] = {
    "images.dataset.splits": {"train": 9, "val": 6},
    "images.max_quarantined": 0.2,
    "network.schedule": [{"lr": 0.01, "steps": 10}],
    "head.schedule": [{"lr": 0.01, "steps": 900}],
}


@dataclass
class Run:
    """A command's process, and where what it says goes."""

    process: subprocess.Popen[bytes]
    folder: Path

    def said(self) -> str:
        return (self.folder / "err").read_text(errors="replace")

    def last_line(self) -> str:
        """Its last word, with the place of logs left out."""
        lines = [line for line in self.said().splitlines() if line.startswith("sppnet: ")]
        return lines[-1].removeprefix("sppnet: ") if lines else ""


class Workload(ABC):
    """A recipe that is run by real processes.

    Args:
        on_ray: Whether it runs on a local Ray, or in the command's own process.

    Attributes:
        prefix: What the command is started by.
    """

    name: str
    prefix: tuple[str, ...] = ()

    def __init__(self, *, on_ray: bool) -> None:
        self.on_ray = on_ray
        self.title = f"{self.name} {'on Ray' if on_ray else 'in one process'}"

    def start(self, workspace: str, folder: Path, scratch: Path, variables: Mapping[str, str]) -> Run:
        """Starts it, with its output in a folder of its own."""
        own = folder / uuid.uuid4().hex[:8]
        own.mkdir(parents=True)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(scratch),
            **variables,
        }
        with (own / "out").open("wb") as out, (own / "err").open("wb") as err:
            process = subprocess.Popen(
                [*self.prefix, sys.executable, *self.command(workspace, folder)],
                cwd=own,
                env=environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return Run(process, own)

    @abstractmethod
    def command(self, workspace: str, folder: Path) -> list[str]:
        """What Python is given."""

    @abstractmethod
    def engine(self, workspace: str, folder: Path) -> Engine:
        """To look at a workspace with."""

    def ledger(self, workspace: str, folder: Path) -> dict[str, Any]:
        """The account of every step, once all are complete: units, keys, done, rows, and what was set aside and why."""
        found: dict[str, Any] = {}
        for status in self.engine(workspace, folder).status():
            assert status.committed == status.total, f"{status.step.name} is not complete"
            one = status.summary
            assert one is not None
            aside = sorted((entry.key, entry.reason) for entry in one.quarantined)
            found[status.step.name] = (one.units, one.keys, one.done, one.rows, aside)
        return found


class Toy(Workload):
    """The toy stages: shards of numbers, raised to a power, summed up.

    Attributes:
        address: Of a cluster that is joined instead of starting a local Ray.
    """

    name = "toy"
    address: str | None = None

    @classmethod
    def on(cls, cluster: RayCluster) -> Toy:
        """Joins a cluster of machines, on its head's."""
        toy = cls(on_ray=True)
        assert cluster.head is not None
        assert cluster.head.machine is not None
        toy.address, toy.prefix = cluster.address, cluster.head.machine.run
        return toy

    def command(self, workspace: str, folder: Path) -> list[str]:
        fields = {"shards": SHARDS, **_TOY, "pause": 1.0 if self.on_ray else 0.25, "deadline": 8.0}
        kind = "ray" if self.on_ray else "local"
        arguments = {
            "workspace": workspace,
            "marks": str(folder / "marks"),
            "executor": kind,
            "address": self.address,
            "fields": fields,
        }
        return [str(ROOT / "tests" / "support" / "toy_driver.py"), json.dumps(arguments), "--as-command"]

    def engine(self, workspace: str, folder: Path) -> Engine:
        register()
        engine: Engine = Toys(workspace, folder / "marks").engine(SHARDS, **_TOY)
        return engine


class Demo(Workload):
    """The whole detection chain on a drawn data set."""

    name = "demo"

    def command(self, workspace: str, folder: Path) -> list[str]:
        where = ["--cpus", "2"] if self.on_ray else ["--local"]
        return ["-m", "jobs", "demo", "--workspace", workspace, *where, *overrides(**_DEMO)]

    def engine(self, workspace: str, folder: Path) -> Engine:
        settings = [option for option in overrides(**_DEMO) if option != "--set"]
        return Engine(load_recipe(ROOT / "jobs" / "recipes" / "demo.yaml", settings), Workspace.open(workspace), ())


@dataclass(frozen=True)
class Left:
    """What a complete run leaves.

    Attributes:
        contents: Digest of each unit's decoded content.
        ledger: The account of every step.
    """

    contents: dict[str, str | None]
    ledger: dict[str, Any]

    @classmethod
    def of(cls, workload: Workload, workspace: str, folder: Path) -> Left:
        """Reads all of a workspace."""
        return cls(contents(workspace), workload.ledger(workspace, folder))


class Undisturbed:
    """What each workload leaves when nothing happens to it; made in one process on the disk when it is first asked for.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, Left] = {}
        self._lock = threading.Lock()

    def left(self, workload: Workload) -> Left:
        """What a workload leaves."""
        with self._lock:
            if workload.name not in self._found:
                own = self._folder / workload.name
                workspace = str(own / "workspace")
                run = type(workload)(on_ray=False).start(workspace, own, own, {})
                assert run.process.wait() == 0, run.said()
                self._found[workload.name] = Left.of(workload, workspace, own)
            return self._found[workload.name]
