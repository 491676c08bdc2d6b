"""Fault injection with real processes: drivers and servers are killed, the finished artifact is as if nothing was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.executors.local import LocalExecutor
from tests.support.toy_fixtures import ROOT, Toys
from tests.support.waiting import PATIENCE, wait_for

SHARDS = 8
UNITS = tuple(f"all/{i:06d}" for i in range(SHARDS))
ALL = {*UNITS, "sum/0_1_2_3_4_5_6_7"}


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, toys: Toys) -> Toys:
    """The toys in a local folder, and on S3."""
    if request.param == "s3":
        toys.workspace = request.getfixturevalue("s3")
    return toys


class Driver:
    """A process that runs the toy recipe; with a `goodbye` as a command, which takes so many seconds to end."""

    def __init__(self, toys: Toys, temporary: str, executor: str, goodbye: float | None = None, **fields: Any) -> None:
        arguments = {
            "workspace": toys.workspace,
            "marks": str(toys.marks.folder),
            "executor": executor,
            "fields": {"shards": SHARDS, **fields},
            "goodbye": goodbye or 0,
        }
        as_command = [] if goodbye is None else ["--as-command"]
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "support" / "toy_driver.py"), json.dumps(arguments), *as_command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": temporary},
            start_new_session=True,
        )
        self.family: list[psutil.Process] = []
        self.errors = ""

    def wait_until(self, condition: Callable[[], Any]) -> None:
        """Waits for something to come true while the driver runs."""
        wait_for(condition, self._check_running)

    def _check_running(self) -> None:
        assert self.process.poll() is None, f"the driver ended: {self.process.communicate()}"

    def run_until(self, condition: Callable[[], Any]) -> None:
        """Waits for something to come true, and takes down which processes the driver has then."""
        self.wait_until(condition)
        # Ray's agents, which write nothing of ours, take a minute to notice that they are alone.
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.family = [child for child in children if "Agent" not in child.name()]

    def stop(self, number: signal.Signals) -> tuple[int, str]:
        """Sends a signal to the driver alone; returns its exit code and its output when all its processes are gone."""
        os.kill(self.process.pid, number)
        output, self.errors = self.process.communicate(timeout=PATIENCE)
        _, left = psutil.wait_procs(self.family, timeout=PATIENCE)
        assert left == []
        return self.process.returncode, output


@pytest.fixture
def start() -> Iterator[Callable[..., Driver]]:
    started: list[Driver] = []
    temporary = tempfile.mkdtemp(prefix="spp-")  # short, and gone after the test: a killed driver can't tidy up

    def begin(toys: Toys, executor: str, **fields: Any) -> Driver:
        started.append(Driver(toys, temporary, executor, **fields))
        return started[-1]

    yield begin
    for driver in started:
        driver.process.kill()
        driver.process.wait()
    shutil.rmtree(temporary, ignore_errors=True)


def attempts(toys: Toys) -> dict[str, str]:
    artifact = toys.powers(SHARDS)
    return {unit: artifact.commit(unit).attempt for unit in artifact.committed()}


def content(toys: Toys) -> dict[str, bytes]:
    artifact = toys.powers(SHARDS)
    return {unit: artifact.read(unit) for unit in artifact.committed()}


def undisturbed(tmp_path: Path) -> dict[str, bytes]:
    other = Toys(str(tmp_path / "undisturbed"), tmp_path / "other-marks")
    other.run(LocalExecutor(), shards=SHARDS)
    return content(other)


def check_resumed(toys: Toys, before: dict[str, str], executor: Any, tmp_path: Path) -> None:
    """Runs to the end: what was committed stays, the rest is made, and all is as in an undisturbed run."""
    begun = {unit: toys.marks.tries(unit) for unit in UNITS}
    recorder = toys.run(executor, shards=SHARDS)
    after = attempts(toys)
    assert set(after) == ALL
    assert after.items() >= before.items()
    assert {unit for step, unit in recorder.done if step == "raise"} == ALL - set(before)
    assert all(toys.marks.tries(unit) == begun[unit] for unit in before if unit in begun)
    assert content(toys) == undisturbed(tmp_path)
    assert recorder.summaries[1].keys == SHARDS * 4
    assert toys.run(executor, shards=SHARDS).done == []


def some_but_not_all(toys: Toys) -> Callable[[], bool]:
    return lambda: 2 <= len(toys.powers(SHARDS).committed()) < SHARDS


def test_a_killed_local_driver_goes_on_where_it_was(place: Toys, start: Callable[..., Driver], tmp_path: Path) -> None:
    place.marks.hold(UNITS[-1])
    driver = start(place, "local")
    driver.run_until(some_but_not_all(place))
    driver.stop(signal.SIGKILL)
    place.marks.let_go(UNITS[-1])
    before = attempts(place)
    assert 2 <= len(before) < len(ALL)
    check_resumed(place, before, LocalExecutor(), tmp_path)


@pytest.mark.ray
def test_a_killed_ray_driver_goes_on_where_it_was(
    place: Toys, start: Callable[..., Driver], ray_executor: Any, tmp_path: Path
) -> None:
    """The driver's Ray dies with it; another executor's goes on."""
    place.marks.hold(UNITS[-1])
    driver = start(place, "ray")
    driver.run_until(some_but_not_all(place))
    driver.stop(signal.SIGKILL)  # returns when the driver's workers are gone: until then they may still commit
    place.marks.let_go(UNITS[-1])
    before = attempts(place)
    assert 2 <= len(before) < len(ALL)
    check_resumed(place, before, ray_executor, tmp_path)


@pytest.mark.ray
def test_an_interrupted_ray_driver_ends_its_tasks(
    toys: Toys, start: Callable[..., Driver], ray_executor: Any, tmp_path: Path
) -> None:
    """Ctrl-C while units run that would take ten minutes."""
    for unit in UNITS[3:5]:
        toys.marks.set("slow", unit, 600)
    driver = start(toys, "ray")
    driver.run_until(lambda: all(toys.marks.tries(unit) for unit in UNITS[:5]))
    code, output = driver.stop(signal.SIGINT)
    assert code != 0
    assert "made" not in output
    check_resumed(toys, attempts(toys), ray_executor, tmp_path)


@pytest.mark.ray
def test_a_terminated_ray_driver_may_take_its_time_to_end(toys: Toys, start: Callable[..., Driver]) -> None:
    """Ray's C++ part would abort a driver that has not ended three seconds after SIGTERM, as on a busy machine."""
    toys.marks.set("slow", UNITS[3], 600)
    driver = start(toys, "ray", goodbye=5.0)
    driver.run_until(lambda: toys.marks.tries(UNITS[3]))
    code, output = driver.stop(signal.SIGTERM)
    assert (code, output) == (143, "")
    assert driver.errors.splitlines()[-1] == "sppnet: terminated; finished units are kept, run again to go on"
    assert "SIGTERM received" not in driver.errors


