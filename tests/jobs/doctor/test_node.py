"""What a node finds out about itself; that its parent is Ray's raylet is tried on a cluster."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.doctor import node
from jobs.doctor.node import Node, look_here, own_versions
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError


class Raylet:
    """The process above a worker, or above a shell that started it."""

    def name(self) -> str:
        return "raylet"

    def environ(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "AWS_SECRET_ACCESS_KEY": "secret", "RAY_AUTH_TOKEN": "secret"}

    def cmdline(self) -> list[str]:
        return ["raylet", f"--session_dir={Path.cwd()}", "--x"]


class Worker:
    """This process."""

    def parents(self) -> list[Any]:
        return [type("Shell", (), {"name": lambda self: "sh"})(), Raylet()]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(psutil, "Process", Worker)
    monkeypatch.setattr(node, "_gpus", lambda visible: [str(visible)])
    monkeypatch.setattr(node, "_STORAGE_SECONDS", 5.0)
    return lambda probe: look_here({"workspace": str(tmp_path / "ws"), "probe": probe})


def test_a_node_reads_what_was_left_and_leaves_something(look: Any, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "ws"))
    store.put("runs/.probe-1", b"")
    answer = look("runs/.probe-1")
    found = Node.parse(answer)
    assert found.storage == ""
    assert store.read(found.left) == b""
    assert found.versions == own_versions()
    assert set(own_versions()) == {"python", "sppnet", "ray", "torch"}
    assert found.gpus == ["None"]
    assert found.settings == {"RAY_AUTH_MODE": "token"}
    assert "secret" not in repr(answer)
    assert [check.name for check in found.checks] == ["memory", "shared memory", "spill disk"]
    assert found.checks[2].finding.endswith(f"GiB free in {Path.cwd()}")


def test_a_workspace_that_is_not_the_drivers_is_told(look: Any, tmp_path: Path) -> None:
    found = Node.parse(look("runs/.probe-1"))
    assert found.storage == f"{tmp_path}/ws/runs/.probe-1 does not exist"
    assert found.left == ""


def test_a_node_looks_also_where_the_driver_could_leave_nothing(look: Any, tmp_path: Path) -> None:
    found = Node.parse(look(""))
    assert found.storage == ""
    assert open_store(str(tmp_path / "ws")).read(found.left) == b""


def test_a_store_that_breaks_is_told(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise ImportError("no s3fs")

    monkeypatch.setattr("pipelines.engine.store.open_store", broken)
    assert Node.parse(look("runs/.probe-1")).storage == "ImportError: no s3fs"


def test_a_store_that_hangs_keeps_nobody_waiting(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_STORAGE_SECONDS", 0.05)
    asleep = threading.Event()

    def hang(_: str) -> None:
        asleep.wait(60)
        raise ConfigError("late")

    monkeypatch.setattr("pipelines.engine.store.open_store", hang)
    try:
        assert Node.parse(look("runs/.probe-1")).storage == "no answer within 0.05 s"
    finally:
        asleep.set()


def test_gpus_are_those_that_nothing_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> Any:
        asked.update(env)
        return type("Done", (), {"stdout": 'a warning\n["H100"]\n'})

    monkeypatch.setattr(node.subprocess, "run", run)
    monkeypatch.setattr(node.Path, "glob", lambda self, pattern: iter([Path("/dev/nvidia0")]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert node._gpus("3") == ["H100"]
    assert asked["CUDA_VISIBLE_DEVICES"] == "3"
    asked.clear()
    assert node._gpus(None) == ["H100"]
    assert "CUDA_VISIBLE_DEVICES" not in asked
