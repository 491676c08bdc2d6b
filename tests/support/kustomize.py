"""What `kubectl kustomize` makes of a folder, for the features that `infra/kuberay` uses; others are refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]
FEATURES = {"apiVersion", "kind", "namespace", "resources", "components", "patches", "images", "replacements"}


def build(folder: Path) -> list[Resource]:
    """Every resource of a kustomization, in no particular order."""
    return _accumulate(folder, [])


def one(resources: list[Resource], kind: str, name: str | None = None) -> Resource:
    """The only resource of a kind, and of a name if given."""
    (found,) = [each for each in resources if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    return found


def _accumulate(folder: Path, resources: list[Resource]) -> list[Resource]:
    wanted = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(wanted) <= FEATURES, f"{folder}: {set(wanted) - FEATURES} are not understood here"
    for name in wanted.get("resources", ()):
        path = (folder / name).resolve()
        resources += _accumulate(path, []) if path.is_dir() else yaml.safe_load_all(path.read_text())
    for name in wanted.get("components", ()):
        _accumulate((folder / name).resolve(), resources)
    for patch in wanted.get("patches", ()):
        _patch(resources, patch)
    for resource in resources if "namespace" in wanted else ():
        resource["metadata"]["namespace"] = wanted["namespace"]
    for image in wanted.get("images", ()):
        _rename_images(resources, image)
    for replacement in wanted.get("replacements", ()):
        _replace(resources, replacement)
    return resources


def _patch(resources: list[Resource], patch: dict[str, Any]) -> None:
    content = yaml.safe_load(patch["patch"])
    if isinstance(content, list):
        target = one(resources, **patch["target"])
        for operation in content:
            _operate(target, operation)
        return
    target = one(resources, content["kind"], content["metadata"]["name"])
    if content.pop("$patch", None) == "delete":
        resources.remove(target)
    else:
        _merge(target, content)


def _operate(target: Any, operation: dict[str, Any]) -> None:
    """One step of RFC 6902."""
    *way, last = (part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:])
    for part in way:
        target = target[int(part) if isinstance(target, list) else part]
    key: Any = last if isinstance(target, dict) or last == "-" else int(last)
    value = copy.deepcopy(operation.get("value"))
    kind = operation["op"]
    if kind == "add" and isinstance(target, list):
        target.insert(len(target) if key == "-" else key, value)
    elif kind == "add":
        target[key] = value
    elif kind == "replace":
        assert target[key] != value, f"{operation['path']} is {value} already"
        target[key] = value
    elif kind == "remove":
        del target[key]
    else:
        assert kind == "test", kind
        assert target[key] == value, operation


def _merge(target: dict[str, Any], content: dict[str, Any]) -> None:
    for key, value in content.items():
        assert not isinstance(value, list), f"{key}: how lists are merged depends on the kind"
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)


def _rename_images(node: Any, image: dict[str, str]) -> None:
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _rename_images(value, image)
    for container in node.get("containers", ()) if isinstance(node, dict) else ():
        name, tag = container["image"].split(":")
        if name == image["name"]:
            container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"


def _replace(resources: list[Resource], replacement: dict[str, Any]) -> None:
    source = dict(replacement["source"])
    value = one(resources, source["kind"], source.get("name"))[source["fieldPath"]]
    for target in replacement["targets"]:
        assert target["options"] == {"create": True}
        for path in target["fieldPaths"]:
            node = one(resources, **target["select"])
            *way, last = path.split(".")
            for part in way:
                node = node[part]
            node[last] = copy.deepcopy(value)
