"""The demo's chain as a job on a cluster that someone else started, and that loses nodes and gets others meanwhile.

The head and the nodes are processes of `ray start`, each with an address and a folder of its own; they ask for a token
and share nothing but an S3 server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from pipelines.engine.workspace import Workspace
from pipelines.training.checkpoints import Checkpoints
from sppnet.errors import ConfigError, IncompleteError
from tests.support.ray_cluster import ROOT, RayCluster, RayNode
from tests.support.s3_server import S3Server
from tests.support.small_demo import (
    HEAD_STEPS,
    Command,
    Undisturbed,
    artifact_of,
    attempts,
    check_ledger,
    contents,
    overrides,
    small_engine,
)
from tests.support.toy_fixtures import Toys
from tests.support.waiting import PATIENCE, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.slow, pytest.mark.timeout(3000)]

WORKERS = ["--set", "head.workers=2"]


class Nodes:
    """The nodes of a cluster, one of which goes now and then while another comes."""

    def __init__(self, cluster: RayCluster) -> None:
        self.cluster = cluster
        self.alive: list[RayNode] = [cluster.start_node(), cluster.start_node()]

    def at(self, title: str) -> RayNode | None:
        """A node that has a task or an actor of that name, if there is one."""
        return next((node for node in self.alive if node.workers(title)), None)

    def replace(self, node: RayNode) -> None:
        """Kills a node, and starts another without waiting for it."""
        node.kill()
        self.alive.remove(node)
        self.alive.append(self.cluster.start_node(wait=False))


def test_the_chain_as_a_job_that_loses_a_node_in_extract_in_training_and_in_mining(
    undisturbed: Undisturbed,
    s3: str,
    s3_server: S3Server,
    make_cluster: Callable[..., RayCluster],
    start: Callable[..., Command],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = make_cluster(s3_server.environment)
    cluster.start_head(cpus=0)
    nodes = Nodes(cluster)
    for name, value in cluster.client_environment.items():
        monkeypatch.setenv(name, value)
    options = [*overrides(), *WORKERS, "--verbose"]
    engine = small_engine(s3)
    workspace = Workspace.open(s3)
    maps, head = (workspace.artifact(artifact_of(engine, step)) for step in ("maps", "head"))

    job = start("submit", "demo", "--address", cluster.jobs, "--workspace", s3, *options)
    job.wait_until(maps.committed)
    nodes.replace(job.wait_until(lambda: nodes.at("ray::maps:extract")))

    checkpoints = Checkpoints(head)
    job.wait_until(checkpoints.steps)
    workers = [node.workers("RayTrainWorker") for node in nodes.alive]
    for worker in chain.from_iterable(workers):
        worker.suspend()  # or the training may end while its processes are looked at
    assert all(workers)  # a worker on each node
    nodes.replace(nodes.alive[0])
    at_kill = checkpoints.steps()[-1]
    assert at_kill < HEAD_STEPS
    for worker in workers[1]:
        worker.resume()
    job.wait_until(lambda: (checkpoints.steps() or [HEAD_STEPS])[-1] > at_kill)

    nodes.replace(job.wait_until(lambda: nodes.at("ray::svms-fc7:gather") or nodes.at("ray::svms-fc7:mine-")))
    result = job.finish()

    assert result["state"] == "succeeded"
    status = start("status", "demo", "--workspace", s3, *overrides(), *WORKERS).finish()
    assert status["complete"]
    check_ledger(engine, status)
    # All but what two workers train together is to the byte what one process wrote on the disk.
    expected = contents(str(undisturbed.workspace))
    for step in ("images", "windows", "network", "maps"):
        made = contents(s3, artifact_of(engine, step))
        assert made
        assert made.items() <= expected.items(), step
    folder = f"runs/{result['folder']}"
    assert result["report"] == f"{s3}/{folder}/report.html"
    assert workspace.store.read(f"{folder}/report.html").lower().startswith(b"<!doctype html>")
    names = {entry.name.removeprefix(f"{folder}/").split("/")[0] for entry in workspace.store.list(folder)}
    assert names == {"recipe.yaml", "events", "summary.json", "report.html"}
    listed = [entry.name for entry in workspace.store.list("runs")]
    assert all(name.startswith((folder, "runs/demo/last.json")) for name in listed), "Ray Train's, or probes"
    secrets = {s3_server.secret_key, cluster.token}
    assert not [secret for secret in secrets if secret in job.errors]
    for entry in workspace.store.list("runs") + workspace.store.list("uploads"):
        body = workspace.store.read(entry.name).decode(errors="replace")
        assert not [secret for secret in secrets if secret in body], entry.name
    assert "head: done, 9 units" in job.errors

    made = attempts(s3)
    again = start("submit", "demo", "--address", cluster.jobs, "--workspace", s3, *options)
    assert again.finish()["steps"] == result["steps"]
    assert attempts(s3) == made
    assert "to make" not in again.errors
    assert "ray joined" not in again.errors  # a run that is complete needs no cluster


SILENCE = 8
"""Seconds without a word from the head after which the toy driver gives up; the command waits longer."""


def toy(cluster: RayCluster, toys: Toys, **fields: object) -> subprocess.CompletedProcess[str]:
    """Runs the toy recipe on a cluster, in a process of its own."""
    arguments = {
        "workspace": toys.workspace,
        "marks": str(toys.marks.folder),
        "executor": "ray",
        "address": cluster.address,
        "patience": SILENCE,
        "fields": fields,
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "toy_driver.py"), json.dumps(arguments)],
        env=os.environ | cluster.client_environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_gpus_of_their_own_a_late_node_one_without_rights_and_a_head_that_is_lost(
    toys: Toys, s3: str, s3_server: S3Server, make_cluster: Callable[..., RayCluster]
) -> None:
    """The nodes only say that they have GPUs: what a unit sees of them is what Ray gave it."""
    cluster = make_cluster(s3_server.environment)
    cluster.start_head()
    cluster.start_node(cpus=2, options=("--num-gpus=2",))

    refused = toy(cluster, toys, shards=3, gpus=3)
    assert refused.returncode == ConfigError.exit_code
    assert refused.stdout.splitlines()[-1] == (
        f"ConfigError: step raise: a unit asks for 1 CPU and 3 GPUs, the cluster at {cluster.address} has 3 CPUs and "
        "2 GPUs on 2 nodes; give --gpus 0, or join a cluster that has them"
    )

    toys.marks.set("slow", "all/000000", 5)  # so that the others run beside it
    done = toy(cluster, toys, shards=6, gpus="auto", power=3)
    assert done.stdout.splitlines()[-1] == "made 13", done.stderr
    seen = [toys.powers(6, power=3).commit(f"all/{number:06d}").metrics["gpu"] for number in range(6)]
    assert set(seen) == {"0", "1"}
    without = toy(cluster, toys, shards=6, gpus=0, power=4)
    assert without.stdout.splitlines()[-1] == "made 7", without.stderr
    assert {toys.powers(6, power=4).commit(f"all/{n:06d}").metrics["gpu"] for n in range(6)} == {""}

    held = [f"all/{number:06d}" for number in range(12)]
    for unit in held:
        toys.marks.hold(unit)  # three of them on the three CPUs that are there
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(toy, cluster, toys, shards=12, gpus=0, power=5)
        late = cluster.start_node(cpus=2)
        wait_for(lambda: {one.pid for one in late.family()} & set(toys.marks.pids()))
        for unit in held:
            toys.marks.let_go(unit)
        joined = running.result()
    assert joined.stdout.splitlines()[-1].startswith("made "), joined.stderr

    cluster.start_node(environment={"AWS_SECRET_ACCESS_KEY": "of another store"})
    toys.workspace = s3
    without_rights = toy(cluster, toys, shards=3)
    assert without_rights.returncode == ConfigError.exit_code
    line = without_rights.stdout.splitlines()[-1]
    assert line.startswith(f"ConfigError: node 127.0.0.5 can't use the workspace {s3}: can't read {s3}/runs/.probe-")
    assert line.endswith("; give the nodes credentials and the endpoint in their own environment")
    assert "of another store" not in line
    cluster.nodes[-1].kill()
    wait_for(lambda: "127.0.0.5" not in cluster.alive())

    for unit in held[4:]:
        toys.marks.hold(unit)  # so that the run can't end before its head does
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(toy, cluster, toys, shards=12, power=6)
        wait_for(lambda: len(toys.powers(12, power=6).committed()) > 2)
        assert cluster.head is not None
        cluster.head.kill()
        lost = running.result()
    assert lost.returncode == IncompleteError.exit_code
    assert lost.stdout.splitlines()[-1] == (
        f"IncompleteError: the cluster at {cluster.address} has not answered for {SILENCE} s; finished units are kept, "
        "run again when it is back"
    )
