"""What of a cluster would make a run fail: every node is asked, and the answers are held against one another."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence

from jobs.doctor.check import Check
from jobs.doctor.node import Node, look_here, own_versions
from pipelines.engine.store import Store, open_store
from pipelines.executors.ray_core import RayExecutor
from pipelines.executors.ray_environment import KEEPALIVE_TIME, KEEPALIVE_TIMEOUT
from pipelines.executors.ray_nodes import NodeAnswer, ask_nodes
from pipelines.executors.ray_workspace import storage_hint
from sppnet.errors import SppError

_RAYS_PING_MS = 300_000
"""How often Ray pings where nothing is set."""
_ALWAYS_ALLOWED_MS = 60_000
"""Ray's servers let a client ping as often as they do themselves, and at least every so many milliseconds."""
_SHOWN = 5
_HERE = "this command"

Findings = list[tuple[str, Check]]
"""What was found, each with the address of the node that it is about."""


def examine_cluster(address: str, workspace: str) -> list[Check]:
    """Join a cluster, and look at each of its nodes.

    Args:
        address: `host:port` of the cluster's head.
        workspace: The workspace, which every node must reach with its own rights.

    Raises:
        ConfigError: The cluster can't be joined, or the workspace is none.
    """
    store = open_store(workspace)
    executor = RayExecutor(address)
    probe = f"runs/.probe-{uuid.uuid4().hex}"
    left = [probe]
    try:
        findings = _leave(store, probe)
        answers = ask_nodes(look_here, {"workspace": store.uri, "probe": "" if findings else probe})
        left += [one.answer["left"] for one in answers if one.error is None and one.answer["left"]]
        return sum_up([*findings, *judge(answers, store, dict(os.environ), reached=not findings)])
    finally:
        _clear(store, left)
        executor.close()


def judge(answers: Sequence[NodeAnswer], store: Store, here: Mapping[str, str], *, reached: bool = True) -> Findings:
    """Hold what the nodes said against one another, and against this process.

    Args:
        answers: What `look_here` returned on each.
        store: The workspace's, to find what the nodes left in it.
        here: The environment of this process.
        reached: Whether this process could write there itself; else what the nodes left is not looked for.
    """
    nodes = {one.ip: Node.parse(one.answer) for one in answers if one.error is None}
    offered = {one.ip: one.gpus for one in answers}
    own = [(ip, check) for ip, node in nodes.items() for check in node.checks]
    pings = _pings({_HERE: here, **{ip: node.settings for ip, node in nodes.items()}})
    found = (_answering(answers), _versions(nodes), _gpus(nodes, offered), _storage(nodes, store, reached), own, pings)
    return [finding for findings in (*found, _tokens(nodes)) for finding in findings]


def sum_up(findings: Findings) -> list[Check]:
    """Make one line of what is well with several nodes, and one of each thing that is not."""
    lines: dict[tuple[str, str], list[tuple[str, Check]]] = {}
    for ip, check in findings:
        well = check.state == "ok"
        lines.setdefault((check.name, "" if well else f"{check.state} {check.finding}"), []).append((ip, check))
    return [_line(same) for same in lines.values()]


def _line(same: Findings) -> Check:
    nodes, first = [ip for ip, _ in same], same[0][1]
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    example = "such as " if any(check != first for _, check in same) else ""
    return Check(first.name, first.state, f"{', '.join(nodes[:_SHOWN])}{more}: {example}{first.finding}")


def _leave(store: Store, probe: str) -> Findings:
    """Leave something in the workspace for the nodes to find."""
    try:
        store.put(probe, b"")
    except SppError as error:
        return [(_HERE, Check("storage", "fail", str(error)))]
    return []


def _clear(store: Store, left: Sequence[str]) -> None:
    for name in left:
        try:
            store.delete(name)
        except SppError:
            return  # it could not be reached before: that has been found


def _answering(answers: Sequence[NodeAnswer]) -> Iterator[tuple[str, Check]]:
    for one in answers:
        if one.error is None:
            yield one.ip, Check("node", "ok", "runs sppnet's code")
        else:
            hint = "install the same sppnet there, or look at the node's logs"
            yield one.ip, Check("node", "fail", f"can't run sppnet's code: {one.error}; {hint}")


