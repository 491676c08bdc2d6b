"""Units as Ray tasks: workers that die, hang or are late, poisoned units, and what the driver counts."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import psutil
import pytest

from pipelines.engine.memory_faults import FEWER_UNITS
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage
from pipelines.executors.local import LocalExecutor
from pipelines.executors.ray_core import RayExecutor
from pipelines.executors.ray_tasks import _judge
from pipelines.executors.task_cluster import TaskFailedError
from sppnet.errors import ArtifactError, ConfigError, IncompleteError
from tests.support.toy_fixtures import UNITS, Toys
from tests.support.unit_list import run_units
from tests.support.waiting import is_alive, wait_for

pytestmark = pytest.mark.ray


def tries(toys: Toys) -> list[int]:
    return [toys.marks.tries(unit) for unit in UNITS]


def let_others_through(executor: RayExecutor, tmp_path: Path) -> None:
    """Waits until both CPUs are free, then runs other units on them: what was queued before would have begun."""
    import ray

    wait_for(lambda: ray.available_resources().get("CPU") == 2)
    later = Toys(str(tmp_path / "later"), tmp_path / "later-marks")
    later.run(executor, shards=6)
    assert tries(later) == [1] * 6


def test_processes_are_kept_and_no_more_than_fit_run_at_once(toys: Toys, ray_executor: RayExecutor) -> None:
    toys.run(ray_executor, shards=6)
    assert tries(toys) == [1] * 6
    assert 1 <= len(set(toys.marks.pids())) <= 2


@pytest.mark.parametrize(("cpus", "threads"), [(1, "1"), (2, "2"), (64, "2")])
def test_libraries_get_the_tasks_cpus(toys: Toys, ray_executor: RayExecutor, cpus: int, threads: str) -> None:
    """Two CPUs are there: a unit that wants 64 gets both."""
    toys.run(ray_executor, shards=1, cpus=cpus)
    assert toys.powers(1).commit(UNITS[0]).metrics["threads"] == threads


def test_gpus_that_are_not_there_are_a_config_error(toys: Toys, ray_executor: RayExecutor) -> None:
    with pytest.raises(ConfigError) as caught:
        toys.run(ray_executor, gpus=0.5)
    assert str(caught.value) == (
        "step raise: a unit asks for 1 CPU and 0.5 GPUs, this machine has 2 CPUs and 0 GPUs; "
        "give --gpus 0, or join a cluster that has them"
    )


def test_a_unit_whose_worker_dies_is_tried_again(toys: Toys, ray_executor: RayExecutor) -> None:
    toys.marks.set("kill", UNITS[1], 2)
    toys.marks.set("fail", UNITS[2], 1)
    toys.marks.set("connection", UNITS[3], 3)
    recorder = toys.run(ray_executor, shards=6)
    assert len(recorder.done) == 13
    assert recorder.failed == []
    assert tries(toys) == [1, 3, 2, 4, 1, 1]


def test_a_poison_unit_is_given_up_and_all_others_finish(toys: Toys, ray_executor: RayExecutor) -> None:
    toys.marks.set("kill", UNITS[1], 99)
    toys.marks.set("fail", UNITS[4], 99)
    with pytest.raises(IncompleteError) as caught:
        toys.run(ray_executor, shards=6)
    assert str(caught.value).startswith("step raise: 2 of 6 units failed: all/00000")
    assert "all/000001: WorkerCrashedError: The worker died unexpectedly" in str(caught.value)
    assert "all/000004: ValueError: told to fail (2 tries)" in str(caught.value)
    assert tries(toys) == [1, 4, 1, 1, 2, 1]
    kept = toys.powers(6)
    assert kept.committed() == set(UNITS) - {UNITS[1], UNITS[4]}
    toys.marks.set("kill", UNITS[1], 0)
    toys.marks.set("fail", UNITS[4], 0)
    recorder = toys.run(ray_executor, shards=6)
    assert {unit for _, unit in recorder.done} == {UNITS[1], UNITS[4], "sum/0_1_2_3_4_5"}


def test_unreadable_inputs_are_tried_twice_and_told_apart(toys: Toys, ray_executor: RayExecutor) -> None:
    toys.marks.set("artifact", UNITS[0], 99)
    with pytest.raises(ArtifactError, match=r"all/000000: all/000000 is not there \(2 tries\)"):
        toys.run(ray_executor)
    assert tries(toys)[:3] == [2, 1, 1]


def test_a_config_error_ends_the_phase_at_once_as_itself(toys: Toys, ray_executor: RayExecutor, tmp_path: Path) -> None:
    toys.marks.set("config", UNITS[0], 99)
    with pytest.raises(ConfigError) as caught:
        toys.run(ray_executor, shards=6, pause=1.0)
    assert type(caught.value) is ConfigError
    assert str(caught.value) == "all/000000 can never work"
    let_others_through(ray_executor, tmp_path)  # a task that was about to start when it was taken back may still begin
    begun = tries(toys)
    assert begun[0] == 1
    assert max(begun[1:4]) <= 1
    assert begun[4:] == [0, 0]  # never submitted: two slots, and twice that in flight


def test_a_late_unit_is_issued_again(toys: Toys, ray_executor: RayExecutor) -> None:
    toys.marks.set("slow", UNITS[1], 600)
    recorder = toys.run(ray_executor, shards=3, deadline=5.0)
    assert len(recorder.done) == 7
    assert tries(toys)[:3] == [1, 2, 1]


def test_tasks_that_hang_do_not_keep_their_places(toys: Toys, ray_executor: RayExecutor) -> None:
    """Both CPUs are taken by tasks that never end, and are free again after twice the deadline."""
    for unit in UNITS[:3]:
        toys.marks.set("slow", unit, 600)
    recorder = toys.run(ray_executor, shards=3, deadline=5.0)
    assert len(recorder.done) == 7
    hung = set(toys.marks.pids())
    assert len(hung) >= 3
    assert all(count >= 2 for count in tries(toys)[:3])


def test_a_unit_that_is_always_late_is_given_up(toys: Toys, ray_executor: RayExecutor) -> None:
    with pytest.raises(IncompleteError, match=r"all/000000: not finished 0\.5 s after its start \(4 tries\)"):
        toys.run(ray_executor, shards=1, pause=600, deadline=0.5)
    begun = toys.marks.pids()
    assert 2 <= len(begun) <= 4  # with two CPUs, tries wait for those before them to be ended
    wait_for(lambda: not any(map(is_alive, begun)))


def test_a_phase_that_is_left_takes_its_tasks_back(toys: Toys, ray_executor: RayExecutor, tmp_path: Path) -> None:
    toys.run(LocalExecutor(), shards=6, wanted=[])
    toys.marks.set("slow", UNITS[0], 600)
    step = toys.engine(6).steps[1]
    outcomes = run_units(ray_executor, step.spec, build_stage(step.spec).phases()[0], UNITS)
    assert next(outcomes).unit != UNITS[0]
    wait_for(lambda: toys.marks.tries(UNITS[0]))
    outcomes.close()
    wait_for(lambda: sum(map(is_alive, set(toys.marks.pids()))) <= 1)
    begun = tries(toys)
    let_others_through(ray_executor, tmp_path)
    assert tries(toys) == begun


def test_a_worker_that_is_killed_from_outside_is_replaced(toys: Toys, ray_executor: RayExecutor) -> None:
    toys.marks.set("slow", UNITS[0], 600)

    def kill() -> None:
        wait_for(lambda: toys.marks.tries(UNITS[0]))
        (path,) = toys.marks.folder.glob("began-all_000000-*")
        psutil.Process(int(path.read_text())).kill()

    killer = threading.Thread(target=kill)
    killer.start()
    recorder = toys.run(ray_executor, shards=3)
    killer.join()
    assert len(recorder.done) == 7
    assert tries(toys)[:3] == [2, 1, 1]


def test_a_commit_whose_task_died_after_it_is_found(
    toys: Toys, ray_executor: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit is committed, but all the driver hears is that the worker died: no second try."""
    toys.run(LocalExecutor(), shards=3, wanted=[])
    step = toys.engine(3).steps[1]
    phase = build_stage(step.spec).phases()[0]
    for unit in UNITS[:3]:
        toys.marks.set("slow", unit, 600)

    def commit_and_kill() -> None:
        wait_for(lambda: toys.marks.tries(UNITS[0]))
        (other,) = run_units(LocalExecutor(), step.spec, phase, [UNITS[0]])  # its mark is used up: it is quick
        assert other.unit == UNITS[0]
        for path in list(toys.marks.folder.glob("began-*")):
            if int(path.read_text()) != os.getpid():
                psutil.Process(int(path.read_text())).kill()

    helper = threading.Thread(target=commit_and_kill)
    helper.start()
    (outcome,) = run_units(ray_executor, step.spec, phase, [UNITS[0]])
    helper.join()
    assert outcome == toys.powers(3).commit(UNITS[0])
    assert toys.marks.tries(UNITS[0]) == 2  # the killed one and the helper's


