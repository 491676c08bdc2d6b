"""What the manifests must have so that a run works on them, and so that nobody else gets in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from jobs.recipes import recipe_names
from pipelines.engine.machine import CpuFields
from tests.support.kuberay_manifests import (
    KUBERAY,
    OVERLAYS,
    VERSION,
    Pod,
    cluster_spec,
    locked,
    overlay,
    own_overlay,
    pods,
    quantity,
)
from tests.support.kubernetes_rules import may_reach, selects
from tests.support.kustomize import one

PORTS = {"gcs-server": 6379, "dashboard": 8265, "metrics": 8080}
KEEPALIVE = {"RAY_grpc_client_keepalive_time_ms": "10000", "RAY_grpc_client_keepalive_timeout_ms": "5000"}
BY_HELM = {"app.kubernetes.io/name": "kuberay-operator"}
BY_KUSTOMIZE = {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/component": "kuberay-operator"}
PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}
EVERY_POD = [pytest.param(pod, id=f"{name}-{pod.name}") for name in OVERLAYS for pod in pods(overlay(name))]
RAY_PODS = [param for param in EVERY_POD if param.values[0].is_ray]
every_overlay = pytest.mark.parametrize("name", OVERLAYS)
every_pod = pytest.mark.parametrize("pod", EVERY_POD)
every_ray_pod = pytest.mark.parametrize("pod", RAY_PODS)


def policies(name: str) -> list[dict[str, Any]]:
    return [each for each in overlay(name) if each["kind"] == "NetworkPolicy"]


def pod_of(name: str, wanted: str) -> Pod:
    (pod,) = [pod for pod in pods(overlay(name)) if pod.name == wanted]
    return pod


@every_overlay
def test_a_cluster_is_of_this_ray_and_asks_for_a_token(name: str) -> None:
    spec = cluster_spec(overlay(name))
    assert spec["rayVersion"] == locked("ray")
    assert spec["authOptions"] == {"mode": "token", "secretName": "sppnet-ray-token"}


@every_pod
def test_every_image_is_of_this_version(pod: Pod) -> None:
    assert pod.container["image"] == f"sppnet:{VERSION}"


@pytest.mark.parametrize("name", [name for name in OVERLAYS if name.startswith("job")])
def test_the_job_runs_the_demo_and_a_retry_is_a_new_cluster(name: str) -> None:
    job = one(list(overlay(name)), "RayJob")["spec"]
    command, subcommand, recipe, option, workspace = job["entrypoint"].split()
    assert (command, subcommand, option) == ("sppnet", "run", "--workspace")
    assert recipe == "demo"
    assert recipe in recipe_names()
    assert re.fullmatch(r"s3://[a-z-]+/[a-z]+", workspace)
    assert job["backoffLimit"] > 0
    assert job["submitterConfig"] == {"backoffLimit": 0}
    assert job["shutdownAfterJobFinishes"]
    assert job["ttlSecondsAfterFinished"] == 600
    assert job["submitterPodTemplate"]["spec"]["restartPolicy"] == "Never"


@every_overlay
def test_who_submits_reaches_the_dashboard_and_strangers_do_not(name: str) -> None:
    head = pod_of(name, "head")
    assert head.params["dashboard-host"] == "0.0.0.0"  # noqa: S104  # the policies below are why that may be
    for pod in pods(overlay(name)):
        assert may_reach(policies(name), pod.labels, head.labels, 8265)
        assert may_reach(policies(name), pod.labels, head.labels, 6379) or not pod.is_ray
    for operator in (BY_HELM, BY_KUSTOMIZE):
        assert may_reach(policies(name), operator, head.labels, 8265, same_namespace=False)
        assert not may_reach(policies(name), operator, head.labels, 6379, same_namespace=False)
    for port in (8265, 6379, 10001, 8080, 52365):
        assert not may_reach(policies(name), {"app": "stranger"}, head.labels, port)
        assert not may_reach(policies(name), head.labels, head.labels, port, same_namespace=False)
    assert not may_reach(policies(name), PROMETHEUS, head.labels, 8265, same_namespace=False)


@every_overlay
def test_nodes_reach_each_other_at_any_port_and_prometheus_the_metrics(name: str) -> None:
    nodes = [pod for pod in pods(overlay(name)) if pod.is_ray]
    for target in nodes:
        for source in nodes:
            assert may_reach(policies(name), source.labels, target.labels, 31234)
        assert may_reach(policies(name), PROMETHEUS, target.labels, PORTS["metrics"], same_namespace=False)
        assert not may_reach(policies(name), {"app": "stranger"}, target.labels, 31234)


@every_overlay
def test_pods_reach_names_s3_and_the_api_but_not_the_machines_own_credentials(name: str) -> None:
    (egress,) = [each["spec"] for each in policies(name) if "Egress" in each["spec"]["policyTypes"]]
    assert all(selects(egress["podSelector"], pod.labels) for pod in pods(overlay(name)))
    among, names, outside = egress["egress"]
    assert all(selects(among["to"][0]["podSelector"], pod.labels) for pod in pods(overlay(name)))
    assert sorted((each["protocol"], each["port"]) for each in names["ports"]) == [("TCP", 53), ("UDP", 53)]
    assert [each["port"] for each in outside["ports"]] == [443, 6443]
    kept_out = {peer["ipBlock"]["cidr"]: peer["ipBlock"]["except"] for peer in outside["to"]}
    assert kept_out == {"0.0.0.0/0": ["169.254.0.0/16"], "::/0": ["fd00:ec2::254/128", "fe80::/10"]}


@every_overlay
def test_nothing_is_opened_to_the_outside(name: str) -> None:
    assert not {each["kind"] for each in overlay(name)} & {"Ingress", "Service", "Gateway", "HTTPRoute"}
    assert "serviceType" not in cluster_spec(overlay(name))["headGroupSpec"]


@every_ray_pod
def test_ports_agree_wherever_they_are_named(pod: Pod) -> None:
    named = {each["name"]: each["containerPort"] for each in pod.container["ports"]}
    assert named == (PORTS if pod.name == "head" else {"metrics": PORTS["metrics"]})
    assert int(pod.params["metrics-export-port"]) == PORTS["metrics"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = pod.container[probe]["httpGet"]
        assert asked == {"path": "/api/healthz", "port": int(pod.params["dashboard-agent-listen-port"])}


@every_ray_pod
def test_a_slow_start_and_a_busy_machine_are_no_death(pod: Pod) -> None:
    def patience(name: str) -> int:
        probe = pod.container[name]
        seconds: int = probe["periodSeconds"] * probe["failureThreshold"]
        return seconds

    assert patience("startupProbe") == 300
    assert patience("livenessProbe") == 300
    assert patience("readinessProbe") == 60


@every_overlay
def test_autoscaling_is_switched_on_where_there_is_a_range(name: str) -> None:
    spec = cluster_spec(overlay(name))
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert any(group["minReplicas"] < group["maxReplicas"] for group in spec["workerGroupSpecs"])
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert group["template"]["spec"].get("restartPolicy", "Never") == "Never"  # v2 refuses others


@pytest.mark.parametrize(
    ("size", "most"),
    [("one-gpu", {"gpu": 1, "cpu": 4}), ("eight-gpus", {"gpu": 8, "cpu": 16}), ("cpu-only", {"cpu": 8})],
)
def test_an_overlay_has_the_machines_of_its_name_and_one_that_computes_at_once(size: str, most: dict[str, int]) -> None:
    groups = cluster_spec(overlay(f"cluster/{size}"))["workerGroupSpecs"]
    assert {group["groupName"]: group["maxReplicas"] for group in groups} == most
    assert groups[0]["minReplicas"] == 1
    assert (
        "nvidia.com/gpu" in groups[0]["template"]["spec"]["containers"][0]["resources"]["limits"] or size == "cpu-only"
    )


@every_overlay
def test_job_and_cluster_of_a_size_are_the_same_cluster(name: str) -> None:
    kind, size = name.split("/")
    assert cluster_spec(overlay(name)) == cluster_spec(overlay(f"cluster/{size}"))
    assert (kind == "job") == ("RayCluster" not in {each["kind"] for each in overlay(name)})


@every_pod
def test_every_container_says_what_it_takes_and_memory_is_no_promise(pod: Pod) -> None:
    requests, limits = pod.container["resources"]["requests"], pod.container["resources"]["limits"]
    assert {"cpu", "memory"} <= set(requests) == set(limits)
    assert requests["memory"] == limits["memory"]
    assert all(quantity(requests[name]) <= quantity(limits[name]) for name in requests)


@every_overlay
def test_the_autoscaler_says_what_it_takes_and_has_no_rights_to_spare(name: str) -> None:
    options = cluster_spec(overlay(name))["autoscalerOptions"]
    assert set(options["resources"]["requests"]) == set(options["resources"]["limits"]) == {"cpu", "memory"}
    assert options["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@every_ray_pod
def test_a_node_fits_the_units_that_it_is_to_run(pod: Pod) -> None:
    limits = pod.container["resources"]["limits"]
    cpus_of_a_unit = CpuFields.model_fields["cpus"].default
    if pod.name == "head":
        assert pod.params["num-cpus"] == "0"
    elif pod.name == "gpu":
        assert limits["nvidia.com/gpu"] == "1"
        assert quantity(limits["cpu"]) >= 4 * cpus_of_a_unit  # one for the GPU's unit, the others for CPU steps
    else:
        assert quantity(limits["cpu"]) >= cpus_of_a_unit
        assert "nvidia.com/gpu" not in limits
    # Ray's logical memory, its object store in /dev/shm, and a gigabyte for Ray itself come out of one limit.
    needed = int(pod.params.get("memory", 0)) + int(pod.params["object-store-memory"]) + 2**30
    assert needed <= quantity(limits["memory"])


@every_ray_pod
def test_every_mounted_path_has_its_volume(pod: Pod) -> None:
    volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in pod.container["volumeMounts"]}
    assert set(mounts.values()) == set(volumes)
    shm = volumes[mounts["/dev/shm"]]["emptyDir"]
    assert shm["medium"] == "Memory"
    assert (
        int(pod.params["object-store-memory"])
        < quantity(shm["sizeLimit"])
        < quantity(pod.container["resources"]["limits"]["memory"])
    )
    scratch = volumes[mounts["/tmp"]]["emptyDir"]
    assert scratch["sizeLimit"] == pod.container["resources"]["limits"]["ephemeral-storage"]


@every_pod
def test_nobody_is_root_or_can_become_it(pod: Pod) -> None:
    security = pod.spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert (security["runAsUser"], security["runAsGroup"]) == (10001, 10001)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod.container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert pod.spec["automountServiceAccountToken"] is (pod.name == "head")  # its autoscaler asks for pods


@every_overlay
def test_every_process_of_ray_has_the_same_keepalive_and_reports_nothing(name: str) -> None:
    settings = one(list(overlay(name)), "ConfigMap", "sppnet-env")["data"]
    assert {key: settings[key] for key in KEEPALIVE} == KEEPALIVE
    assert settings["RAY_USAGE_STATS_ENABLED"] == "0"
    assert settings["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"
    options = cluster_spec(overlay(name))["autoscalerOptions"]
    for where in (options, *(pod.container for pod in pods(overlay(name)))):
        assert {"configMapRef": {"name": "sppnet-env"}} in where["envFrom"]


@every_ray_pod
def test_keys_come_from_a_secret_that_is_not_here(pod: Pod) -> None:
    assert {"secretRef": {"name": "sppnet-s3", "optional": True}} in pod.container["envFrom"]
    assert "env" not in pod.container


def test_no_file_holds_a_secret() -> None:
    texts = {path: path.read_text() for path in (*KUBERAY.rglob("*.yaml"), *KUBERAY.parent.rglob("*.env"))}
    assert len(texts) > 15
    for path, text in texts.items():
        assert "kind: Secret" not in text, path
        assert not re.search(r"AKIA[A-Z0-9]{12}|auth_token[\"']?: *\w|SECRET_ACCESS_KEY[\"']?[:=] *\w", text), path


def test_a_role_instead_of_keys_is_the_pods_own_token(tmp_path: Path) -> None:
    resources = own_overlay(tmp_path, "one-gpu", "s3-identity")
    settings = one(resources, "ConfigMap", "sppnet-env")["data"]
    role = settings["AWS_ROLE_ARN"]
    assert one(resources, "ServiceAccount")["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": role}
    assert {key: settings[key] for key in KEEPALIVE} == KEEPALIVE
    for pod in pods(resources):
        assert pod.spec["serviceAccountName"] == one(resources, "ServiceAccount")["metadata"]["name"]
        (volume,) = [each for each in pod.spec["volumes"] if "projected" in each]
        (token,) = [source["serviceAccountToken"] for source in volume["projected"]["sources"]]
        (mount,) = [each for each in pod.container["volumeMounts"] if each["name"] == volume["name"]]
        assert f"{mount['mountPath']}/{token['path']}" == settings["AWS_WEB_IDENTITY_TOKEN_FILE"]
        assert token["audience"] == "sts.amazonaws.com"
        assert pod.spec["securityContext"]["fsGroup"] == 10001  # or the token is root's alone


@pytest.mark.parametrize("size", ["one-gpu", "cpu-only"])
def test_on_eks_what_computes_is_on_spot_machines_and_the_head_is_not(size: str, tmp_path: Path) -> None:
    spec = cluster_spec(own_overlay(tmp_path, size, "spot-eks"))
    first, *others = spec["workerGroupSpecs"]
    assert first["labels"] == {"ray.io/market-type": "spot"}
    assert first["template"]["spec"]["nodeSelector"] == {"karpenter.sh/capacity-type": "spot"}
    assert all("nodeSelector" not in group["template"]["spec"] for group in others)
    head = spec["headGroupSpec"]["template"]
    assert head["spec"]["nodeSelector"] == {"karpenter.sh/capacity-type": "on-demand"}
    assert head["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


@pytest.mark.parametrize("size", ["one-gpu", "cpu-only"])
def test_on_gke_what_computes_is_on_spot_machines_and_the_head_is_not(size: str, tmp_path: Path) -> None:
    spec = cluster_spec(own_overlay(tmp_path, size, "spot-gke"))
    first, *others = spec["workerGroupSpecs"]
    template = first["template"]["spec"]
    assert first["labels"] == {"ray.io/market-type": "spot"}
    assert template["nodeSelector"] == {"cloud.google.com/gke-spot": "true"}
    assert {"nvidia.com/gpu", "cloud.google.com/gke-spot"} == {each["key"] for each in template["tolerations"]}
    assert all("nodeSelector" not in group["template"]["spec"] for group in others)
    affinity = spec["headGroupSpec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchExpressions": [{"key": "cloud.google.com/gke-spot", "operator": "DoesNotExist"}]}
