"""Where Ray is, and every wrong address, token and version told in one line, in seconds."""

from __future__ import annotations

import json
import platform
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest

from pipelines.executors import ray_address
from sppnet.errors import ConfigError
from tests.support.ray_cluster import RayCluster


def test_no_address_is_a_local_ray_unless_a_job_says_otherwise(clean: pytest.MonkeyPatch) -> None:
    assert ray_address.resolve_address(None) is None
    assert ray_address.resolve_address("local") is None
    clean.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert ray_address.resolve_address(None) == "10.0.0.1:6379"
    assert ray_address.resolve_address("local") is None
    assert ray_address.resolve_address("head:6379") == "head:6379"


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("http://head:8265", "; a URL takes jobs: sppnet submit RECIPE --address http://head:8265"),
        ("ray://head:10001", ""),
    ],
)
def test_addresses_of_other_services_are_told_apart(clean: pytest.MonkeyPatch, address: str, hint: str) -> None:
    clean.setenv("RAY_ADDRESS", address)
    for given in (address, None):
        with pytest.raises(ConfigError) as caught:
            ray_address.resolve_address(given)
        assert str(caught.value) == (
            f"Ray address {address}: to join a cluster give its head's host:port (6379 is usual){hint}"
        )


RAY = version("ray")


def error_of(address: str) -> str:
    with pytest.raises(ConfigError) as caught:
        ray_address.check_cluster(address)
    return str(caught.value)


def test_a_dead_address_is_found_before_ray_is_asked() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert error_of(address) == (
        f"no Ray at {address}: Connection refused; start it with `ray start --head` or give no address"
    )


@pytest.mark.parametrize("address", ["head", "head:", "head:x", "head:0", "head:65536", ":"])
def test_what_is_no_address_is_refused(address: str) -> None:
    assert error_of(address) == f"Ray address {address}: expected host:port or 'auto'"


def test_an_unknown_host_is_refused() -> None:
    assert error_of("no-such-host.invalid:6379").startswith("no Ray at no-such-host.invalid:6379: ")


def test_ray_itself_looks_for_the_cluster_of_this_machine() -> None:
    ray_address.check_cluster("auto")


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts gRPC servers whose one method answers with a status or with bytes."""
    started = []

    def begin(status: grpc.StatusCode = grpc.StatusCode.OK, body: bytes = b"") -> str:
        def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
            if status is not grpc.StatusCode.OK:
                context.abort(status, "no")
            return body

        handler = grpc.unary_unary_rpc_method_handler(answer)
        service = grpc.method_handlers_generic_handler("ray.rpc.InternalKVGcsService", {"InternalKVGet": handler})
        server = grpc.server(ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        started.append(server)
        return f"127.0.0.1:{port}"

    yield begin
    for server in started:
        server.stop(0)


def head_with(**versions: str) -> bytes:
    value = json.dumps(versions).encode()
    return b"\n\x00\x12" + bytes([len(value)]) + value


def test_a_head_of_the_same_versions_passes(clean: pytest.MonkeyPatch, serve: Callable[..., str]) -> None:
    ray_address.check_cluster(
        serve(body=head_with(ray_version=RAY, python_version=platform.python_version(), more="x"))
    )
    ray_address.check_cluster(serve())  # it does not say


@pytest.mark.parametrize(
    ("versions", "theirs"),
    [
        ({"ray_version": "2.1.0"}, f"Ray 2.1.0 on Python {platform.python_version()}"),
        ({"python_version": "3.9.1"}, f"Ray {RAY} on Python 3.9.1"),
    ],
)
def test_a_head_of_other_versions_is_refused(
    clean: pytest.MonkeyPatch, serve: Callable[..., str], versions: dict[str, str], theirs: str
) -> None:
    address = serve(body=head_with(**versions))
    assert error_of(address) == (
        f"the cluster at {address} runs {theirs}, this command Ray {RAY} on Python "
        f"{platform.python_version()}: a driver needs the same; run it from the cluster's image, or submit the run as "
        "a job (sppnet submit)"
    )


def test_a_cluster_with_certificates_is_left_to_ray(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("RAY_USE_TLS", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ray_address.check_cluster(f"127.0.0.1:{silent.getsockname()[1]}")


def test_something_else_that_listens_is_refused(clean: pytest.MonkeyPatch, serve: Callable[..., str]) -> None:
    clean.setattr(ray_address, "_ANSWER_SECONDS", 2.0)
    hint = "give the port of `ray start --head --port`, 6379 is usual"
    grpc_of_another = serve(status=grpc.StatusCode.UNIMPLEMENTED)
    assert error_of(grpc_of_another) == (
        f"what listens at {grpc_of_another} does not answer as Ray's head (unimplemented); {hint}"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert error_of(address) == (
            f"what listens at {address} does not answer as Ray's head (silent for 2 s, as on a busy machine); {hint}"
        )


WAYS = "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH for a file that holds it"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, f"asks for a token, and none is set here: set RAY_AUTH_MODE=token and {WAYS}"),
        (
            {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "right"},
            f"asks for a token, but RAY_AUTH_MODE is disabled here: set it to token, and {WAYS}",
        ),
        (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong"},
            f"refuses the token: it is not that of its head; set {WAYS}",
        ),
    ],
)
def test_what_is_wrong_with_a_token_is_told(
    clean: pytest.MonkeyPatch, tmp_path: Path, serve: Callable[..., str], variables: dict[str, str], said: str
) -> None:
    clean.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        clean.setenv(name, value)
    address = serve(status=grpc.StatusCode.UNAUTHENTICATED)
    assert error_of(address) == f"Ray at {address} {said}"


@pytest.mark.ray
def test_a_real_head_lets_in_who_has_its_token(
    clean: pytest.MonkeyPatch, make_cluster: Callable[..., RayCluster]
) -> None:
    cluster = make_cluster()
    cluster.start_head()
    for name, value in cluster.client_environment.items():
        clean.setenv(name, value)
    ray_address.check_cluster(cluster.address)
    clean.setenv("RAY_AUTH_TOKEN", "0" * 64)
    assert error_of(cluster.address).startswith(f"Ray at {cluster.address} refuses the token: ")
    clean.setenv("RAY_AUTH_MODE", "disabled")
    assert "but RAY_AUTH_MODE is disabled here" in error_of(cluster.address)
    dashboard = cluster.jobs.removeprefix("http://")
    assert error_of(dashboard).startswith(f"what listens at {dashboard} does not answer as Ray's head (unavailable); ")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:6379", True),
        ("localhost:6379", True),
        ("[::1]:6379", True),
        ("10.0.0.7:6379", False),
        ("head:6379", False),
        ("auto", False),
    ],
)
def test_only_a_cluster_on_loopback_is_surely_of_this_machine(address: str, expected: bool) -> None:
    assert ray_address.is_loopback(address) is expected
