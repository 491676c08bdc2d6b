"""What docs/cluster.md shows can be done."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from jobs.cli import app
from tests.support.kuberay_manifests import VERSION, cluster_spec, pods
from tests.support.kustomize import build, one
from tests.support.source_tree import ROOT

PAGE = (ROOT / "docs" / "cluster.md").read_text()


@pytest.fixture
def overlay_of_the_page(tmp_path: Path) -> Path:
    """The folder my-cluster, beside a checkout named sppnet."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "sppnet").symlink_to(ROOT)
    folder = tmp_path / "my-cluster"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(text)
    return folder


def test_the_overlay_that_is_shown_is_a_run_on_spot_machines(overlay_of_the_page: Path) -> None:
    resources = build(overlay_of_the_page)
    assert {each["metadata"]["namespace"] for each in resources} == {"sppnet"}
    assert one(resources, "RayJob")["spec"]["entrypoint"].endswith("s3://your-bucket/sppnet")
    assert {pod.container["image"] for pod in pods(resources)} == {f"registry.example/sppnet:{VERSION}"}
    assert one(resources, "ConfigMap")["data"]["AWS_DEFAULT_REGION"] == "eu-central-1"
    assert cluster_spec(resources)["workerGroupSpecs"][0]["labels"] == {"ray.io/market-type": "spot"}
    assert "RayCluster" not in {each["kind"] for each in resources}
    assert one(resources, "PodMonitor")


def test_kustomize_builds_it_alike(overlay_of_the_page: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl; tests/support/kustomize.py builds for the other tests")
    copy = overlay_of_the_page.parent / "copied"
    shutil.copytree(ROOT / "infra" / "kuberay", copy / "infra" / "kuberay")
    (overlay_of_the_page.parent / "sppnet").unlink()
    copy.rename(overlay_of_the_page.parent / "sppnet")
    command = ["kubectl", "kustomize", str(overlay_of_the_page)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    built = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}
    assert built == {(each["kind"], each["metadata"]["name"]): each for each in build(overlay_of_the_page)}


def commands() -> list[list[str]]:
    """Every `sppnet ...` of an indented block, its continued lines joined."""
    blocks = re.sub(r"\\\n\s+", "", "\n".join(re.findall(r"^    (.*)$", PAGE, re.MULTILINE)))
    shown = [re.search(r"(?:^|-- |head )(sppnet [a-z][^#]*)", line) for line in blocks.splitlines()]
    return [shlex.split(found[1]) for found in shown if found]


def test_every_command_has_the_options_that_are_shown() -> None:
    known = typer.main.get_command(app)
    shown = commands()
    assert {command[1] for command in shown} == {"doctor", "submit", "run", "score", "plan"}
    for command in shown:
        with known.make_context("sppnet", command[1:2]) as context:
            sub = known.get_command(context, command[1])  # type: ignore[attr-defined]
        options = {name for parameter in sub.params for name in parameter.opts}
        assert {word for word in command if word.startswith("--")} <= options, command


def test_every_file_that_is_named_is_there() -> None:
    for name in re.findall(r"infra/[\w./-]+\w", PAGE):
        assert name == "infra/compose/.env" or (ROOT / name).exists(), name
