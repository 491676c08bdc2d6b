"""Kubernetes' own rules about labels and policies, as far as tests ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Labels = Mapping[str, str]


def selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Whether a label selector takes an object with these labels."""
    assert set(selector) <= {"matchLabels"}, selector
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


def may_reach(
    policies: Sequence[Mapping[str, Any]], source: Labels, target: Labels, port: int, *, same_namespace: bool = True
) -> bool:
    """Whether NetworkPolicies let a pod in at a TCP port of another.

    Args:
        policies: All policies of the target's namespace.
        source: The pod that opens the connection, by its labels.
        target: The pod that listens, by its labels.
        port: The port.
        same_namespace: Whether both are in the policies' namespace.
    """
    binding = [p["spec"] for p in policies if "Ingress" in p["spec"]["policyTypes"]]
    binding = [spec for spec in binding if selects(spec["podSelector"], target)]
    if not binding:
        return True
    rules = [rule for spec in binding for rule in spec.get("ingress", ())]
    return any(_allows(rule, source, port, same_namespace) for rule in rules)


def _allows(rule: Mapping[str, Any], source: Labels, port: int, same_namespace: bool) -> bool:
    ports = rule.get("ports")
    if ports is not None and not any(each["protocol"] == "TCP" and each["port"] == port for each in ports):
        return False
    return any(_is_peer(peer, source, same_namespace) for peer in rule["from"]) if "from" in rule else True


def _is_peer(peer: Mapping[str, Any], source: Labels, same_namespace: bool) -> bool:
    namespace_fits = selects(peer["namespaceSelector"], {}) if "namespaceSelector" in peer else same_namespace
    return namespace_fits and selects(peer.get("podSelector", {}), source)
