"""Where Ray is, and whether this process may join it: asked in a second, where Ray itself tries for twenty or more."""

from __future__ import annotations

import json
import os
import platform
import re
import socket
from collections.abc import Mapping
from importlib.metadata import version

from pipelines.executors.ray_token import auth_token, refused
from sppnet.errors import ConfigError

# The head's key-value store: an `InternalKVGetRequest` for the key `CLUSTER_METADATA` in the namespace `cluster`. Ray's
# own classes for it are left alone: they would import Ray, which takes its mode of tokens when it is imported.
_METHOD = "/ray.rpc.InternalKVGcsService/InternalKVGet"
_REQUEST = b"\n\x10CLUSTER_METADATA\x12\x07cluster"
_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 15.0
"""A head whose machine is busy takes a while; what is no head mostly says so at once."""


def resolve_address(address: str | None) -> str | None:
    """Tell which cluster to join: `address`, or `RAY_ADDRESS` as Ray sets it for jobs, or None for a local Ray.

    Raises:
        ConfigError: The address is of a kind that can't be joined.
    """
    found = address or os.environ.get("RAY_ADDRESS") or None
    if found is None or found == "local":
        return None
    if "://" in found:
        takes_jobs = found.startswith(("http://", "https://"))
        other = f"; a URL takes jobs: sppnet submit RECIPE --address {found}" if takes_jobs else ""
        raise ConfigError(f"Ray address {found}: to join a cluster give its head's host:port (6379 is usual){other}")
    return found


def is_loopback(address: str) -> bool:
    """Tell whether a cluster's address is of this machine alone."""
    return address.rpartition(":")[0].strip("[]") in ("127.0.0.1", "localhost", "::1")


def check_listening(host: str, port: int, address: str, hint: str) -> None:
    """Raise `ConfigError` at once if nobody listens at a port; Ray itself would try for two minutes.

    Args:
        host: Name or IP address.
        port: TCP port.
        address: What the person gave, for the message.
        hint: What to do, for the message.
    """
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"no Ray at {address}: {why}; {hint}") from None


def check_cluster(address: str) -> None:
    """Ask a cluster whether this process may join; returns in a second or less if it may.

    It imports nothing of Ray's. `auto` is left to Ray.

    Raises:
        ConfigError: Nobody listens, something else than Ray's head answers, the token is wrong or missing, or Ray or
            Python is another version there.
    """
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"Ray address {address}: expected host:port or 'auto'")
    check_listening(host.strip("[]"), int(port), address, "start it with `ray start --head` or give no address")
    if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):
        return  # the certificates are Ray's to check
    token = auth_token()
    there = _ask_for_versions(address, token)
    _check_same_ray(address, there, {"ray_version": version("ray"), "python_version": platform.python_version()})


def _check_same_ray(address: str, there: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Raise `ConfigError` if Ray or Python differs between a cluster and this process: Ray would let no driver in.

    Args:
        address: The cluster's.
        there: `ray_version` and `python_version` of its head, as far as it tells them.
        here: Those of this process.
    """
    found = {**here, **there}
    if found == here:
        return
    theirs, ours = (f"Ray {one['ray_version']} on Python {one['python_version']}" for one in (found, here))
    raise ConfigError(
        f"the cluster at {address} runs {theirs}, this command {ours}: a driver needs the same; run it from the "
        "cluster's image, or submit the run as a job (sppnet submit)"
    )


def _ask_for_versions(address: str, token: str | None) -> dict[str, str]:
    """Ask Ray's head what it was started with; see `check_cluster` for what is raised."""
    import grpc

    shown = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            reply: bytes = channel.unary_unary(_METHOD)(_REQUEST, timeout=_ANSWER_SECONDS, metadata=shown)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                raise refused(address, token) from None
            late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            why = f"silent for {_ANSWER_SECONDS:g} s, as on a busy machine" if late else error.code().name.lower()
            raise ConfigError(
                f"what listens at {address} does not answer as Ray's head ({why}); give the port of `ray start --head "
                "--port`, 6379 is usual"
            ) from None
    described = re.search(rb"{.*}", reply, re.DOTALL)  # a status, and then JSON
    found = json.loads(described[0]) if described else {}
    return {name: found[name] for name in ("ray_version", "python_version") if name in found}
