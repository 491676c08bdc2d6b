"""Fixtures around the toy stages of `toy_stages.py`: runs of a two-step recipe, and a Ray that knows them."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

UNITS = tuple(f"all/{i:06d}" for i in range(6))


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int, int]] = []
        self.done: list[tuple[str, str]] = []
        self.failed: list[Any] = []
        self.summaries: list[Any] = []

    def step_started(self, step: Any, phases: Any, missing: Collection[str], total: int) -> None:
        self.started.append((step.name, len(missing), total))

    def unit_done(self, step: Any, phase: Any, commit: Any) -> None:
        self.done.append((step.name, commit.unit))

    def unit_failed(self, step: Any, phase: Any, failure: Any) -> None:
        self.failed.append(failure)

    def step_done(self, step: Any, summary: Any, seconds: float) -> None:
        self.summaries.append(summary)


class Toys:
    """Builds engines for the recipe `numbers -> powers` in one workspace."""

    def __init__(self, workspace: str, marks: Path) -> None:
        from tests.support.toy_stages import Marks

        self.workspace = workspace
        self.file = ""
        marks.mkdir(exist_ok=True)
        self.marks = Marks(marks)

    def raw(self, shards: int = 3, wanted: Sequence[int] | None = None, **powers: Any) -> dict[str, Any]:
        """The recipe as plain values: `shards` shards of numbers, of which those `wanted` are raised to a power."""
        covered = list(range(shards) if wanted is None else wanted)
        fields = {"stage": "powers", "numbers": "count", "marks": str(self.marks.folder), "shards": covered}
        steps = {"count": {"stage": "numbers", "shards": shards, "file": self.file}, "raise": {**fields, **powers}}
        return {"version": 1, "name": "toy", "seed": 0, "steps": steps}

    def engine(self, shards: int = 3, *, fresh: Collection[str] | None = None, **powers: Any) -> Any:
        from pipelines.engine.recipe import parse_recipe
        from pipelines.engine.runner import Engine
        from pipelines.engine.workspace import Workspace

        return Engine(parse_recipe(self.raw(shards, **powers), "toy.yaml"), Workspace.open(self.workspace), fresh)

    def run(self, executor: Any, shards: int = 3, **powers: Any) -> Recorder:
        """Runs to the end, or raises."""
        recorder = Recorder()
        self.engine(shards, **powers).run(executor, recorder)
        return recorder

    def powers(self, shards: int = 3, **powers: Any) -> Any:
        """The artifact of the second step."""
        from pipelines.engine.workspace import Workspace

        name = self.engine(shards, **powers).steps[1].spec.artifact
        return Workspace.open(self.workspace).artifact(name)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Toys:
    """The toy stages, registered, with a local workspace."""
    from pipelines.engine import registry

    monkeypatch.setattr(registry, "STAGES", dict(registry.STAGES))
    from tests.support.toy_stages import register

    register()
    return Toys(str(tmp_path / "workspace"), tmp_path / "marks")


@pytest.fixture(scope="module")
def ray_executor(s3_server: Any) -> Iterator[Any]:
    """A local Ray of two CPUs, whose workers know the toy stages and the S3 server.

    One a module, not one a session: an executor made while it is up would join it instead of starting its own.
    """
    from pipelines.executors.ray_core import RayExecutor

    variables = {"PYTHONPATH": str(ROOT)}
    executor = RayExecutor(
        "local",
        2,
        runtime_env={"env_vars": variables, "worker_process_setup_hook": "tests.support.toy_stages.register"},
    )
    yield executor
    executor.close()
    shutil.rmtree(executor._folder, ignore_errors=True)  # kept for people when units have failed
