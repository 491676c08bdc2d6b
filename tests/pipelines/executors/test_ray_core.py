"""The executor on Ray: a local Ray that it starts, and a cluster that is there already."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.engine.commits import Output
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.executors.pieces import on_ray
from pipelines.executors.ray_core import RayExecutor
from pipelines.keeping.contents import Checking, check_contents
from sppnet.errors import ConfigError, IncompleteError
from tests.support.damaging import data_path, flip
from tests.support.toy_fixtures import ROOT, UNITS, Toys
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.ray


def test_a_recipe_runs_as_in_process(toys: Toys, ray_executor: RayExecutor, tmp_path: Path) -> None:
    recorder = toys.run(ray_executor, shards=6, power=3)
    assert recorder.started == [("count", 6, 6), ("raise", 7, 7)]
    assert sorted(recorder.done[6:12]) == [("raise", unit) for unit in UNITS]
    assert recorder.done[12:] == [("raise", "sum/0_1_2_3_4_5")]
    other = Toys(str(tmp_path / "other"), tmp_path / "marks")
    other.run(LocalExecutor(), shards=6, power=3)
    mine, theirs = toys.powers(6, power=3), other.powers(6, power=3)
    assert mine.name == theirs.name
    assert mine.committed() == theirs.committed()
    assert all(mine.read(unit) == theirs.read(unit) for unit in mine.committed())
    assert toys.run(ray_executor, shards=6, power=3).done == []


@pytest.mark.s3
def test_workers_reach_s3_with_the_credentials_of_their_environment(
    toys: Toys, s3: str, ray_executor: RayExecutor
) -> None:
    toys.workspace = s3
    recorder = toys.run(ray_executor)
    assert len(recorder.done) == 7
    assert json.loads(toys.powers().read(UNITS[0])) == {"0": 0, "1": 1, "2": 4, "3": 9}
    assert toys.run(ray_executor).done == []


def test_a_local_ray_listens_on_loopback_only(ray_executor: RayExecutor) -> None:
    listening = set()
    token = os.environ["RAY_AUTH_TOKEN"]
    assert ray_executor._folder is not None
    assert ray_executor._folder.stat().st_mode & 0o077 == 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # idle workers come and go
            assert token not in " ".join(process.cmdline())
            if "ray" in " ".join(process.cmdline()):
                listening |= {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert listening
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"address": "127.0.0.1:1"}, "no Ray at 127.0.0.1:1: Connection refused"),
        ({"address": "ray://127.0.0.1:10001"}, "give its head's host:port"),
        ({"address": "127.0.0.1:6379", "num_cpus": 2}, "num_cpus=2 is for a local Ray"),
        ({"num_cpus": 0}, "num_cpus=0: a local Ray needs at least 1"),
    ],
)
def test_wrong_arguments_are_config_errors(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("pipelines.executors.ray_core._is_connected", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match=message):
        RayExecutor(**arguments)


def test_a_local_ray_that_does_not_start_is_tried_three_times(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import ray

    folders: list[Path] = []

    def too_slow(*_: Any, _temp_dir: str, **__: Any) -> None:
        folders.append(Path(_temp_dir))
        raise Exception("The current node timed out during startup.\nMore of it.")

    monkeypatch.setattr("pipelines.executors.ray_core._is_connected", lambda: False)
    monkeypatch.setattr(
        "pipelines.executors.ray_environment.set_up", lambda *, local: None
    )  # the session's Ray keeps its token
    monkeypatch.setattr(ray, "init", too_slow)
    with pytest.raises(IncompleteError, match=r"^a local Ray did not start: Exception: The current node timed out dur"):
        RayExecutor("local", 1)
    assert len(folders) == 3
    assert not any(folder.exists() for folder in folders)
    assert [record.message[:34] for record in caplog.records] == ["ray did not start, trying again: E"] * 2


def driver(toys: Toys, environment: dict[str, str] | None = None, **arguments: Any) -> subprocess.CompletedProcess[str]:
    fields = {"workspace": toys.workspace, "marks": str(toys.marks.folder), "executor": "ray", **arguments}
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "toy_driver.py"), json.dumps(fields)],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_running_cluster_is_joined_and_left_alone(toys: Toys, ray_executor: RayExecutor) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    done = driver(toys, address=address, fields={"shards": 3})
    assert done.stdout.splitlines()[-1] == "made 7", done.stderr
    assert toys.run(ray_executor, shards=3).done == []  # it is still there


def test_a_wrong_token_is_a_config_error(toys: Toys, ray_executor: RayExecutor) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    done = driver(toys, {"RAY_AUTH_TOKEN": "0" * 64}, address=address, fields={"shards": 3})
    assert done.returncode == ConfigError.exit_code, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"ConfigError: Ray at {address} refuses the token: ")


def test_a_local_ray_leaves_nothing_behind(toys: Toys, tmp_path: Path) -> None:
    """No token in the home folder, no session folder, no process; on a plain checkout and with a deep TMPDIR."""
    home, temporary = tmp_path / "home", tmp_path / "t"
    home.mkdir()
    temporary.mkdir()
    clean = dict.fromkeys(("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"), "") | {"HOME": str(home), "TMPDIR": str(temporary)}
    done = driver(toys, clean, fields={"shards": 3})
    assert done.stdout.splitlines()[-1] == "made 7", done.stderr
    (pid,) = re.findall(r"^pid (\d+)$", done.stderr, re.MULTILINE)
    assert not (home / ".ray").exists()
    assert list(Path("/tmp").glob(f"spp-*/r/session_*_{pid}")) == []  # others may have theirs
    assert list(temporary.glob("spp-*")) == []


def test_pieces_of_work_are_spread_over_workers(ray_executor: RayExecutor, tmp_path: Path) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("maps-0123456789ab")
    commits = [artifact.publish(f"u{number}", Output(b"1", ".bin", 1, 1), 0.0) for number in range(12)]
    pieces = [Checking(str(tmp_path), artifact.name, (commit,)) for commit in commits]
    flip(data_path(artifact, "u7"))
    found = [one for checked in on_ray(check_contents, pieces, 2) for one in checked.damaged]
    assert [(one.unit, one.reason) for one in found] == [("u7", "checksum")]
    with pytest.raises(ConfigError, match="the workspace is empty"):
        list(on_ray(check_contents, [replace(pieces[0], workspace="")], 2))
