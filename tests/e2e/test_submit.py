"""`sppnet submit` on a cluster that somebody else started: a head, a node, a token, and an S3 server for everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.store import open_store
from tests.support.chain import Chain, make_steps, write_recipe
from tests.support.ray_cluster import ROOT, RayCluster
from tests.support.s3_server import BUCKET, S3Server
from tests.support.small_demo import attempts
from tests.support.waiting import PATIENCE, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.slow, pytest.mark.timeout(1800)]

MADE = ("images", "network", "maps")
SCALES = "maps.scales=[160, 240, 1200]"
"""Enough units to be interrupted in."""
UNITS = 3 * 10
"""Of maps: at three scales, of 14 images for training and 6 to judge, two a shard."""


@pytest.fixture(scope="module")
def cluster(s3_server: S3Server) -> Iterator[RayCluster]:
    """A head without CPUs for units, and one node, that know the S3 server from their own environments."""
    made = RayCluster(s3_server.environment)
    try:
        made.start_head(cpus=0)
        made.start_node()  # each CPU is a process that imports everything, for each job anew
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def data(chain: Chain, s3_server: S3Server) -> str:
    """The chain's data set, with its broken image, in S3: no node has a file of it."""
    uri = f"s3://{BUCKET}/data"
    store = open_store(uri)
    for path in sorted(chain.data.rglob("*")):
        if path.is_file():
            store.put(path.relative_to(chain.data).as_posix(), path.read_bytes())
    return uri


@dataclass
class Submitted:
    """A `sppnet submit` that runs as a process of its own."""

    process: subprocess.Popen[str]
    code: int = -1
    out: str = ""
    errors: str = ""

    def finish(self) -> Submitted:
        self.out, self.errors = self.process.communicate(timeout=2 * PATIENCE)
        self.code = self.process.returncode
        assert "Traceback" not in self.errors
        return self

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        assert found["exit_code"] == self.code
        return found


