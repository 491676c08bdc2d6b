"""The files of Ray's cluster launcher, by Ray's own rules and ours; and what machines without it are set up with."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.kuberay_manifests import overlay
from tests.support.kustomize import one
from tests.support.source_tree import ROOT

FOLDER = ROOT / "infra" / "ray-cluster"
CLOUDS = ("aws", "gcp")
every_cloud = pytest.mark.parametrize("cloud", CLOUDS)


def launched(cloud: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{cloud}.yaml").read_text())
    return found


@every_cloud
def test_ray_takes_them_and_no_field_that_it_does_not_know(cloud: str) -> None:
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(launched(cloud)))
    spoiled = launched(cloud)
    spoiled["available_node_types"]["gpu"]["min_worker"] = 2
    with pytest.raises(jsonschema.ValidationError, match="min_worker"):
        validate_config(prepare_config(spoiled))


@every_cloud
def test_the_head_stays_and_workers_are_spot_with_one_gpu_from_the_start(cloud: str) -> None:
    config = launched(cloud)
    types = config["available_node_types"]
    assert set(types) == {"head", "gpu", "cpu"}
    assert config["head_node_type"] == "head"
    spot = "InstanceMarketOptions" if cloud == "aws" else "scheduling"
    for name, node in types.items():
        assert (spot in node["node_config"]) == (name != "head")
        assert node.get("labels") == (None if name == "head" else {"ray.io/market-type": "spot"})
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["gpu"]["min_workers"] == 1
    assert types["gpu"]["max_workers"] + types["cpu"]["max_workers"] == config["max_workers"]


@every_cloud
def test_every_machine_has_the_token_the_code_and_the_environment(cloud: str) -> None:
    config = launched(cloud)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert config["file_mounts"]["~/sppnet-source"] == "."
    for kind in ("head", "worker"):
        (setup,) = config[f"{kind}_setup_commands"]
        (start,) = config[f"{kind}_start_ray_commands"]
        assert setup.split()[0] == "~/sppnet-source/infra/ray-cluster/install.sh"
        assert ". ~/sppnet-source/infra/ray-cluster/environment.sh;" in start
        assert start.index("environment.sh") < start.index("ray start")
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][0]


@every_cloud
def test_they_hold_no_secret_and_open_no_port(cloud: str) -> None:
    text = (FOLDER / f"{cloud}.yaml").read_text()
    assert not re.search(r"AKIA|aws_secret|auth_token: \w|0\.0\.0\.0", text)
    if cloud == "aws":
        node = launched("aws")["available_node_types"]["gpu"]["node_config"]
        assert node["SecurityGroupIds"] == ["sg-00000000000000000"]  # Ray's own would open port 22 to the world
        assert node["IamInstanceProfile"] == {"Name": "sppnet"}
        assert node["MetadataOptions"] == {"HttpTokens": "required"}


def sourced(tmp_path: Path, **given: str) -> dict[str, str]:
    """The environment after environment.sh."""
    command = ["/bin/bash", "-c", f". {shlex.quote(str(FOLDER / 'environment.sh'))} && env -0"]
    variables = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], **given}
    text = subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in text.split("\0") if line)


def test_the_environment_is_that_of_the_manifests(tmp_path: Path) -> None:
    found = sourced(tmp_path)
    settings = one(list(overlay("cluster/one-gpu")), "ConfigMap")["data"]
    expected = {name: value for name, value in settings.items() if name.startswith("RAY_")}
    assert {name: found[name] for name in expected} == expected
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["RAY_AUTH_TOKEN_PATH"] == f"{tmp_path}/.ray/auth_token"
    assert found["PATH"].startswith(f"{tmp_path}/sppnet/bin:")
    assert sourced(tmp_path, RAY_AUTH_TOKEN_PATH="/elsewhere")["RAY_AUTH_TOKEN_PATH"] == "/elsewhere"


def test_what_is_installed_is_the_runtime_lock() -> None:
    text = (FOLDER / "install.sh").read_text()
    assert "--require-hashes -r requirements-runtime.lock" in text
    assert "--no-deps --no-build-isolation ." in text
    assert os.access(FOLDER / "install.sh", os.X_OK)
    subprocess.run(["/bin/bash", "-n", FOLDER / "install.sh"], check=True)
