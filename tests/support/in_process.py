"""The `sppnet` command run in this process, on a small data set of its own: `bench` and `made`."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from jobs.cli import app
from tests.support.chain import Chain, make_steps, write_recipe


@dataclass
class Outcome:
    """What a command left behind: its exit code, the lines of its standard error, its last line as JSON."""

    code: int
    lines: list[str]
    json: dict[str, Any]


def sppnet(*arguments: str | Path) -> Outcome:
    """Runs the command in this process and checks what holds for every run: JSON last, no trace, one error line."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    body = json.loads(result.stdout.splitlines()[-1])
    lines = result.stderr.splitlines()
    assert body["exit_code"] == result.exit_code
    assert "Traceback" not in result.stderr
    errors = [line for line in lines if line.startswith("sppnet: ")]
    assert errors == ([f"sppnet: {body['error']}"] if result.exit_code else [])
    if result.exit_code:
        assert lines[-1] == errors[0]
    return Outcome(result.exit_code, lines, body)


@dataclass
class Bench:
    """A recipe file with its own copy of the data set and its workspace."""

    folder: Path
    steps: dict[str, dict[str, Any]]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def recipe(self) -> Path:
        return write_recipe(self.folder / "recipe.yaml", self.steps)

    def run(self, *sets: str) -> Outcome:
        options = [part for value in sets for part in ("--set", value)]
        return sppnet("run", self.recipe, "--workspace", self.workspace, "--local", *options)

    def status(self, *sets: str) -> Outcome:
        options = [part for value in sets for part in ("--set", value)]
        return sppnet("status", self.recipe, "--workspace", self.workspace, *options)

    def chain(self) -> Chain:
        return Chain(self.data, yaml.safe_load(self.recipe.read_text())["steps"], self.workspace)


@pytest.fixture
def bench(drawn, weights_file, tmp_path) -> Bench:
    """Nothing is made yet."""
    shutil.copytree(drawn, tmp_path / "data")
    return Bench(tmp_path, make_steps(tmp_path / "data", weights_file))


@pytest.fixture
def made(chain, tmp_path) -> Bench:
    """Images, windows, network and maps of the session's chain are there; SVMs and what follows are not."""
    chain.copied(tmp_path / "workspace")
    (tmp_path / "data").symlink_to(chain.data)
    steps = {name: dict(step) for name, step in chain.steps.items()}
    return Bench(tmp_path, steps)
