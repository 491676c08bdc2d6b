"""An environment without a word of Ray."""

from __future__ import annotations

import pytest

RAY_NAMES = (
    "RAY_USAGE_STATS_ENABLED",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV",
    "RAY_grpc_client_keepalive_time_ms",
    "RAY_grpc_client_keepalive_timeout_ms",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
    "RAY_prestart_worker_first_driver",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
    "RAY_ADDRESS",
    "RAY_USE_TLS",
    "RAY_JOB_CONFIG_JSON_ENV_VAR",
    "SPPNET_RUN_VERSION",
    "PYTHONPATH",
)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting of Ray's in the environment; what a test adds goes with it."""
    for name in RAY_NAMES:
        monkeypatch.setenv(name, "")  # so that monkeypatch removes it again in the end
        monkeypatch.delenv(name)
    return monkeypatch