@dataclass(frozen=True)
class Place:
    """A recipe file on this machine, a workspace in S3, and a cluster."""

    folder: Path
    recipe: Path
    workspace: str
    cluster: RayCluster
    variables: tuple[tuple[str, str], ...] = ()
    start: tuple[str, ...] = ("-m", "jobs")

    def submit(self, *options: str) -> Submitted:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.cluster.client_environment, **dict(self.variables)}
        arguments = [
            str(self.recipe),
            "--address",
            self.cluster.jobs,
            "--workspace",
            self.workspace,
            *options,
            "--json",
        ]
        return Submitted(
            subprocess.Popen(
                [sys.executable, *self.start, "submit", *arguments],
                cwd=self.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )

    def made(self, step: str) -> list[str]:
        """The committed units of the artifact that begins so."""
        names = {entry.name.split("/", 1)[0] for entry in open_store(self.workspace).list()}
        return [unit for name in names if name.startswith(f"{step}-") for unit in attempts(self.workspace, name)]

    def details(self, job: str) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.ask(f"/api/jobs/{job}")
        return found


@pytest.fixture
def place(tmp_path: Path, cluster: RayCluster, data: str, s3: str, weights_file: Path) -> Place:
    steps = make_steps(Path("/"), weights_file)
    steps["images"]["dataset"]["root"] = data
    steps["images"]["shard_size"] = 2
    recipe = write_recipe(tmp_path / "recipe.yaml", {name: steps[name] for name in MADE})
    return Place(tmp_path, recipe, s3, cluster)


def objects(uri: str) -> dict[str, bytes]:
    store = open_store(uri)
    return {entry.name: store.read(entry.name) for entry in store.list()}


def test_a_run_is_made_by_a_job_and_a_finished_one_costs_nothing(place: Place, s3_server: S3Server) -> None:
    first = place.submit("--set", "maps.scales=[160]").finish()
    assert first.code == 0, first.errors
    job = first.json["job"]
    assert job.startswith("sppnet-chain-")
    assert (first.json["attempt"], first.json["state"]) == (1, "succeeded")
    assert first.json["report"].startswith(f"{place.workspace}/runs/chain/")
    assert f"job {job} submitted to {place.cluster.jobs}" in first.errors
    assert "maps: done, " in first.errors
    assert "images: quarantined broken: " in first.errors

    # Artifacts have the names that a run from here gives them, though the weights came by another way.
    status = subprocess.run(
        [
            sys.executable,
            "-m",
            "jobs",
            "status",
            place.recipe,
            "-w",
            place.workspace,
            "--set",
            "maps.scales=[160]",
            "--json",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(status.stdout.splitlines()[-1])["complete"]

    again = place.submit("--set", "maps.scales=[160]").finish()
    assert again.code == 0, again.errors
    assert (again.json["job"], again.json["attempt"]) == (f"{job[:-1]}2", 2)
    assert "units to make" not in again.errors
    assert "attempt 1 succeeded, this one goes on" in again.errors

    # No secret is told to whoever looks at the cluster or the workspace.
    logs = "".join(place.cluster.ask(f"/api/jobs/{name}/logs")["logs"] for name in (job, again.json["job"]))
    told = [json.dumps(place.cluster.ask("/api/jobs/")).encode(), logs.encode(), first.errors.encode()]
    told += [
        content
        for name, content in objects(place.workspace).items()
        if name.endswith((".json", ".jsonl", ".yaml", ".html"))
    ]
    for secret in (place.cluster.token, s3_server.secret_key, s3_server.access_key):
        assert not [text for text in told if secret.encode() in text]


def test_a_second_submit_follows_a_killed_driver_is_told_and_the_next_attempt_goes_on(place: Place) -> None:
    first = place.submit("--no-wait", "--set", SCALES).finish()
    assert first.code == 0, first.errors
    job = first.json["job"]
    followers = [place.submit("--set", SCALES), place.submit("--set", SCALES)]
    driver = wait_for(lambda: place.details(job)["driver_info"])
    (node,) = place.cluster.nodes
    wait_for(lambda: node.workers("ray::maps:extract"))  # seen at once; a listing in S3 may take as long as all maps
    os.kill(int(driver["pid"]), signal.SIGKILL)
    for follower in followers:
        follower.finish()
        assert follower.code == 3, follower.errors
        assert (follower.json["job"], follower.json["state"]) == (job, "failed")
        told = "killed, perhaps as memory ran out; finished units are kept, run again to go on"
        assert follower.json["error"] == f"job {job}: {told}"
        assert f"job {job} is running already at {place.cluster.jobs}: following it" in follower.errors
    before = attempts(place.workspace)
    assert len(before) >= 2, "the network, and the shard whose maps were begun"
    assert len(place.made("maps")) < UNITS

    both = [
        place.submit("--set", SCALES),
        place.submit("--set", SCALES),
    ]  # one starts the next attempt, and the other one follows it
    for submitted in both:
        submitted.finish()
        assert submitted.code == 0, submitted.errors
        assert (submitted.json["job"], submitted.json["attempt"]) == (f"{job[:-1]}2", 2)
    assert attempts(place.workspace).items() >= before.items()


def test_who_follows_may_leave_and_a_job_is_stopped(place: Place) -> None:
    long = ("--set", "maps.scales=[160, 240, 1200, 1600, 2000, 2400]")  # or it may end before it is left
    started = place.submit("--no-wait", *long).finish()
    job = started.json["job"]
    leaver, follower = place.submit(*long), place.submit(*long)
    assert leaver.process.stderr
    wait_for(lambda: "following it" in leaver.process.stderr.readline())
    leaver.process.send_signal(signal.SIGINT)
    leaver.finish()
    assert leaver.code == 130, leaver.errors
    assert leaver.json["error"].startswith(f"no longer following job {job}, which goes on; ")
    assert place.details(job)["status"] in ("PENDING", "RUNNING")
    wait_for(lambda: place.details(job)["status"] == "RUNNING")
    stopped = place.submit("--stop", *long).finish()
    assert stopped.code == 0, stopped.errors
    assert (stopped.json["job"], stopped.json["state"]) == (job, "stopped")
    follower.finish()
    assert follower.code == 3, follower.errors
    assert follower.json["error"].endswith("submit again: it goes on")
    again = place.submit("--stop", *long).finish()
    assert (again.code, again.json["job"]) == (0, None)


@pytest.mark.parametrize(
    ("override", "code", "said"),
    [
        ("images.max_quarantined=0", 4, "of 20 keys quarantined"),
        ("images.dataset.root=s3://no-such-bucket-here/data", 2, "no-such-bucket-here"),
    ],
)
def test_a_failed_runs_exit_code_is_the_commands(place: Place, override: str, code: int, said: str) -> None:
    failed = place.submit("--set", override).finish()
    assert failed.code == code, failed.errors
    assert failed.json["state"] == "failed"
    assert said in failed.json["error"]


def test_a_wrong_token_is_told(place: Place) -> None:
    refused = replace(place, variables=(("RAY_AUTH_TOKEN", "0" * 64),)).submit().finish()
    assert refused.code == 2
    assert refused.errors.splitlines() == [
        f"sppnet: Ray at {place.cluster.jobs} refuses the token: it is not that of its head; set RAY_AUTH_TOKEN, or "
        "RAY_AUTH_TOKEN_PATH for a file that holds it"
    ]


def test_a_head_without_the_command_and_a_cluster_that_goes_away(
    place: Place, make_cluster: Callable[..., RayCluster]
) -> None:
    bare = make_cluster(with_sppnet=False)
    bare.start_head()
    there = replace(place, cluster=bare)
    without = there.submit().finish()
    assert without.code == 2, without.errors
    assert without.json["error"].endswith(": the head has no command `sppnet`; install sppnet there, or run its image")

    command = bare.folder / "bin" / "sppnet"
    command.write_text("#!/bin/sh\necho at work\nsleep 600\n")
    command.chmod(0o755)
    hasty = "from jobs.submit import following; following._GONE_SECONDS = 8.0; from jobs.__main__ import main; main()"
    follower = replace(there, start=("-c", hasty)).submit()
    assert follower.process.stderr
    wait_for(lambda: "at work" in follower.process.stderr.readline())
    assert bare.head
    bare.head.kill()
    follower.finish()
    assert follower.code == 3, follower.errors
    assert "has not answered for 8 s" in follower.json["error"]
