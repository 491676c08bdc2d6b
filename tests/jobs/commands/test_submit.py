"""`sppnet submit` as a person types it; what it does on a cluster is in `tests/e2e`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from jobs.recipes import find_recipe
from pipelines.engine.recipe import load_recipe
from tests.support.chain import Chain, write_recipe
from tests.support.in_process import sppnet
from tests.support.job_dashboard import Dashboard


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--address: submit needs a cluster; give the URL of the head's dashboard, such as http://HOST:8265"),
        (("--address", "head:6379"), "--address head:6379: submit takes a URL; give the URL of the head's dashboard"),
        (("--address", "http://127.0.0.1:1"), "no Ray at http://127.0.0.1:1: Connection refused; check the address"),
        (
            ("--address", "http://127.0.0.1:1", "--stop", "--no-wait"),
            "--stop waits for the job's end: leave out --no-wait",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    outcome = sppnet("submit", "demo", "--workspace", tmp_path / "ws", *options)
    assert outcome.code == 2
    assert len(outcome.lines) == 1
    assert outcome.json["error"].startswith(said)
    assert not (tmp_path / "ws").exists()


def test_the_address_may_come_from_rays_own_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    outcome = sppnet("submit", "demo", "--workspace", tmp_path / "ws")
    assert outcome.json["error"].startswith("no Ray at http://127.0.0.1:1: Connection refused")


def test_a_recipe_may_be_a_uri() -> None:
    assert find_recipe("s3://bucket/some/recipe.yaml") == "s3://bucket/some/recipe.yaml"


def test_a_recipe_with_local_files_is_submitted_once(dashboard: Dashboard, chain: Chain, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", {name: chain.steps[name] for name in ("images", "network", "maps")})
    workspace = tmp_path / "ws"
    arguments = ("submit", recipe, "--address", dashboard.url, "--workspace", workspace, "--no-wait")
    first = sppnet(*arguments, "--gpus", "0", "--verbose")
    assert (first.code, first.json["attempt"], first.json["state"]) == (0, 1, "running")
    told = " ".join(first.lines)
    assert f"workspace {workspace} is a folder: the head and every node must have it at that path" in told
    assert f"images: the data set's folder {chain.data} does not travel: every node must have it at that path" in told
    assert f"job {first.json['job']} submitted to {dashboard.url}" in told
    (body,) = dashboard.bodies
    _, command, uploaded, *options = shlex.split(body["entrypoint"])
    assert (command, options) == ("run", ["--workspace", str(workspace), "--json", "--verbose"])
    away: Any = load_recipe(uploaded).steps
    assert (away["maps"].gpus, Path(away["network"].path).parent.parent) == (0, workspace / "uploads")

    again = sppnet(*arguments, "--gpus", "0")
    assert again.json["job"] == first.json["job"]
    assert len(dashboard.bodies) == 1
    stopped = sppnet(*arguments[:-1], "--gpus", "0", "--stop")
    assert (stopped.code, stopped.json["job"], stopped.json["state"]) == (0, first.json["job"], "stopped")
