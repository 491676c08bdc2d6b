"""What is made of the nodes' answers; real nodes are asked in `tests/e2e/test_cluster.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.executors import ray_workspace
from pipelines.executors.ray_nodes import NodeAnswer
from sppnet.errors import ConfigError


def answering(monkeypatch: pytest.MonkeyPatch, *answers: NodeAnswer) -> None:
    monkeypatch.setattr(ray_workspace, "ask_nodes", lambda function, argument: list(answers))


def test_nodes_look_for_what_the_driver_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The function that runs on nodes, here in this process: what it finds is gone afterwards."""

    def ask(function: Any, argument: Any) -> list[NodeAnswer]:
        elsewhere = {**argument, "workspace": str(tmp_path / "elsewhere")}
        assert function(argument) == ""
        return [NodeAnswer("10.0.0.1", 4, 0, function(argument)), NodeAnswer("10.0.0.2", 4, 0, function(elsewhere))]

    monkeypatch.setattr(ray_workspace, "ask_nodes", ask)
    with pytest.raises(ConfigError) as caught:
        ray_workspace.check_workspace(str(tmp_path))
    assert str(caught.value).startswith(
        f"node 10.0.0.2 can't use the workspace {tmp_path}: {tmp_path}/elsewhere/runs/.probe-"
    )
    assert str(caught.value).endswith(
        " does not exist; a folder must be the same one on every node: use s3://bucket/prefix, or mount it everywhere"
    )
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_node_without_the_code_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answering(monkeypatch, NodeAnswer("10.0.0.3", 4, 0, error="ModuleNotFoundError: No module named 'pipelines'"))
    with pytest.raises(ConfigError) as caught:
        ray_workspace.check_workspace(str(tmp_path))
    assert str(caught.value) == (
        "node 10.0.0.3 can't run sppnet's code (ModuleNotFoundError: No module named 'pipelines'); install the same "
        "sppnet on every node (sppnet doctor --address tells more)"
    )


def test_a_slow_node_is_warned_of_and_a_head_without_cpus_is_not_asked_for_rights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = NodeAnswer("10.0.0.1", 0, 0, "may not read")
    answering(monkeypatch, head, NodeAnswer("10.0.0.2", 4, 0, error="no answer within 60 s"))
    ray_workspace.check_workspace(str(tmp_path))
    assert [record.message for record in caplog.records] == [
        "node 10.0.0.2 did not say whether it can use the workspace: no answer within 60 s"
    ]
