"""The executor on Ray: a local Ray that it starts, or a cluster that someone else started and that it joins."""

from __future__ import annotations

import atexit
import logging
import signal
import sys
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from pipelines.engine.commits import Commit
from pipelines.engine.executor import Job, Outcome, UnitFailure, WorkQueue, one_line
from pipelines.engine.phases import Phase
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage
from pipelines.executors import ray_address, ray_environment
from pipelines.executors.capacity import Capacity, Growth
from pipelines.executors.ray_metrics import TaskMetrics
from pipelines.executors.ray_tasks import RayTasks
from pipelines.executors.ray_watch import RayWatch, in_time
from pipelines.executors.ray_work import import_ray
from pipelines.executors.ray_workspace import check_workspace
from pipelines.executors.retries import RetryLimits
from pipelines.executors.scratch import leave_scratch, make_scratch
from pipelines.executors.task_pool import TaskPool
from pipelines.executors.versions import check_version, told_version
from sppnet.errors import ConfigError, IncompleteError
from sppnet.huge_pages import huge_page_variables

logger = logging.getLogger(__name__)

_NAMESPACE = "sppnet"
_RAYS_OWN = "r"  # in ours, which nobody else may enter: Ray lets everybody on the machine into its own
_START_TRIES = 3
_UNBOUNDED = 1_000_000
_LOOK_SECONDS = 5.0
_LEAVE_SECONDS = 15.0


def _is_connected() -> bool:
    return "ray" in sys.modules and bool(import_ray().is_initialized())


class RayExecutor:
    """Runs units as Ray tasks, on a local Ray that it starts or on a cluster that it joins.

    A process that has connected Ray itself keeps that connection; the arguments are then without effect.
    A local Ray listens on loopback only, asks for a token, and keeps its files in a folder of its own that goes with
    it. Workers take the store's credentials from their own environment: none travel with the tasks.

    Args:
        address: `host:port` or `auto` of a cluster to join. None: `RAY_ADDRESS` if set (Ray sets it in submitted
            jobs), else a local Ray; `local`: a local Ray in any case.
        num_cpus: Logical CPUs of the local Ray; None for all that the machine has.
        dashboard: Whether the local Ray serves its dashboard on loopback.
        runtime_env: More of Ray's runtime environment for the workers, such as `pip` or `working_dir`.
        limits: How often a unit is tried.

    Raises:
        ConfigError: There is no Ray at the address, or it refuses.
        IncompleteError: A local Ray did not start.
    """

    name = "ray"

    def __init__(
        self,
        address: str | None = None,
        num_cpus: int | None = None,
        *,
        dashboard: bool = False,
        runtime_env: Mapping[str, Any] | None = None,
        limits: RetryLimits | None = None,
    ) -> None:
        self.limits = limits or RetryLimits()
        self._runtime_env = runtime_env or {}
        self._folder: Path | None = None
        self._keep_folder = False
        joined = ray_address.resolve_address(address)
        self._owned = not _is_connected()
        if not self._owned:
            logger.info("ray is connected already: its cluster is used, and left as it is")
        elif joined is None:
            self._start(num_cpus, dashboard)
        elif num_cpus is not None:
            raise ConfigError(f"num_cpus={num_cpus} is for a local Ray; the cluster at {joined} has its own")
        else:
            self._join(joined)
        self.local = self._owned and joined is None
        self._joined = self._owned and joined is not None
        self._checked: set[str] = set()
        self._watch = RayWatch(_asked(self.local))
        self._capacity: Capacity | None = None
        self.metrics = TaskMetrics()

    def _start(self, num_cpus: int | None, dashboard: bool) -> None:
        if num_cpus is not None and num_cpus < 1:
            raise ConfigError(f"num_cpus={num_cpus}: a local Ray needs at least 1")
        ray_environment.set_up(local=True)
        ray = import_ray()
        options = {"num_cpus": num_cpus, "include_dashboard": dashboard, "dashboard_host": "127.0.0.1"}
        for attempt in range(1, _START_TRIES + 1):
            self._folder = make_scratch()
            try:
                ray.init(
                    "local", _temp_dir=str(self._folder / _RAYS_OWN), **options, **self._common_options(local=True)
                )
                break
            except Exception as error:  # Ray raises a bare Exception where its processes take more than 30 seconds
                leave_scratch(self._folder)
                if attempt == _START_TRIES:
                    raise IncompleteError(
                        f"a local Ray did not start: {one_line(error)}; if the machine is busy, run again later or "
                        "with --local"
                    ) from error
                logger.warning("ray did not start, trying again: %s", one_line(error))
        _take_sigterm()
        logger.info("ray started local cpus=%s", ray.cluster_resources().get("CPU"))

    def _join(self, address: str) -> None:
        check_version()
        ray_address.check_cluster(address)
        ray_environment.set_up(local=False)
        ray = import_ray()
        try:
            ray.init(address, **self._common_options(local=ray_address.is_loopback(address)))
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise ConfigError(
                f"can't join Ray at {address}: {one_line(error)}; check the address, RAY_AUTH_TOKEN and the versions"
            ) from error
        _take_sigterm()
        logger.info("ray joined address=%s nodes=%d", address, len(ray.nodes()))

    def _common_options(self, *, local: bool) -> dict[str, Any]:
        """Return what starts and joins alike; `local`: all workers are on this machine, with this interpreter."""
        variables = huge_page_variables() | ray_environment.worker_variables() | told_version()
        variables |= self._runtime_env.get("env_vars", {})
        python = ray_environment.worker_python() if local else {}
        return {
            "namespace": _NAMESPACE,
            "log_to_driver": False,
            "logging_level": logging.WARNING,
            "runtime_env": {**python, **self._runtime_env, "env_vars": variables},
        }

    def run(self, queue: WorkQueue) -> Generator[tuple[Job, Outcome], None, None]:
        """Run units as tasks; see `Executor.run`. Closing the iterator cancels what is in flight."""
        for phase in queue.open_phases()[:1]:
            self._check_workspace(phase.spec.workspace)
        pool = TaskPool(queue, RayTasks(self.capacity, self._watch.check), limits=self.limits, metrics=self.metrics)
        try:
            for job, outcome in pool.outcomes():
                self._keep_folder |= isinstance(outcome, UnitFailure)
                yield job, outcome
        finally:
            if not self._watch.is_lost:
                pool.cancel()

    def _check_workspace(self, uri: str) -> None:
        """Check once that every node of a cluster that was joined can use the workspace."""
        if self._joined and uri not in self._checked:
            check_workspace(uri)
            self._checked.add(uri)

    def capacity(self) -> Capacity:
        """Look at what the cluster has now, and at what its autoscaler may add."""
        if self._capacity is None:
            self._capacity = self._look()
        elif not self._watch.is_silent:
            self._capacity = in_time(self._look, _LOOK_SECONDS) or self._capacity
        return self._capacity

    def _look(self) -> Capacity:
        ray = import_ray()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if self.local:
            return Capacity(nodes, where="this machine", local=True)
        return Capacity(nodes, _growth(), where=f"the cluster at {ray.get_runtime_context().gcs_address}")

    def train(self, spec: StageSpec, phase: Phase, unit: str) -> Commit:
        """Train on Ray Train; see `Executor.train`."""
        from pipelines.executors.ray_train import train_on_ray

        self._check_workspace(spec.workspace)
        train_on_ray(spec, phase, unit, capacity=self.capacity(), limits=self.limits, check=self._watch.check)
        return build_stage(spec).artifact.commit(unit)

    def close(self) -> None:
        """Leave the cluster; a local Ray ends, and its logs are kept only if units failed."""
        silent = self._watch.is_silent
        self._watch.close()
        if self._owned:
            _leave(silent=silent, local=self.local)
        if self._folder is None:
            return
        if self._keep_folder:
            logger.warning("units failed: the workers' logs are kept in %s until gc takes them", self._folder)
        leave_scratch(self._folder, remove=not self._keep_folder)