def test_the_units_are_counted(toys: Toys, ray_executor: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[dict[str, str]]] = {"done": [], "failed": [], "retried": []}
    for name, calls in seen.items():
        counter = getattr(ray_executor.metrics, name)
        monkeypatch.setattr(counter, "inc", lambda value=1.0, tags=None, calls=calls: calls.append(tags))
    toys.marks.set("fail", UNITS[0], 99)
    with pytest.raises(IncompleteError):
        toys.run(ray_executor)
    assert seen["done"].count({"step": "count", "phase": "count"}) == 3
    assert seen["done"].count({"step": "raise", "phase": "raise"}) == 2
    assert seen["failed"] == [{"step": "raise", "phase": "raise"}]
    assert seen["retried"] == [{"step": "raise", "phase": "raise", "kind": "application"}] * 2


def test_the_death_of_the_drivers_own_node_ends_the_run_at_once_in_one_line() -> None:
    """It is not a failure of each unit in turn: nothing can be handed out any more."""
    from ray.exceptions import LocalRayletDiedError

    error = _judge(LocalRayletDiedError(), StageSpec("workspace", "raise", "powers-1", "{}", (), 0))
    assert isinstance(error, IncompleteError)
    assert str(error) == "Ray's node on this machine has died; finished units are kept, run again"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "2 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 127.0.0.1, ID: "
            "591abb) was 3.43GB used / 23.54GB limit (0.145834), which\nexceeds the threshold.",
            "memory of node 127.0.0.1 ran out (3.43GB of 23.54GB used)",
        ),
        ("Ray says it in other words one day", "a node's memory ran out"),
    ],
)
def test_memory_that_runs_out_is_the_nodes_fault_and_says_what_to_do(said: str, told: str) -> None:
    from ray.exceptions import OutOfMemoryError

    error = _judge(OutOfMemoryError(said), StageSpec("workspace", "raise", "powers-1", "{}", (), 0))
    assert isinstance(error, TaskFailedError)
    assert (error.kind, str(error)) == ("infrastructure", f"{told}, Ray ended the unit; {FEWER_UNITS}")