@pytest.mark.ray
def test_two_drivers_at_once_give_one_artifact(
    place: Toys, start: Callable[..., Driver], ray_executor: Any, tmp_path: Path
) -> None:
    """A driver that was thought dead is not: both make the same units, the first commits hold, nothing is left over."""
    other = start(place, "local", pause=0.2)
    other.wait_until(lambda: place.powers(SHARDS).committed())
    place.run(ray_executor, shards=SHARDS, pause=0.2)
    output, errors = other.process.communicate(timeout=PATIENCE)
    assert other.process.returncode == 0, errors
    assert output.startswith("made")
    assert content(place) == undisturbed(tmp_path)
    artifact = place.powers(SHARDS)
    held = {artifact.commit(unit).data for unit in artifact.committed()}
    data = {entry.name.split("/", 1)[1] for entry in artifact.store.list(artifact.name)}
    assert {name for name in data if name.startswith(("all/", "sum/"))} == held


@pytest.mark.slow
@pytest.mark.s3
@pytest.mark.ray
def test_a_store_that_goes_away_and_comes_back_costs_nothing_but_time(
    toys: Toys, start: Callable[..., Driver], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.s3_server import BUCKET, S3Server

    folder = tmp_path / "server"
    folder.mkdir()
    server = S3Server(folder)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        server.wait_until_up()
        toys.workspace = f"s3://{BUCKET}/outage"
        toys.marks.hold(UNITS[-1])
        driver = start(toys, "ray", pause=0.5)
        driver.run_until(some_but_not_all(toys))
        before = attempts(toys)
        server.kill()
        toys.marks.let_go(UNITS[-1])
        time.sleep(3)  # how long it is away: several units are tried meanwhile
        server.start()
        output, errors = driver.process.communicate(timeout=PATIENCE)
        assert driver.process.returncode == 0, errors
        assert output.splitlines()[-1] == f"made {SHARDS + len(ALL)}"
        assert attempts(toys).items() >= before.items()
        assert content(toys) == undisturbed(tmp_path)
    finally:
        server.kill()


@pytest.mark.ray
def test_both_executors_leave_the_same_content_after_retries(
    toys: Toys, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for unit, kind in zip(UNITS, ("kill", "fail", "connection"), strict=False):
        toys.marks.set(kind, unit, 1)
    toys.run(request.getfixturevalue("ray_executor"), shards=SHARDS)
    assert content(toys) == undisturbed(tmp_path)
