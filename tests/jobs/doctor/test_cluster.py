"""What the nodes of a cluster say is held against one another, and each line says what to mend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from jobs.doctor.check import Check
from jobs.doctor.cluster import judge, sum_up
from jobs.doctor.node import Node, own_versions
from pipelines.engine.store import Store, open_store
from pipelines.executors.ray_nodes import NodeAnswer
from tests.support.ray_cluster import ROOT, RayCluster
from tests.support.s3_server import S3Server

PING = "RAY_grpc_client_keepalive_time_ms"
WELL = {PING: "10000", "RAY_AUTH_MODE": "token"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = open_store(str(tmp_path))
    opened.put("left", b"")
    return opened


def answer(ip: str, offered: float = 0, **more: Any) -> NodeAnswer:
    fields: dict[str, Any] = {"versions": own_versions(), "left": "left", "settings": WELL, **more}
    return NodeAnswer(ip, 4, offered, asdict(Node(**fields)))


def findings(store: Store, *answers: NodeAnswer, here: dict[str, str] = WELL) -> dict[str, list[Check]]:
    """The lines about two nodes that are well and some others, by name."""
    found: dict[str, list[Check]] = {}
    for check in sum_up(judge([answer("10.0.0.1"), answer("10.0.0.2"), *answers], store, here)):
        found.setdefault(check.name, []).append(check)
    return found


def test_what_is_well_is_one_line_each(store: Store) -> None:
    found = findings(store)
    assert list(found) == ["node", "versions", "GPUs", "storage", "keepalive", "token"]
    assert [[check.state for check in lines] for lines in found.values()] == [["ok"]] * 6
    assert found["storage"][0].finding == f"10.0.0.1, 10.0.0.2: {store.uri}: a worker reads and writes it"
    assert found["keepalive"][0].finding == "this command, 10.0.0.1, 10.0.0.2: pings every 10 s"


def test_findings_that_differ_are_told_by_one_and_many_nodes_by_five() -> None:
    many = [(f"n{number}", Check("memory", "ok", f"{number} GiB")) for number in range(7)]
    bad = [("n7", Check("memory", "warn", "little")), ("n8", Check("memory", "warn", "little"))]
    assert sum_up([*many, *bad]) == [
        Check("memory", "ok", "n0, n1, n2, n3, n4 and 2 more: such as 0 GiB"),
        Check("memory", "warn", "n7, n8: little"),
    ]


def only_bad(found: dict[str, list[Check]]) -> list[Check]:
    return [check for lines in found.values() for check in lines if check.state != "ok"]


def test_a_node_that_can_not_run_the_code_is_named(store: Store) -> None:
    silent = NodeAnswer("10.0.0.3", 4, 0, error="ModuleNotFoundError: No module named 'jobs'")
    assert only_bad(findings(store, silent)) == [
        Check(
            "node",
            "fail",
            "10.0.0.3: can't run sppnet's code: ModuleNotFoundError: No module named 'jobs'; install the same sppnet "
            "there, or look at the node's logs",
        )
    ]


def test_other_versions_are_told(store: Store) -> None:
    other = answer("10.0.0.3", versions={**own_versions(), "sppnet": "0.0.1"})
    (check,) = only_bad(findings(store, other))
    assert (check.name, check.state) == ("versions", "fail")
    assert check.finding == f"10.0.0.3: has sppnet 0.0.1, here {own_versions()['sppnet']}: use one image for all"


@pytest.mark.parametrize(
    ("offered", "seen", "state", "said"),
    [
        (2, ["H100"], "fail", "Ray offers 2, torch sees 1; install a driver and a torch that fit it, or start"),
        (0, ["H100"], "warn", "torch sees 1, Ray offers 0: nothing will run on them; start the node with --num-gpus=1"),
    ],
)
def test_gpus_that_do_not_match_are_told(store: Store, offered: int, seen: list[str], state: str, said: str) -> None:
    (check,) = only_bad(findings(store, answer("10.0.0.3", offered, gpus=seen)))
    assert (check.name, check.state) == ("GPUs", state)
    assert check.finding.startswith(f"10.0.0.3: {said}")


def test_gpus_that_match_are_named(store: Store) -> None:
    found = findings(store, answer("10.0.0.3", 1, gpus=["H100"]))
    assert only_bad(found) == []
    assert found["GPUs"][0].finding == "10.0.0.1, 10.0.0.2, 10.0.0.3: such as none"


def test_a_folder_that_is_another_one_on_a_node_is_told(store: Store) -> None:
    alone = answer("10.0.0.3", storage=f"{store.uri}/p does not exist", left="")
    elsewhere = answer("10.0.0.4", left="gone")
    hint = "a folder must be the same one on every node: use s3://bucket/prefix, or mount it everywhere"
    assert [check.finding for check in only_bad(findings(store, alone, elsewhere))] == [
        f"10.0.0.3: {store.uri}/p does not exist; {hint}",
        f"10.0.0.4: what it wrote is not there: {store.uri}/gone does not exist; {hint}",
    ]


def test_what_this_process_can_not_reach_is_no_nodes_fault(store: Store) -> None:
    findings = judge([answer("10.0.0.4", left="gone")], store, WELL, reached=False)
    assert [check.state for _, check in findings if check.name == "storage"] == ["ok"]


def test_pings_that_somebody_forbids_are_told(store: Store) -> None:
    """A server allows what it does itself, and one a minute in any case."""
    plain = answer("10.0.0.3", settings={"RAY_AUTH_MODE": "token"})
    found = findings(store, plain, here={PING: "65000"})["keepalive"]
    assert [(check.state, check.finding.partition(": ")[0]) for check in found] == [
        ("ok", "this command"),
        ("fail", "10.0.0.1, 10.0.0.2"),
        ("warn", "10.0.0.3"),
    ]
    assert found[1].finding == (
        "10.0.0.1, 10.0.0.2: pings every 10 s, and 10.0.0.3 closes connections that do so more often than every 60 s; "
        f"set {PING} alike on every node, and here"
    )
    assert "is noticed after 5 min; start every node with RAY_grpc_client_keepalive_time_ms=10000" in found[2].finding


def test_a_node_without_a_token_is_told(store: Store) -> None:
    (check,) = only_bad(findings(store, answer("10.0.0.3", settings={PING: "10000"})))
    assert (check.name, check.state) == ("token", "warn")
    assert check.finding.startswith("10.0.0.3: asks for none: whoever reaches its ports can run code; ")


@pytest.mark.ray
@pytest.mark.s3
@pytest.mark.slow
def test_the_nodes_of_a_real_cluster(
    make_cluster: Callable[..., RayCluster], s3_server: S3Server, s3: str, tmp_path: Path
) -> None:
    cluster = make_cluster({**s3_server.environment, PING: "10000"}, takes_jobs=False)
    cluster.start_head(cpus=0)
    refused = {"AWS_SECRET_ACCESS_KEY": "wrong", PING: "5000"}
    cluster.start_node(options=("--num-gpus=1",), environment=refused)
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "doctor", "--address", cluster.address, "-w", s3, "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **cluster.client_environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["error"] == "doctor: GPUs, storage, keepalive failed; see the findings above"
    lines = {(check["name"], check["state"]): check["finding"] for check in found["checks"]}
    assert lines["node", "ok"] == "127.0.0.2, 127.0.0.3: runs sppnet's code"
    assert lines["GPUs", "fail"].startswith("127.0.0.3: Ray offers 1, torch sees 0; ")
    assert lines["storage", "ok"] == f"127.0.0.2: {s3}: a worker reads and writes it"
    assert lines["storage", "fail"].startswith("127.0.0.3: a worker's own rights do not do: can't read ")
    assert lines["keepalive", "fail"].startswith("127.0.0.3: pings every 5 s, and 127.0.0.2 closes connections that do")
    assert lines["token", "ok"] == "127.0.0.2, 127.0.0.3: is asked for"
    assert "wrong" not in done.stdout
    assert open_store(s3).list() == []
