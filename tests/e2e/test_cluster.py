"""The demo's chain as a job on a cluster that someone else started, and that loses nodes and gets others meanwhile.

The head and the nodes are processes of `ray start`, each with an address and a folder of its own; they ask for a token
and share nothing but an S3 server.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipelines.engine.workspace import Workspace
from pipelines.training.checkpoints import Checkpoints
from tests.support.ray_cluster import RayCluster, RayNode
from tests.support.s3_server import S3Server
from tests.support.small_demo import (
    HEAD_STEPS,
    Command,
    Undisturbed,
    artifact_of,
    check_ledger,
    contents,
    overrides,
    small_engine,
)

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.slow, pytest.mark.timeout(900)]

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
    options = [*overrides(undisturbed.data), *WORKERS, "--verbose"]
    engine = small_engine(undisturbed.data, s3)
    workspace = Workspace.open(s3)
    maps, head = (workspace.artifact(artifact_of(engine, step)) for step in ("maps", "head"))

    job = start("submit", "demo", "--address", cluster.jobs, "--workspace", s3, *options)
    job.wait_until(maps.committed)
    nodes.replace(job.wait_until(lambda: nodes.at("ray::maps:extract")))

    checkpoints = Checkpoints(head)
    job.wait_until(checkpoints.steps)
    assert len([node for node in nodes.alive if node.workers("RayTrainWorker")]) == 2  # a worker on each node
    nodes.replace(nodes.alive[0])
    at_kill = checkpoints.steps()[-1]
    assert at_kill < HEAD_STEPS
    job.wait_until(lambda: (checkpoints.steps() or [HEAD_STEPS])[-1] > at_kill)

    nodes.replace(job.wait_until(lambda: nodes.at("ray::svms-pool5:gather") or nodes.at("ray::svms-pool5:mine-1")))
    result = job.finish()

    assert result["state"] == "succeeded"
    status = start("status", "demo", "--workspace", s3, *overrides(undisturbed.data), *WORKERS).finish()
    assert status["complete"]
    check_ledger(engine, status)
    # All but what two workers train together is to the byte what one process wrote on the disk.
    expected = contents(str(undisturbed.workspace))
    for step in ("images", "windows", "network", "maps"):
        made = contents(s3, artifact_of(engine, step))
        assert made
        assert made.items() <= expected.items(), step
    secrets = {s3_server.secret_key, cluster.token}
    assert not [secret for secret in secrets if secret in job.errors]
    for entry in workspace.store.list("runs") + workspace.store.list("uploads"):
        body = workspace.store.read(entry.name).decode(errors="replace")
        assert not [secret for secret in secrets if secret in body], entry.name
    assert "head: done, 1 units" in job.errors
