"""The command itself: its version, and what it answers without a command."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs import cli

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_that_of_the_project() -> None:
    result = CliRunner().invoke(cli.app, ["--version"])
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert result.exit_code == 0
    assert re.fullmatch(rf"sppnet {re.escape(own)} \(torch \d+\.[\w.+]+, ray \d+\.[\w.]+\)\n", result.stdout)


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "ray":
            raise cli.PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr(cli, "version", version)
    result = CliRunner().invoke(cli.app, ["--version"])
    assert result.stdout == "sppnet 1.2 (torch 1.2, ray not installed)\n"


def test_without_a_command_the_help_names_the_exit_codes() -> None:
    result = CliRunner().invoke(cli.app, [])
    assert result.exit_code == 2
    assert "Exit codes: 0 done, 2 wrong usage or config" in " ".join(result.output.split())
