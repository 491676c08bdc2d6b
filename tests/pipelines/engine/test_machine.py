"""What a unit takes of a machine, and the device that it computes on."""

from __future__ import annotations

import pytest
import torch

from pipelines.engine.machine import CpuFields, GpuFields, choose_device
from pipelines.engine.stage import Resources
from sppnet.errors import ConfigError


def test_devices() -> None:
    assert choose_device("cpu", "maps") == torch.device("cpu")
    assert choose_device("auto", "maps").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device() == choose_device("auto", "maps")


def test_a_gpu_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    with pytest.raises(ConfigError, match="step maps: device is cuda, but there is no GPU here"):
        choose_device("cuda", "maps")


def test_what_a_unit_takes() -> None:
    assert CpuFields(stage="toy", cpus=2).resources() == Resources(cpus=2)
    assert GpuFields(stage="toy", gpus=0.5).resources(100) == Resources(cpus=1, gpus=0.5, memory_bytes=100)


def test_what_a_unit_takes_changes_no_result() -> None:
    assert "cpus" not in GpuFields(stage="toy").semantic()
    assert "gpus" not in GpuFields(stage="toy").semantic()
