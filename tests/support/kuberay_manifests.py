"""The built manifests of infra/kuberay, and their parts by the names that KubeRay gives them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.kustomize import Resource, build, one
from tests.support.source_tree import ROOT

KUBERAY = ROOT / "infra" / "kuberay"
SIZES = ("one-gpu", "eight-gpus", "cpu-only")
KINDS = ("cluster", "job")
OVERLAYS = tuple(f"{kind}/{size}" for kind in KINDS for size in SIZES)
COMPONENTS = ("s3-identity", "spot-eks", "spot-gke", "monitoring")
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def locked(name: str) -> str:
    """The version of a package in requirements.lock."""
    found = re.search(rf"^{re.escape(name)}==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert found
    return found[1]


@cache
def overlay(name: str) -> tuple[Resource, ...]:
    """What `kubectl apply -k infra/kuberay/NAME` would apply."""
    return tuple(build(KUBERAY / name))


def own_overlay(folder: Path, size: str, *components: str) -> list[Resource]:
    """What somebody's own overlay in `folder` makes of a long-lived cluster and some components."""
    listed = "".join(f"  - {(KUBERAY / 'components' / name).as_posix()}\n" for name in components)
    text = f"resources:\n  - {(KUBERAY / 'cluster' / size).as_posix()}\ncomponents:\n{listed}"
    (folder / "kustomization.yaml").write_text(text)
    return build(folder)


def cluster_spec(resources: tuple[Resource, ...] | list[Resource]) -> dict[str, Any]:
    """The cluster's spec, be it a RayCluster or that of a RayJob."""
    kinds = {each["kind"] for each in resources}
    spec: dict[str, Any]
    if "RayCluster" in kinds:
        spec = one(list(resources), "RayCluster")["spec"]
    else:
        spec = one(list(resources), "RayJob")["spec"]["rayClusterSpec"]
    return spec


@dataclass(frozen=True)
class Pod:
    """A pod's template: of `head`, `submitter` or a worker group, with the labels that KubeRay adds."""

    name: str
    template: dict[str, Any]
    params: dict[str, str]
    kuberay_labels: dict[str, str]

    @property
    def spec(self) -> dict[str, Any]:
        """The template's spec."""
        spec: dict[str, Any] = self.template["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        """Its only container."""
        (container,) = self.spec["containers"]
        found: dict[str, Any] = container
        return found

    @property
    def labels(self) -> dict[str, str]:
        """All labels of the pod that comes of it."""
        return {**self.template["metadata"]["labels"], **self.kuberay_labels}

    @property
    def is_ray(self) -> bool:
        """Whether it is a node of the cluster."""
        return "ray.io/node-type" in self.kuberay_labels


def pods(resources: tuple[Resource, ...] | list[Resource]) -> Iterator[Pod]:
    """Every pod that the resources lead to."""
    spec = cluster_spec(resources)
    head = spec["headGroupSpec"]
    yield Pod("head", head["template"], head["rayStartParams"], _node_labels("head"))
    for group in spec["workerGroupSpecs"]:
        labels = {**_node_labels("worker"), "ray.io/group": group["groupName"]}
        yield Pod(group["groupName"], group["template"], group["rayStartParams"], labels)
    for resource in resources:
        if resource["kind"] == "RayJob":
            labels = {"ray.io/originated-from-crd": "RayJob"}
            yield Pod("submitter", resource["spec"]["submitterPodTemplate"], {}, labels)


def _node_labels(kind: str) -> dict[str, str]:
    return {"ray.io/is-ray-node": "yes", "ray.io/node-type": kind, "app.kubernetes.io/name": "kuberay"}


def quantity(value: str | float) -> float:
    """A Kubernetes quantity as a number."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(value))
    assert found
    return float(found[1]) / 1000 if found[2] == "m" else float(found[1]) * _UNITS[found[2]]
