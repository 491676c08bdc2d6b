"""The board and the alerts ask for metrics that exist, by the names that Ray exports them with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from pipelines.engine.activity import KINDS
from tests.support.kuberay_manifests import KUBERAY, own_overlay, pods
from tests.support.kubernetes_rules import selects
from tests.support.kustomize import one
from tests.support.source_tree import NAMES, ROOT

BOARD: dict[str, Any] = json.loads((ROOT / "infra" / "grafana" / "sppnet.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((KUBERAY / "components" / "monitoring" / "rules.yaml").read_text())
DEFINED = re.compile(r"(Counter|Gauge)\(\s*\"(sppnet_\w+)\"")
OF_RAY = {
    "ray_node_cpu_count",
    "ray_node_cpu_utilization",
    "ray_node_gpus_utilization",
    "ray_node_gram_used",
    "ray_node_mem_total",
    "ray_node_mem_used",
}


def exported() -> set[str]:
    """Our metrics as Prometheus sees them: Ray puts `ray_` before, and `_total` after those that only grow."""
    text = "\n".join((ROOT / name).read_text() for name in NAMES if name.startswith("pipelines/"))
    found = {name: kind for kind, name in DEFINED.findall(text)}
    assert len(found) == 9
    return {f"ray_{name}_total" if kind == "Counter" else f"ray_{name}" for name, kind in found.items()}


def board_expressions() -> list[str]:
    return [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    return [rule for group in RULES["spec"]["groups"] for rule in group["rules"]]


def asked(expressions: list[str]) -> set[str]:
    return {name for text in expressions for name in re.findall(r"\bray_\w+(?![\w\"=])", text)} - {
        "ray_io_cluster",
        "ray_io_group",
    }


def test_the_board_shows_all_of_our_metrics_and_none_that_is_not_there() -> None:
    names = asked(board_expressions())
    assert {name for name in names if "sppnet" in name} == exported()
    assert {name for name in names if "sppnet" not in name} == OF_RAY


def test_the_alerts_ask_for_metrics_that_are_there() -> None:
    assert asked([rule["expr"] for rule in rules()]) <= exported() | OF_RAY
    assert len(rules()) == 5
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "action"}


def test_only_what_grows_is_asked_for_its_rate() -> None:
    for text in (*board_expressions(), *(rule["expr"] for rule in rules())):
        for name in re.findall(r"(?:rate|increase)\((ray_\w+)", text):
            assert name.endswith("_total"), text
        for name in re.findall(r"ray_sppnet_\w+_total", text):
            assert re.search(rf"(?:rate|increase)\({name}\b", text), text


def test_the_activities_are_those_that_workers_count() -> None:
    texts = "\n".join(board_expressions())
    assert set(re.findall(r'activity="(\w+)"', texts)) <= {"unit", *KINDS}


def test_panels_do_not_overlap_and_every_query_can_be_narrowed() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert {variable["name"] for variable in BOARD["templating"]["list"]} == {"datasource", "cluster", "step"}
    for text in board_expressions():
        assert 'ray_io_cluster=~"$cluster"' in text
        assert ('step=~"$step"' in text) == ("sppnet" in text)


def test_prometheus_finds_every_node_at_its_metrics_and_has_the_token(tmp_path: Path) -> None:
    resources = own_overlay(tmp_path, "one-gpu", "monitoring")
    monitor = one(resources, "PodMonitor")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert one(resources, "PrometheusRule")["spec"] == RULES["spec"]
    assert endpoint["authorization"]["credentials"] == {"name": "sppnet-ray-token", "key": "auth_token"}
    for pod in pods(resources):
        assert selects(monitor["selector"], pod.labels)
        assert endpoint["port"] in {port["name"] for port in pod.container["ports"]}
    assert {rule["targetLabel"] for rule in endpoint["relabelings"]} == {"ray_io_cluster", "ray_io_group"}
