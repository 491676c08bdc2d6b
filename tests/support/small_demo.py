"""The built-in recipe `demo` made small with `--set`, real processes that run it, and what they leave behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from pipelines.artifacts.manifest import Manifest
from pipelines.engine.recipe import load_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.workspace import Workspace
from tests.support.waiting import PATIENCE, wait_for

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
TRAIN, VAL, SHARD_SIZE = 24, 12, 3
TOO_LARGE, MAX_PIXELS = "train_00009", 50_000
"""The one image that ingest sets aside, and the limit that it alone is above."""
SCALES, SLOW_SCALE = (160, 224), 1200
"""No detector reads the slow scale: its units are there to be long enough to be killed in."""
HEAD_STEPS = 2500
RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Ray's own agents give a cluster that is gone 60 seconds to take their report, and end then."""

_USED_ONCE = re.compile(r"-[0-9a-f]{12}\.\w+$")


def overrides(scales: tuple[int, ...] = SCALES, **more: Any) -> list[str]:
    """`--set` options that make the recipe `demo` small."""
    fields: dict[str, Any] = {
        "images.dataset.splits": {"train": TRAIN, "val": VAL},
        "images.dataset.size": [200, 260],
        "images.shard_size": SHARD_SIZE,
        "images.max_pixels": MAX_PIXELS,
        "images.max_quarantined": 1 / TRAIN,
        "windows.max_windows": 300,
        "network.width": 0.125,
        "network.hidden": [64, 64],
        "network.schedule": [{"lr": 0.01, "steps": 20}],
        "network.batch": 16,
        "network.size": [112],
        "network.short_side": 128,
        "network.checkpoint_every": 10,
        "maps.scales": list(scales),
        "head.hidden": [64, 64],
        "head.schedule": [{"lr": 0.01, "steps": HEAD_STEPS}],
        "head.batch": 32,
        "head.checkpoint_every": 10,
        **{f"{step}.scales": list(SCALES) for step in ("head", "svms-pool5", "svms-fc7", "regressors")},
        **more,
    }
    return [part for name, value in fields.items() for part in ("--set", f"{name}={json.dumps(value)}")]


def small_engine(workspace: str, scales: tuple[int, ...] = SCALES) -> Engine:
    """The engine of the small recipe, to look at a workspace with; it runs nothing here."""
    settings = [option for option in overrides(scales) if option != "--set"]
    return Engine(load_recipe(ROOT / "jobs" / "recipes" / "demo.yaml", settings), Workspace.open(workspace))


def artifact_of(engine: Engine, step: str) -> str:
    """Name of the artifact that a step makes."""
    return next(planned.spec.artifact for planned in engine.steps if planned.name == step)


def attempts(workspace: str, artifact: str = "") -> dict[str, str]:
    """Which attempt made each committed unit of an artifact, or of all of them."""
    return {name: commit.attempt for name, commit in _commits(workspace, artifact).items()}


def contents(workspace: str, artifact: str = "") -> dict[str, str | None]:
    """The digest of each committed unit's data, which is read and checked."""
    opened = Workspace.open(workspace)
    found = _commits(workspace, artifact)
    for name, commit in found.items():
        opened.artifact(name.split("/", 1)[0]).read_commit(commit)
    return {name: commit.sha256 for name, commit in found.items()}


def _commits(workspace: str, artifact: str) -> dict[str, Any]:
    opened = Workspace.open(workspace)
    names = {entry.name.split("/", 1)[0] for entry in opened.store.list(artifact)} - {"runs"}
    found = {}
    for name in sorted(names):
        one = opened.artifact(name)
        found |= {f"{name}/{commit.unit}": commit for commit in one.commits(sorted(one.committed()))}
    return found


def last_step(checkpoints: Path) -> int:
    """The latest checkpoint's step, 0 if there is none."""
    return max((int(path.stem[5:]) for path in checkpoints.glob("step-*.json")), default=0)


def orphans(workspace: str) -> list[str]:
    """Data objects that no commit names: what lost or killed attempts left."""
    kept = {f"{name.split('/', 1)[0]}/{commit.data}" for name, commit in _commits(workspace, "").items()}
    names = [entry.name for entry in Workspace.open(workspace).store.list()]
    return [name for name in names if _USED_ONCE.search(name) and name not in kept]


