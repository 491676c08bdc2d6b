"""What must be in the environment before Ray is imported, and in that of its workers."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from pathlib import Path

KEEPALIVE_TIME = "RAY_grpc_client_keepalive_time_ms"
"""Sets how often a process of Ray asks the other end of an idle connection whether it is still there."""
KEEPALIVE_TIMEOUT = "RAY_grpc_client_keepalive_timeout_ms"
# A server of Ray allows a ping every 60 s, or more often where it was itself started with a smaller interval; it hangs
# up on a client that pings more often ("too_many_pings"). All of a local Ray has our interval; a cluster that someone
# else started may have Ray's own, five minutes. On one machine no connection is cut: who doesn't answer is dead, or
# waits for a processor.
_LOCAL_KEEPALIVE_MS = (10_000, 30_000)
_JOINED_KEEPALIVE_MS = (65_000, 20_000)
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)


def set_up(local: bool) -> None:
    """Set what Ray reads from the environment; what is set already stays."""
    pings, patience = _LOCAL_KEEPALIVE_MS if local else _JOINED_KEEPALIVE_MS
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # `uv run` would have every worker build its environment anew.
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        # Without keepalive, a task on a node that is cut off never fails.
        KEEPALIVE_TIME: str(pings),
        KEEPALIVE_TIMEOUT: str(patience),
    }
    if local:
        # The switch that keeps every port of a local Ray on loopback; its name tells where it is the default.
        defaults["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # Ray would start a worker a core at once; none is ever used, since tasks have an environment of their own.
        defaults["RAY_prestart_worker_first_driver"] = "0"
        # Ray Train would start a process beside every group that asks whether a cloud takes this machine back.
        defaults["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
    authentication = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    given = [name for name in authentication if name in os.environ]
    if local and not given:
        # Ray would write a token into the home folder that everybody on the machine can read.
        defaults |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    elif given and "RAY_AUTH_MODE" not in given:
        defaults["RAY_AUTH_MODE"] = "token"  # a token without the mode is ignored
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def worker_variables() -> dict[str, str]:
    """Return environment variables with which workers can import what the driver can, also from a plain checkout."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return {}  # a submitted job brings its code along
    root = Path(__file__).resolve().parents[2]
    folders = [os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]  # noqa: PTH100
    if "site-packages" not in root.parts and str(root) not in folders:
        folders.append(str(root))
    return {"PYTHONPATH": os.pathsep.join(folders)} if folders else {}


def worker_python() -> dict[str, str]:
    """Return the part of a local Ray's runtime environment that names the interpreter.

    Ray starts workers through a shell without quoting the interpreter's path, so one with a space never starts.
    """
    quoted = shlex.quote(sys.executable)
    return {} if quoted == sys.executable else {"py_executable": quoted}


def thread_variables(cpus: float) -> dict[str, str]:
    """Return environment variables that bound the threads of every library to a task's CPUs, at least 1."""
    return dict.fromkeys(_THREAD_VARIABLES, str(max(1, int(cpus))))
