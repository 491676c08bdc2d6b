"""`sppnet doctor` finds what would make a run fail, and no check stops the others."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from jobs.doctor import machine as doctor
from jobs.doctor.check import Check
from jobs.doctor.machine import examine
from sppnet.devices import has_bfloat_units

NAMES = [
    "python",
    "packages",
    "torch pair",
    "devices",
    "memory",
    "shared memory",
    "spill disk",
    "ray",
    "workspace",
]


def found(workspace: Path | str) -> dict[str, Check]:
    return {check.name: check for check in examine(str(workspace))}


def test_every_check_has_a_finding_on_this_machine(tmp_path: Path) -> None:
    checks = examine(str(tmp_path / "workspace"))
    assert [check.name for check in checks] == NAMES
    assert [check.name for check in checks if check.state == "fail"] == []
    assert all(check.finding for check in checks)
    assert checks[0].to_json().keys() == {"name", "state", "finding"}


def test_a_workspace_that_can_not_be_written_fails() -> None:
    workspace = found("/sys/sppnet")["workspace"]
    assert workspace.state == "fail"
    assert "can't be written" in workspace.finding


@pytest.mark.parametrize(
    ("missing", "state", "hint"),
    [("ray", "warn", "missing: ray; only --local works"), ("numba", "fail", "missing: numba; install the project's")],
)
def test_missing_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str, state: str, hint: str) -> None:
    def version(name: str) -> str:
        if name == missing:
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    packages = found(tmp_path)["packages"]
    assert packages.state == state
    assert packages.finding.startswith(hint)


def test_versions_of_torch_and_torchvision_that_do_not_fit_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torchvision.__version__", "0.1.0")
    pair = found(tmp_path)["torch pair"]
    assert pair.state == "fail"
    assert "this torch needs torchvision" in pair.finding


def test_a_check_that_breaks_is_a_finding_and_stops_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken() -> Any:
        raise RuntimeError("no driver")

    monkeypatch.setattr(doctor, "_devices", broken)
    checks = found(tmp_path)
    assert checks["devices"] == Check("devices", "fail", "RuntimeError: no driver")
    assert checks["workspace"].state != "fail"


def test_a_token_that_others_can_read_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("x")
    token.chmod(0o644)
    monkeypatch.setattr(doctor.Path, "home", lambda: tmp_path)
    assert found(tmp_path / "workspace")["ray"].finding.endswith("can be read by others: chmod 600 it")
    token.chmod(0o600)
    assert found(tmp_path / "workspace")["ray"].state == "ok"


@pytest.mark.parametrize(
    ("name", "limit"), [("shared memory", "_LITTLE_SHARED_MEMORY"), ("spill disk", "_LITTLE_DISK")]
)
def test_little_room_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, limit: str) -> None:
    monkeypatch.setattr(doctor, limit, 2**60)
    assert found(tmp_path)[name].state == "warn"


@pytest.mark.parametrize(
    ("capability", "status", "told"),
    [
        ((9, 0), "ok", "2 GPUs: card 0, card 1"),
        ((7, 5), "warn", "2 GPUs: card 0, card 1; sppnet's kernels need NVIDIA's Ampere or later: torch's own layers "),
    ],
)
def test_gpus_that_kernels_do_not_run_on_are_told(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], status: str, told: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"card {index}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    has_bfloat_units.cache_clear()
    check = doctor._devices()
    has_bfloat_units.cache_clear()
    assert check.state == status
    assert told in check.finding