@dataclass
class Command:
    """A `python -m jobs ...` process, and all processes that it starts.

    Attributes:
        folder: Where its output goes.
        driver: The process.
    """

    folder: Path
    driver: subprocess.Popen[bytes]
    _family: dict[int, psutil.Process]

    @classmethod
    def start(cls, folder: Path, scratch: Path, *arguments: str) -> Command:
        """Starts the command with one thread per process, so that results are equal bit for bit wherever it runs."""
        own = folder / uuid.uuid4().hex[:8]
        own.mkdir(parents=True)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(scratch),
        }
        environment.pop("RAY_ADDRESS", None)
        command = [sys.executable, "-m", "jobs", *arguments, "--json"]
        with (own / "out").open("wb") as out, (own / "err").open("wb") as err:
            driver = subprocess.Popen(command, cwd=own, env=environment, stdout=out, stderr=err, start_new_session=True)
        return cls(own, driver, {})

    @property
    def errors(self) -> str:
        """What it printed for people."""
        return (self.folder / "err").read_text(errors="replace")

    def finish(self, seconds: float = 2 * PATIENCE) -> dict[str, Any]:
        """Waits for the end, and returns the JSON line with the exit code that the process had."""
        code = self.driver.wait(timeout=seconds)
        lines = (self.folder / "out").read_text().splitlines()
        assert lines, f"exit code {code} and no JSON line:\n{self.errors}"
        result: dict[str, Any] = json.loads(lines[-1])
        assert result["exit_code"] == code, self.errors
        assert code == 0, self.errors
        return result

    def wait_until(self, condition: Callable[[], T]) -> T:
        """Waits for something to come true while the command runs, and returns it."""
        return wait_for(condition, self._check_running)

    def _check_running(self) -> None:
        assert self.driver.poll() is None, f"the run ended too early:\n{self.errors}"

    def family(self) -> list[psutil.Process]:
        """All processes that descend from the driver, also those seen earlier that are still alive."""
        if self.driver.poll() is None:
            children = psutil.Process(self.driver.pid).children(recursive=True)
            self._family |= {child.pid: child for child in children}
        return [process for process in self._family.values() if process.is_running()]

    def workers(self, title: str) -> list[psutil.Process]:
        """Ray's worker processes that are at a task or actor of that name now."""
        return [process for process in self.family() if title in _title(process)]

    def kill_driver(self) -> None:
        """SIGKILL, as the kernel does when memory runs out."""
        self.family()
        os.kill(self.driver.pid, signal.SIGKILL)
        self.driver.wait()

    def leftovers(self, seconds: float = PATIENCE, without: tuple[str, ...] = ()) -> list[str]:
        """What of the family still lives some seconds after the driver's end, apart from some titles."""
        waited = [process for process in self.family() if _title(process).strip() not in without]
        _, alive = psutil.wait_procs(waited, timeout=seconds)
        return [_title(process) for process in alive if process.status() != psutil.STATUS_ZOMBIE]

    def end(self) -> None:
        """Ends whatever is left, by process id."""
        family = self.family()
        for process in (*family, self.driver):
            try:
                process.kill()
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        self.driver.wait()
        psutil.wait_procs(family, timeout=10)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


EVERY = TRAIN + VAL
KEYS = {"images": EVERY, "windows": EVERY, "maps": EVERY * len(SCALES), "pool5": VAL, "fc7": VAL}
KEYS |= dict.fromkeys(("head", "svms-pool5", "svms-fc7", "regressors"), TRAIN)
"""Keys that each step accounts for, those of the maps once per scale; the steps not named work on none."""


def check_ledger(engine: Engine, status: Mapping[str, Any]) -> None:
    """Proves from the manifest and the commits that each key of each step is done or quarantined."""
    workspace = engine.workspace
    manifest = Manifest.read(workspace.store, next(step.look.manifest for step in engine.steps if step.look.manifest))
    shards = [shard for shards in manifest.splits.values() for shard in shards]
    keys_of = {name: shard.keys for shard in shards for name in (shard.images, shard.annotations)}
    assert {split: manifest.count(split) for split in manifest.splits} == {"train": TRAIN, "val": VAL}
    rows = {row["step"]: row for row in status["steps"]}
    assert list(rows) == [step.name for step in engine.steps]
    for step in engine.steps:
        row = rows[step.name]
        assert row["committed"] == row["total"], row
        assert row["keys"] == KEYS.get(step.name, 0), row
        assert row["done"] == row["keys"] - row["keys"] // EVERY - (row["keys"] == TRAIN), row
        for name, commit in _commits(workspace.store.uri, step.spec.artifact).items():
            if commit.keys == 0:  # no shard: an SVM, a network, the metrics
                continue
            keys = keys_of[name.split("/")[-1]]
            assert commit.done + len(commit.quarantined) == len(keys), name
            assert [entry.key for entry in commit.quarantined] == [key for key in keys if key == TOO_LARGE], name


@dataclass(frozen=True)
class Undisturbed:
    """A run in one process that nothing disturbed: what every other run must equal.

    Attributes:
        workspace: Its workspace: read it, don't change it.
        folder: Where it ran: its standard output and error are in the files `out` and `err`.
        result: What it printed.
    """

    workspace: Path
    folder: Path
    result: dict[str, Any]

    def artifact(self, step: str) -> str:
        """Name of the artifact that a step makes, in every workspace."""
        return artifact_of(small_engine(str(self.workspace)), step)

    def copy_without(self, root: Path, *steps: str) -> Path:
        """A workspace that lacks only what some steps make."""
        gone = {self.artifact(step) for step in steps}
        shutil.copytree(self.workspace, root, ignore=lambda _, names: gone & {*names})
        return root