def _versions(nodes: dict[str, Node]) -> Iterator[tuple[str, Check]]:
    here = own_versions()
    for ip, node in nodes.items():
        other = [
            f"{name} {node.versions.get(name)}, here {own}"
            for name, own in here.items()
            if node.versions.get(name) != own
        ]
        told = ", ".join(f"{name} {number}" for name, number in node.versions.items())
        if other:
            yield ip, Check("versions", "fail", f"has {'; '.join(other)}: use one image for all")
        else:
            yield ip, Check("versions", "ok", told)


def _gpus(nodes: dict[str, Node], offered: dict[str, float]) -> Iterator[tuple[str, Check]]:
    for ip, node in nodes.items():
        seen, offers = len(node.gpus), offered[ip]
        if offers > seen:
            hint = "install a driver and a torch that fit it, or start the node with fewer --num-gpus"
            yield ip, Check("GPUs", "fail", f"Ray offers {offers:g}, torch sees {seen}; {hint}")
        elif seen > offers:
            hint = f"start the node with --num-gpus={seen}"
            yield (
                ip,
                Check("GPUs", "warn", f"torch sees {seen}, Ray offers {offers:g}: nothing will run on them; {hint}"),
            )
        else:
            yield ip, Check("GPUs", "ok", ", ".join(node.gpus) if seen else "none")


def _storage(nodes: dict[str, Node], store: Store, reached: bool) -> Iterator[tuple[str, Check]]:
    for ip, node in nodes.items():
        problem = node.storage or (_not_found(store, node.left) if reached else "")
        if not problem:
            yield ip, Check("storage", "ok", f"{store.uri}: a worker reads and writes it")
        else:
            rights = "a worker's own rights do not do: " if "://" in store.uri else ""
            yield ip, Check("storage", "fail", f"{rights}{problem}; {storage_hint(store.uri)}")


def _not_found(store: Store, left: str) -> str:
    """Say why what a node left can't be found; empty if it can."""
    try:
        store.read(left)
    except SppError as error:
        return f"what it wrote is not there: {error}"
    return ""


def _pings(processes: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, Check]]:
    """Check that nobody pings more often than some other allows, and that who is cut off is noticed at all.

    Args:
        processes: The environment of each end, by its address.
    """
    pings = {ip: int(settings.get(KEEPALIVE_TIME) or _RAYS_PING_MS) for ip, settings in processes.items()}
    servers = {ip: min(_ALWAYS_ALLOWED_MS, ping) for ip, ping in pings.items() if ip != _HERE}
    strictest = max(servers, key=servers.__getitem__, default=_HERE)
    allowed = servers.get(strictest, 0)
    for ip, ping in pings.items():
        if ping < allowed:
            yield (
                ip,
                Check(
                    "keepalive",
                    "fail",
                    f"pings every {ping / 1000:g} s, and {strictest} closes connections that do so more often than "
                    f"every {allowed / 1000:g} s; set {KEEPALIVE_TIME} alike on every node, and here",
                ),
            )
        elif ping >= _RAYS_PING_MS:
            hint = f"start every node with {KEEPALIVE_TIME}=10000 and {KEEPALIVE_TIMEOUT}=5000"
            yield (
                ip,
                Check("keepalive", "warn", f"a node that is cut off is noticed after {ping / 60_000:g} min; {hint}"),
            )
        else:
            yield ip, Check("keepalive", "ok", f"pings every {ping / 1000:g} s")


def _tokens(nodes: dict[str, Node]) -> Iterator[tuple[str, Check]]:
    for ip, node in nodes.items():
        if node.settings.get("RAY_AUTH_MODE", "").lower() == "token":
            yield ip, Check("token", "ok", "is asked for")
        else:
            hint = "start every node with RAY_AUTH_MODE=token and a token"
            yield ip, Check("token", "warn", f"asks for none: whoever reaches its ports can run code; {hint}")
