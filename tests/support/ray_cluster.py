"""A real Ray cluster for tests: a head and nodes as processes of `ray start`, each at its own loopback address.

Nothing of this project starts it: it is what somebody else's `ray start` or KubeRay would have made. It asks for a
token, its nodes share no folder, and ports, folders and token are its own, so that several can stand side by side.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.cut_networks import Machine, Switch
from tests.support.s3_server import free_ports
from tests.support.waiting import PATIENCE, is_alive, wait_for

ROOT = Path(__file__).resolve().parents[2]
_STARTED = "Ray runtime started."
_TOO_SLOW = "timed out during startup"
_STARTS = 3
"""So often a node is begun that Ray gives up because it has not joined within 30 seconds."""
_STORE_BYTES = 100 * 2**20
"""Memory of a node's object store: hardly anything of this project goes through it."""


class RayNode:
    """One `ray start --block` and all processes below it: a machine of the cluster.

    Attributes:
        ip: Its own loopback address.
        log: What `ray start` said.
        machine: Its own machine, if it has one.
        process: The `ray start`.
    """

    def __init__(
        self,
        ip: str,
        folder: Path,
        options: list[str],
        environment: Mapping[str, str],
        machine: Machine | None = None,
    ) -> None:
        self.ip, self.log = ip, folder.with_suffix(".log")
        self.machine = machine
        self._family: dict[int, psutil.Process] = {}
        (port,) = free_ports(1)
        command = [
            *(machine.run if machine else ()),
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *options),
            *(f"--node-ip-address={ip}", f"--temp-dir={folder}", f"--dashboard-agent-listen-port={port}"),
            *("--min-worker-port=0", "--max-worker-port=0", f"--object-store-memory={_STORE_BYTES}"),
            *("--no-monitor", "--include-log-monitor=false"),  # of processes that nothing here asks anything
        ]
        self._command, self._environment = command, environment
        self._begin()

    def _begin(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self.log.parent,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        """Waits until the node has joined; it is begun again where Ray took a busy machine for a dead one."""
        for _ in range(_STARTS - 1):
            wait_for(lambda: self._says(_STARTED) or self.process.poll() is not None)
            if self._says(_STARTED) or not self._says(_TOO_SLOW):
                break
            self.kill()
            self._begin()
        wait_for(lambda: self._says(_STARTED), self.check_running)

    def _says(self, text: str) -> bool:
        return text in self.log.read_text(errors="replace")

    def check_running(self) -> None:
        """Fails with what `ray start` said if it has ended."""
        assert self.process.poll() is None, f"ray start ended:\n{self.log.read_text(errors='replace')[-3000:]}"

    def family(self) -> list[psutil.Process]:
        """All processes of the node that live, also those whose parent has gone."""
        if self.process.poll() is None:
            root = psutil.Process(self.process.pid)
            self._family |= {one.pid: one for one in (root, *root.children(recursive=True))}
        return [one for one in self._family.values() if one.is_running()]

    def workers(self, title: str) -> list[psutil.Process]:
        """Its worker processes that are at a task or actor of that name now, such as `ray::maps:extract`."""
        return [one for one in self.family() if title in _title(one)]

    def kill(self) -> None:
        """SIGKILL of every process of the node at once, as when its machine goes away."""
        family = self.family()
        for one in family:
            _send(one, signal.SIGSTOP)  # or one would start another while this goes on
        for one in {*family, *self.family()}:
            _send(one, signal.SIGKILL)
        self.process.wait()
        wait_for(lambda: not any(is_alive(one.pid) for one in family))  # what nobody has reaped yet is gone too


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class RayCluster:
    """A head, and nodes that join it.

    Args:
        environment: More environment variables of every process of it, such as those of an S3 server, or Ray's
            keepalive; by default Ray has its own settings but for the token.
        with_sppnet: Whether the head has a command `sppnet`.
        takes_jobs: Whether the head has a dashboard, whose eleven processes are a third of its start.
        switch: Gives each node a machine of its own, whose network can be cut; else they share this one's loopback.

    Attributes:
        folder: Where logs and sessions are; its path is short enough for Ray's sockets.
        token: What it asks for.
        address: `host:port` to join.
        jobs: URL of its dashboard, which takes jobs.
        head: The head's node.
        nodes: The other nodes, in the order in which they were started.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        with_sppnet: bool = True,
        takes_jobs: bool = True,
        switch: Switch | None = None,
    ) -> None:
        self._switch, self._takes_jobs = switch, takes_jobs
        self.folder = Path(tempfile.mkdtemp(prefix="rc-", dir="/tmp"))
        self.token = secrets.token_hex(32)
        self.nodes: list[RayNode] = []
        gcs, dashboard = free_ports(2)
        self._head_machine = switch.add() if switch else None
        self._head_ip, served = ("127.0.0.2", "127.0.0.1") if switch is None else (self._head_machine.ip,) * 2
        self.address, self.jobs = f"{self._head_ip}:{gcs}", f"http://{served}:{dashboard}"
        self._ports = [f"--port={gcs}", f"--dashboard-host={served}", f"--dashboard-port={dashboard}"]
        self._ports += [] if takes_jobs else ["--include-dashboard=false"]
        self.head: RayNode | None = None
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self._environment |= {
            "PATH": f"{self._make_command(with_sppnet)}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            **self.client_environment,
            **(environment or {}),
        }

    def _make_command(self, with_sppnet: bool) -> Path:
        """Writes the command `sppnet` as an installation would; returns its folder."""
        folder = self.folder / "bin"
        folder.mkdir()
        if with_sppnet:
            script = folder / "sppnet"
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m jobs "$@"\n')
            script.chmod(0o755)
        return folder

    @property
    def client_environment(self) -> dict[str, str]:
        """What a process needs to be let in."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def start_head(self, cpus: int = 1, options: tuple[str, ...] = ()) -> RayNode:
        """Starts the head; returns when it lets nodes join and takes jobs, if it ever does."""
        (client,) = free_ports(1)
        ports = ["--head", *self._ports, f"--ray-client-server-port={client}"]
        head = self._start(self._head_ip, "h", [*ports, f"--num-cpus={cpus}", *options], {}, self._head_machine)
        self.head = head
        head.wait_until_up()
        if self._takes_jobs:
            wait_for(self._answers, head.check_running)
        return head

    def start_node(
        self,
        cpus: int = 1,
        options: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        *,
        wait: bool = True,
    ) -> RayNode:
        """Starts another node.

        Args:
            cpus: Its CPUs.
            options: More options of `ray start`, such as `--num-gpus=1` or `--resources={...}`.
            environment: Variables that differ from the other nodes'.
            wait: Whether to wait until it has joined.
        """
        number = len(self.nodes) + 3
        joins = [f"--address={self.address}", f"--num-cpus={cpus}", *options]
        machine = self._switch.add() if self._switch else None
        ip = machine.ip if machine else f"127.0.0.{number}"
        node = self._start(ip, f"n{number}", joins, environment or {}, machine)
        self.nodes.append(node)
        if wait:
            node.wait_until_up()
        return node

    def _start(
        self, ip: str, name: str, options: list[str], environment: Mapping[str, str], machine: Machine | None
    ) -> RayNode:
        return RayNode(ip, self.folder / name, options, {**self._environment, **environment}, machine)

    def ask(self, path: str) -> Any:
        """What the dashboard answers to a path, as JSON."""
        request = urllib.request.Request(self.jobs + path, headers={"Authorization": f"Bearer {self.token}"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            return json.load(answer)

    def _answers(self) -> bool:
        try:
            return isinstance(self.ask("/api/jobs/"), list)
        except OSError:
            return False

    def alive(self) -> set[str]:
        """Addresses of the nodes that the head takes for alive."""
        found = self.ask("/nodes?view=summary")["data"]["summary"]
        return {one["ip"] for one in found if one["raylet"]["state"] == "ALIVE"}

    def end(self) -> None:
        """Ends every process, the head's last, and removes the folder; nobody needs what they would tidy up."""
        for node in (*self.nodes, *([self.head] if self.head else [])):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def make_cluster() -> Iterator[Callable[..., RayCluster]]:
    """Makes clusters, none of them started, and ends what is left of them."""
    made: list[RayCluster] = []

    def make(environment: Mapping[str, str] | None = None, **options: bool) -> RayCluster:
        made.append(RayCluster(environment, **options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.end()
