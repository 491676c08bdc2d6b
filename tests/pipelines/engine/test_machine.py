"""What a unit takes of a machine, and the device that it computes on."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from pipelines.engine.machine import CpuFields, GpuFields, choose_device, gpus_for
from pipelines.engine.phases import Needs, Resources
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


def test_a_unit_takes_a_gpu_where_there_is_one_unless_told() -> None:
    assert GpuFields(stage="toy").resources() == Resources(cpus=1, gpus="auto")
    assert GpuFields(stage="toy", gpus=0).needs("maps") == Needs("maps", Resources(cpus=1, gpus=0))
    assert CpuFields(stage="toy").needs("maps") == Needs("maps", Resources(cpus=1))


@pytest.mark.parametrize(("given", "meant"), [("auto", "auto"), (2, 2.0), ("0.25", 0.25), (0, 0.0)])
def test_gpus_are_a_number_or_auto(given: object, meant: object) -> None:
    assert GpuFields(stage="toy", gpus=given).gpus == meant
    assert GpuFields.model_validate_json(GpuFields(stage="toy", gpus=given).model_dump_json()).gpus == meant


@pytest.mark.parametrize("given", [-1, "two", "nan", "inf", True, None, [1]])
def test_what_is_no_number_of_gpus_is_refused(given: object) -> None:
    with pytest.raises(ValidationError, match="expected 'auto', or a number of GPUs from 0; a fraction is allowed"):
        GpuFields(stage="toy", gpus=given)


def test_what_takes_no_gpu_sees_none(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == torch.device("cuda")
    with gpus_for(Resources(gpus=0)):
        assert choose_device() == torch.device("cpu")
        with gpus_for(Resources(gpus="auto")):
            assert choose_device() == torch.device("cuda")
        with pytest.raises(ConfigError, match="step maps: device is cuda, but there is no GPU here"):
            choose_device("cuda", "maps")
    assert choose_device() == torch.device("cuda")


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (Needs("a"), "1 CPU"),
        (Needs("a", Resources(gpus="auto")), "1 CPU + GPU if any"),
        (Needs("a", Resources(cpus=4, gpus=0.5)), "4 CPU + 0.5 GPU"),
        (Needs("a", Resources(gpus=1), 2), "2 x (1 CPU + 1 GPU)"),
    ],
)
def test_what_is_asked_for_in_words(needs: Needs, words: str) -> None:
    assert needs.describe() == words


def test_what_a_unit_takes_changes_no_result() -> None:
    assert "cpus" not in GpuFields(stage="toy").semantic()
    assert "gpus" not in GpuFields(stage="toy").semantic()
