"""Training on Ray Train: killed workers, killed drivers, errors. One local Ray for all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Workspace
from pipelines.executors.ray_core import RayExecutor
from pipelines.executors.ray_train import _cleaning
from pipelines.executors.retries import RetryLimits
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.config import Rate
from pipelines.training.loop import train_unit
from pipelines.training.workers import LocalWorker
from sppnet.errors import ConfigError, IncompleteError
from tests.support import tiny_finetune
from tests.support.gloo_pair import PairWorker, leave_group
from tests.support.tiny_workspace import make_workspace
from tests.support.waiting import PATIENCE, wait_for_step

pytestmark = pytest.mark.ray

STEPS = 1500  # seconds of work, so that a kill comes long before the end


def finetune_spec(workspace: Workspace, name: str, **changes: Any) -> StageSpec:
    fields: dict[str, Any] = {
        "schedule": (Rate(lr=0.01, steps=STEPS),),
        "checkpoint_every": 50,
        "log_every": 50,
        "measure_every": 500,
    }
    spec = tiny_finetune.finetune_spec(workspace, name, **{**fields, **changes})
    tiny_finetune.sample(spec)
    return spec


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("ray-train"))


DRIVER = """
import sys
sys.path.insert(0, {root!r})
from tests.pipelines.executors.test_ray_train import finetune_spec, train
from pipelines.executors.ray_core import RayExecutor
from pipelines.engine.workspace import Workspace
train(RayExecutor("local", num_cpus=2), finetune_spec(Workspace.open({workspace!r}), "head-driver"))
"""


class KilledDriver:
    """A process with a Ray of its own that is killed while it trains; it starts at once, beside the other tests."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.spec = finetune_spec(workspace, "head-driver")
        self.log = folder / "driver.log"
        self.stopped_at: int | None = None
        root = str(Path(__file__).resolve().parents[3])
        script = DRIVER.format(root=root, workspace=workspace.store.uri)
        environment = {**os.environ, "PYTHONPATH": root, "TMPDIR": "/tmp"}
        with self.log.open("wb") as log:
            command = [sys.executable, "-c", script]
            self.driver = subprocess.Popen(
                command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.thread = threading.Thread(target=self._kill, daemon=True)
        self.thread.start()

    def _kill(self) -> None:
        family: list[psutil.Process] = []
        try:
            wait_for_step(self.spec, 150)
            family = psutil.Process(self.driver.pid).children(recursive=True)
        finally:
            self.driver.kill()
            for process in family:  # as if the machine had gone: Ray's own worker would end the training first
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.driver.wait()
        psutil.wait_procs(family, timeout=PATIENCE)
        steps = Checkpoints(Workspace.open(self.spec.workspace).artifact(self.spec.artifact)).steps()
        self.stopped_at = steps[-1] if steps else None


@pytest.fixture(scope="module", autouse=True)
def killed_driver(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KilledDriver]:
    found = KilledDriver(workspace, tmp_path_factory.mktemp("driver"))
    yield found
    found.driver.kill()


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    found = RayExecutor("local", num_cpus=4)
    yield found
    found.close()


def train(executor: RayExecutor, spec: StageSpec) -> bytes:
    phase = build_stage(spec).phases()[-1]
    commit = executor.train(spec, phase, "model")
    artifact = Workspace.open(spec.workspace).artifact(spec.artifact)
    assert commit.unit == "model"
    return artifact.read("model")


def run_rank(rank: int, spec: StageSpec, rendezvous: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    train_unit(spec, "model", PairWorker(rank))
    leave_group()


def ray_processes(name: str, driver: int) -> list[int]:
    """Process ids of our own Ray that are called so, not of the other driver's; the oldest first."""
    found: list[tuple[float, int]] = []
    for child in psutil.Process().children(recursive=True):
        try:
            called, born = child.cmdline()[:1], child.create_time()
            if driver in {parent.pid for parent in child.parents()}:
                continue
        except psutil.Error:  # gone, or going
            continue
        if called and name in called[0]:
            found.append((born, child.pid))
    return [pid for _, pid in sorted(found)]


def test_a_killed_worker_changes_nothing(
    workspace: Workspace, executor: RayExecutor, killed_driver: KilledDriver, tmp_path: Path
) -> None:
    reference = finetune_spec(workspace, "head-pair", workers=2)
    context = torch.multiprocessing.get_context("spawn")
    ranks = [context.Process(target=run_rank, args=(r, reference, str(tmp_path / "meet"))) for r in range(2)]
    for rank in ranks:
        rank.start()

    spec = finetune_spec(workspace, "head-killed", workers=2)
    killed: list[tuple[int, bool]] = []

    def kill_a_worker() -> None:
        wait_for_step(spec, 200)
        workers = ray_processes("RayTrainWorker", killed_driver.driver.pid)
        os.kill(workers[-1], signal.SIGKILL)  # those of the test before may not have ended yet
        killed.append((len(workers[-2:]), "model" in workspace.artifact(spec.artifact).committed()))

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    found = train(executor, spec)
    killer.join()
    assert killed == [(2, False)]
    for rank in ranks:
        rank.join(timeout=PATIENCE)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    assert found == workspace.artifact("head-pair").read("model")
    assert workspace.store.list(f"{spec.artifact}/checkpoints") == []
    assert not [entry for entry in workspace.store.list("runs") if spec.artifact in entry.name]


def test_a_killed_controller_is_begun_again(
    workspace: Workspace, executor: RayExecutor, killed_driver: KilledDriver, caplog: pytest.LogCaptureFixture
) -> None:
    """As the memory monitor kills it, or a node that goes: `fit` itself is lost, not a worker of it."""
    spec = finetune_spec(workspace, "head-controller")
    stopped_at: list[int] = []

    def kill_the_controller() -> None:
        wait_for_step(spec, 200)
        os.kill(ray_processes("TrainController", killed_driver.driver.pid)[-1], signal.SIGKILL)
        stopped_at.extend(Checkpoints(workspace.artifact(spec.artifact)).steps()[-1:])

    killer = threading.Thread(target=kill_the_controller)
    killer.start()
    found = train(executor, spec)
    killer.join()
    assert stopped_at[0] < STEPS
    (line,) = [record.message for record in caplog.records if "training was lost" in record.message]
    assert line.startswith("step finetune: training was lost (ActorDiedError: ")
    alone = finetune_spec(workspace, "head-undisturbed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train_unit(alone, "model", LocalWorker(torch.device("cpu")))
    torch.set_num_threads(threads)
    assert found == workspace.artifact(alone.artifact).read("model")


def test_a_controller_that_is_lost_every_time_is_given_up(
    workspace: Workspace, executor: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.exceptions import ActorUnavailableError

    tried: list[str] = []

    def lost(trainer: Any, check: Any) -> Exception:
        tried.append(trainer.run_config.name.rpartition("-")[0])
        return ActorUnavailableError("RpcError: Too many pings", None)

    monkeypatch.setattr("pipelines.executors.ray_train._fit", lost)
    monkeypatch.setattr(executor, "limits", RetryLimits(infrastructure=3, first_wait=0.01))
    with pytest.raises(IncompleteError) as caught:
        train(executor, finetune_spec(workspace, "head-lost"))
    assert tried == ["head-lost"] * 3
    assert str(caught.value).startswith("step finetune: training stopped: ActorUnavailableError: ")
    assert "Too many pings" in str(caught.value)
    assert str(caught.value).endswith(" (3 tries); checkpoints are kept, run again to go on")


def test_a_killed_driver_changes_nothing(workspace: Workspace, killed_driver: KilledDriver) -> None:
    spec = killed_driver.spec
    artifact = workspace.artifact(spec.artifact)
    killed_driver.thread.join(timeout=PATIENCE)
    assert killed_driver.stopped_at is not None, killed_driver.log.read_text()
    assert 150 <= killed_driver.stopped_at < STEPS
    assert "model" not in artifact.committed()

    # What Ray left behind is taken up without Ray: the checkpoints are the same in both modes.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for unfinished in (spec, finetune_spec(workspace, "head-alone")):
        train_unit(unfinished, "model", LocalWorker(torch.device("cpu")))
    torch.set_num_threads(threads)
    assert artifact.read("model") == workspace.artifact("head-alone").read("model")


def test_a_workers_error_comes_out_as_it_was(workspace: Workspace, executor: RayExecutor) -> None:
    spec = finetune_spec(workspace, "head-nan", workers=2, schedule=(Rate(lr=1e30, steps=50),))
    with pytest.raises(IncompleteError, match=r"^step finetune: training diverged, the loss of training step \d+ is"):
        train(executor, spec)
    assert "model" not in workspace.artifact(spec.artifact).committed()
    assert workspace.store.list(f"{spec.artifact}/checkpoints") == []


def test_gpus_that_the_machine_does_not_have_are_refused_at_once(workspace: Workspace, executor: RayExecutor) -> None:
    with pytest.raises(ConfigError, match="3 workers ask for 1 CPU and 1 GPU each, this machine has 4 CPUs and 0 GPU"):
        train(executor, finetune_spec(workspace, "head-gpus", gpus=1, workers=3))


def test_what_can_not_be_cleaned_up_hides_no_error(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that refuses in mid-run refuses the removal too; its line named a file that nobody knows."""
    artifact = workspace.artifact("network-0123456789ab")

    def refuse(store: Any, name: str) -> None:
        raise ConfigError(f"can't delete {name}")

    monkeypatch.setattr(type(artifact.store), "delete", refuse)
    with pytest.raises(ConfigError, match=r"^can't list$"), _cleaning(artifact, "attempt", "name"):
        raise ConfigError("can't list")
    assert "what the training left can't be removed: can't delete network-0123456789ab/" in caplog.text
    with pytest.raises(ConfigError, match=r"^can't delete"), _cleaning(artifact, "attempt", "name"):
        pass