def _take_sigterm() -> None:
    """Have SIGTERM call its Python handler alone: Ray's C++ part aborts who does not end within three seconds of it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def _leave(*, silent: bool, local: bool) -> None:
    """End the connection to Ray, and a local Ray; of one that does not answer no goodbye is awaited.

    Args:
        silent: Whether it does not answer.
        local: Whether it is this process's own.
    """
    ray = import_ray()
    if not silent:
        ray.shutdown()
        return
    from ray._private import worker

    node: Any = worker._global_node
    if local and node is not None:
        node.kill_all_processes(check_alive=False, allow_graceful=False)
    atexit.unregister(worker.shutdown)  # it would wait like this one
    in_time(ray.shutdown, _LEAVE_SECONDS)


def _asked(local: bool) -> dict[str, str]:
    """Return what this process can't do without, by its name in messages, with its address: the head, its own node."""
    ray = import_ray()
    context = ray.get_runtime_context()
    mine = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    head = "the local Ray" if local else f"the cluster at {context.gcs_address}"
    node = f"Ray's node on this machine ({mine['NodeManagerAddress']})"
    return {head: context.gcs_address, node: f"{mine['NodeManagerAddress']}:{mine['NodeManagerPort']}"}


def _growth() -> list[Growth]:
    """Return what an autoscaler has told the cluster that it may add; nothing where there is none."""
    from ray._private.state import state

    config = state.get_cluster_config()
    groups = config.node_group_configs if config else ()
    return [
        Growth(dict(group.resources), group.max_count if group.max_count >= 0 else _UNBOUNDED)
        for group in groups
        if group.max_count
    ]
