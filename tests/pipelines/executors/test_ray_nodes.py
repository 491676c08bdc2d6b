"""Every node is asked at once, and one that can't answer is an answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.support.ray_cluster import ROOT, RayCluster

pytestmark = [pytest.mark.ray, pytest.mark.slow]

DRIVER = """
import json, sys
from dataclasses import asdict
from pipelines.executors.ray_core import RayExecutor
from pipelines.executors.ray_nodes import ask_nodes
import asked

executor = RayExecutor(sys.argv[1])
answers = ask_nodes(getattr(asked, sys.argv[2]), json.loads(sys.argv[3]), 20.0)
executor.close()
print(json.dumps([asdict(answer) for answer in answers]))
"""
ASKED = """
import os, time

def variable(name):
    return os.environ.get(name, "")

def sleep(seconds):
    time.sleep(seconds if os.environ.get("NODE") == "b" else 0)
    return "awake"
"""


def test_each_node_answers_for_itself_or_is_named(make_cluster: Callable[..., RayCluster], tmp_path: Path) -> None:
    shared, hidden = tmp_path / "shared", tmp_path / "hidden"
    for folder in (shared, hidden):
        folder.mkdir()
        (folder / "asked.py").write_text(ASKED)
    cluster = make_cluster(takes_jobs=False)
    cluster.start_head(cpus=0)
    cluster.start_node(options=("--num-gpus=2",), environment={"NODE": "a"}, wait=False)
    cluster.start_node(environment={"NODE": "b"})
    cluster.nodes[0].wait_until_up()

    def ask(folder: Path, function: str, argument: Any) -> list[dict[str, Any]]:
        # Python's path is told to the workers; what the driver adds to its own is not.
        code = f"import sys; sys.path.append({str(folder)!r})\n{DRIVER}"
        path = f"{ROOT}{os.pathsep}{folder}" if folder == shared else str(ROOT)
        done = subprocess.run(
            [sys.executable, "-c", code, cluster.address, function, json.dumps(argument)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, **cluster.client_environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return found

    asked = ask(shared, "variable", "NODE")
    assert [(one["ip"], one["gpus"], one["answer"], one["error"]) for one in asked] == [
        ("127.0.0.2", 0, "", None),
        ("127.0.0.3", 2, "a", None),
        ("127.0.0.4", 0, "b", None),
    ]
    assert {one["answer"] for one in ask(shared, "variable", "SPPNET_RUN_VERSION")} == {version("sppnet")}
    late = ask(shared, "sleep", 600)
    assert [one["answer"] for one in late] == ["awake", "awake", None]
    assert late[2]["error"] == "no answer within 20 s"
    without = ask(hidden, "variable", "NODE")
    assert [one["answer"] for one in without] == [None, None, None]
    assert {one["error"] for one in without} == {"ModuleNotFoundError: No module named 'asked'"}
