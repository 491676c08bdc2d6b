"""The manifests agree with the code that they deploy."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from jobs.recipes import recipe_names

ROOT = Path(__file__).resolve().parent.parent


def test_the_ray_job_runs_a_built_in_recipe_with_this_ray_and_token_auth() -> None:
    job = yaml.safe_load((ROOT / "infra/kuberay/rayjob.yaml").read_text())["spec"]
    pinned = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert pinned
    assert job["rayClusterSpec"]["rayVersion"] == pinned.group(1)
    assert job["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    command, subcommand, recipe, *_ = job["entrypoint"].split()
    assert (command, subcommand) == ("sppnet", "run")
    assert recipe in recipe_names()
    assert job["submitterConfig"]["backoffLimit"] == 0
    assert job["backoffLimit"] > 0


def test_every_image_is_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    text = (ROOT / "infra/kuberay/rayjob.yaml").read_text()
    assert re.findall(r"image: (\S+)", text) == [f"sppnet:{version}"] * 2
    assert f"-t sppnet:{version} ." in (ROOT / "infra/Dockerfile").read_text()


def test_the_image_installs_from_the_lock_with_hashes_and_runs_as_nobody_special() -> None:
    text = (ROOT / "infra/Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in text
    assert re.search(r"^USER (?!root)\S+", text, re.MULTILINE)
