"""Every built manifest is what KubeRay's CRDs and Kubernetes take: a field that they don't know is an error."""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.kuberay_manifests import COMPONENTS, KUBERAY, OVERLAYS, SIZES, overlay, own_overlay
from tests.support.kustomize import Resource, one

FIELDS = yaml.safe_load((Path(__file__).parent / "kuberay_fields.yaml").read_text())
CRDS = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}


def problems(resources: tuple[Resource, ...] | list[Resource]) -> list[str]:
    found = []
    for resource in (each for each in resources if each["kind"] in CRDS):
        validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{resource['kind']}", "$defs": FIELDS["$defs"]})
        found += [f"{error.json_path}: {error.message}" for error in validator.iter_errors(resource)]
    return found


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_overlays_use_fields_that_kuberay_has(name: str) -> None:
    resources = overlay(name)
    assert {each["kind"] for each in resources} & set(CRDS) == {
        "RayCluster" if name.startswith("cluster") else "RayJob"
    }
    assert not problems(resources)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("component", COMPONENTS)
def test_so_do_the_components_on_every_size(component: str, size: str, tmp_path: Path) -> None:
    assert not problems(own_overlay(tmp_path, size, component))


def test_a_wrong_field_a_wrong_type_and_a_missing_field_are_seen() -> None:
    spoiled = copy.deepcopy(list(overlay("cluster/one-gpu")))
    spec = one(spoiled, "RayCluster")["spec"]
    spec["enableInTreeAutoscalling"] = spec.pop("enableInTreeAutoscaling")
    spec["workerGroupSpecs"][0]["rayStartParams"]["num-cpus"] = 4
    del spec["workerGroupSpecs"][1]["maxReplicas"]
    assert {problem.split(":")[0] for problem in problems(spoiled)} == {
        "$.spec",
        "$.spec.workerGroupSpecs[0].rayStartParams['num-cpus']",
        "$.spec.workerGroupSpecs[1]",
    }


@pytest.mark.parametrize("name", OVERLAYS)
def test_kustomize_itself_builds_the_same(name: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl; tests/support/kustomize.py builds for the other tests")
    command = ["kubectl", "kustomize", str(KUBERAY / name)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert in_order(list(yaml.safe_load_all(text))) == in_order(list(overlay(name)))


def in_order(resources: list[Resource]) -> list[Resource]:
    return sorted(resources, key=lambda each: (each["kind"], each["metadata"]["name"]))


def closed(schema: Any) -> Any:
    """A CRD's schema in which what isn't listed is an error, as `kubectl apply --validate=strict` has it."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@pytest.mark.parametrize("kind", CRDS)
def test_they_are_valid_by_the_crds_where_these_are(kind: str, shared: Path) -> None:
    path = shared / "kuberay" / CRDS[kind]
    if not path.is_file():
        pytest.skip(f"needs KubeRay v1.7.0's {path.name} as {path}")
    versions = yaml.load(path.read_text(), yaml.CSafeLoader)["spec"]["versions"]
    (schema,) = [closed(each["schema"]["openAPIV3Schema"]) for each in versions if each["name"] == "v1"]
    schema["properties"]["metadata"] = {"type": "object"}  # the API server's own
    validator = jsonschema.Draft202012Validator(schema)
    checked = [each for name in OVERLAYS for each in overlay(name) if each["kind"] == kind]
    assert len(checked) == len(SIZES)
    assert [error.message for each in checked for error in validator.iter_errors(each)] == []
