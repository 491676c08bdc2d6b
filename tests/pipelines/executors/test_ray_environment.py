from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.executors import ray_environment
from tests.pipelines.executors.conftest import RAY_NAMES


def set_variables() -> dict[str, str]:
    return {name: os.environ[name] for name in RAY_NAMES if name in os.environ}


def test_a_local_ray_is_quiet_on_loopback_and_locked(clean: pytest.MonkeyPatch) -> None:
    ray_environment.set_up(local=True)
    found = set_variables()
    token = found.pop("RAY_AUTH_TOKEN")
    assert len(token) == 64
    assert found == {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_grpc_client_keepalive_time_ms": "10000",
        "RAY_grpc_client_keepalive_timeout_ms": "30000",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_prestart_worker_first_driver": "0",
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        "RAY_AUTH_MODE": "token",
    }
    ray_environment.set_up(local=True)
    assert os.environ["RAY_AUTH_TOKEN"] == token


def test_a_cluster_that_is_joined_keeps_its_token_and_its_network(clean: pytest.MonkeyPatch) -> None:
    ray_environment.set_up(local=False)
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert "RAY_AUTH_MODE" not in os.environ
    assert set_variables()["RAY_grpc_client_keepalive_time_ms"] == "65000"  # a server allows a ping a minute
    assert set_variables()["RAY_grpc_client_keepalive_timeout_ms"] == "20000"
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ


@pytest.mark.parametrize("local", [True, False])
def test_a_token_that_is_given_is_used(clean: pytest.MonkeyPatch, local: bool) -> None:
    clean.setenv("RAY_AUTH_TOKEN_PATH", "/somewhere/token")
    ray_environment.set_up(local=local)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_what_is_set_stays(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("RAY_AUTH_MODE", "disabled")
    clean.setenv("RAY_grpc_client_keepalive_time_ms", "7")
    ray_environment.set_up(local=True)
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert set_variables()["RAY_grpc_client_keepalive_time_ms"] == "7"


def test_workers_of_a_checkout_find_the_code(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = str(Path(ray_environment.__file__).resolve().parents[2])
    assert ray_environment.worker_variables() == {"PYTHONPATH": root}
    clean.chdir(tmp_path)
    clean.setenv("PYTHONPATH", f"/abs{os.pathsep}rel{os.pathsep}")
    assert ray_environment.worker_variables() == {"PYTHONPATH": f"/abs{os.pathsep}{tmp_path}/rel{os.pathsep}{root}"}
    clean.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert ray_environment.worker_variables() == {}


@pytest.mark.parametrize(("cpus", "threads"), [(0, "1"), (0.5, "1"), (1, "1"), (2.9, "2"), (4, "4")])
def test_threads_follow_the_tasks_cpus(cpus: float, threads: str) -> None:
    assert ray_environment.thread_variables(cpus) == {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "OPENCV_FOR_THREADS_NUM": threads,
    }


@pytest.mark.parametrize(
    ("executable", "wanted"),
    [
        ("/opt/venv/bin/python", {}),
        ("/srv/my clone/.venv/bin/python", {"py_executable": "'/srv/my clone/.venv/bin/python'"}),
    ],
)
def test_an_interpreter_with_a_space_in_its_path_is_quoted(
    monkeypatch: pytest.MonkeyPatch, executable: str, wanted: dict[str, str]
) -> None:
    monkeypatch.setattr("sys.executable", executable)
    assert ray_environment.worker_python() == wanted
