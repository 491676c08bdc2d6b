"""Whether the nodes of a cluster can use a run's workspace: found before the run, in one line, not unit by unit."""

from __future__ import annotations

import logging
import uuid

from pipelines.engine.executor import one_line
from pipelines.engine.store import open_store
from pipelines.executors.ray_nodes import ask_nodes
from sppnet.errors import ConfigError, SppError

logger = logging.getLogger(__name__)

_NO_CODE = ("failed to import", "No module named")


def storage_hint(uri: str) -> str:
    """Say what to do where a node can't use a workspace."""
    if "://" in uri:
        return "give the nodes credentials and the endpoint in their own environment"
    return "a folder must be the same one on every node: use s3://bucket/prefix, or mount it everywhere"


def check_workspace(uri: str) -> None:
    """Have every node that takes units find what this process leaves in the workspace.

    A node that is slow to answer is only warned of: it may be busy, or about to go.

    Args:
        uri: The workspace.

    Raises:
        ConfigError: A node finds another workspace or none, may not read it, or lacks sppnet.
    """
    store, probe = open_store(uri), f"runs/.probe-{uuid.uuid4().hex}"
    store.put(probe, b"")
    try:
        answers = [one for one in ask_nodes(find_probe, {"workspace": uri, "probe": probe}) if one.cpus]
    finally:
        store.delete(probe)
    for one in answers:
        if one.error is None and one.answer:
            raise ConfigError(f"node {one.ip} can't use the workspace {uri}: {one.answer}; {storage_hint(uri)}")
        if one.error is not None and any(sign in one.error for sign in _NO_CODE):
            raise ConfigError(
                f"node {one.ip} can't run sppnet's code ({one.error}); install the same sppnet on every node "
                "(sppnet doctor --address tells more)"
            )
        if one.error is not None:
            logger.warning("node %s did not say whether it can use the workspace: %s", one.ip, one.error)


def find_probe(asked: dict[str, str]) -> str:
    """Look for the driver's object on the node where this runs; return why it can't be read, or nothing."""
    try:
        open_store(asked["workspace"]).read(asked["probe"])
    except SppError as error:
        return one_line(error)
    return ""
