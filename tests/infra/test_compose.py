"""S3 and Ray on one machine by compose: nothing listens outside of it, and nothing has a default password."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.support.kuberay_manifests import VERSION, overlay
from tests.support.kustomize import one
from tests.support.source_tree import ROOT

FOLDER = ROOT / "infra" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = sorted(set(SERVICES) - {"bucket"})
OURS = sorted(set(SERVICES) - {"s3"})


def test_a_store_a_bucket_a_head_and_workers() -> None:
    assert set(SERVICES) == {"s3", "bucket", "head", "worker"}


@pytest.mark.parametrize("name", LASTING)
def test_ports_are_of_this_machine_only_and_health_is_known(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


def test_secrets_come_from_a_file_that_git_ignores() -> None:
    example = (FOLDER / "example.env").read_text()
    names = re.findall(r"^(\w+)=$", example, re.MULTILINE)
    assert names == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN"]
    assert re.findall(r"^\w+=.+$", example, re.MULTILINE) == []
    assert ".env" in (ROOT / ".gitignore").read_text().split()
    for service in SERVICES.values():
        for name in set(names) & set(service["environment"]):
            assert service["environment"][name] == f"${{{name}:?see example.env}}"


@pytest.mark.parametrize("name", OURS)
def test_ours_are_of_this_version_with_token_and_keepalive_and_no_root(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == f"sppnet:{VERSION}"
    assert service["user"] == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    settings = one(list(overlay("cluster/one-gpu")), "ConfigMap")["data"]
    for key in ("RAY_grpc_client_keepalive_time_ms", "RAY_grpc_client_keepalive_timeout_ms", "RAY_USAGE_STATS_ENABLED"):
        assert service["environment"][key] == settings[key]
    assert service["environment"]["RAY_AUTH_MODE"] == "token"
    assert service["environment"]["AWS_ENDPOINT_URL"] == "http://s3:8333"


def test_one_waits_for_what_it_needs() -> None:
    assert SERVICES["bucket"]["depends_on"] == {"s3": {"condition": "service_healthy"}}
    assert SERVICES["head"]["depends_on"] == {"bucket": {"condition": "service_completed_successfully"}}
    assert SERVICES["worker"]["depends_on"] == {"head": {"condition": "service_healthy"}}


def test_ports_agree_between_servers_and_those_who_ask() -> None:
    head, worker = SERVICES["head"]["command"], SERVICES["worker"]["command"]
    assert head.startswith("ray start --head --block ")
    assert worker.startswith("ray start --block --address=head:6379 ")
    for name, command in (("head", head), ("worker", worker)):
        (port,) = re.findall(r"--dashboard-agent-listen-port=(\d+)", command)
        assert f"http://127.0.0.1:{port}/api/healthz" in SERVICES[name]["healthcheck"]["test"][-1]
    assert "--num-cpus=0" in head
    assert "-s3.port=8333" in SERVICES["s3"]["command"]
    assert "-master.telemetry=false" in SERVICES["s3"]["command"]
