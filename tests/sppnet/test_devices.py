from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.devices import constant, default_device, has_bfloat_units, in_parts, runs_triton, upload

CPU = torch.device("cpu")


def test_the_default_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert default_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert default_device() == CPU
    assert not runs_triton(CPU)


@pytest.mark.parametrize(
    ("capability", "hip", "runs"), [((9, 0), None, True), ((7, 5), None, False), ((9, 4), "6.2", False)]
)
def test_kernels_run_on_gpus_that_have_what_they_use(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], hip: str | None, runs: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.version, "hip", hip)
    has_bfloat_units.cache_clear()
    assert runs_triton(torch.device("cuda", 5)) == runs
    has_bfloat_units.cache_clear()


def test_upload_takes_arrays_and_tensors_of_any_layout() -> None:
    array = np.arange(12).reshape(3, 4)
    assert upload(array.T, CPU).tolist() == array.T.tolist()
    assert upload(torch.from_numpy(array)[:, 1:], CPU).tolist() == array[:, 1:].tolist()


@pytest.mark.parametrize(("rows", "parts"), [(7, [3, 3, 1]), (3, [3]), (0, [0])])
def test_a_function_sees_some_rows_at_a_time(rows: int, parts: list[int]) -> None:
    seen = []

    def double(part: torch.Tensor) -> torch.Tensor:
        seen.append(len(part))
        return part * 2

    values = torch.arange(rows * 2.0).view(rows, 2)
    assert torch.equal(in_parts(double, values, 3), values * 2)
    assert seen == parts


def test_a_constant_is_sent_once_and_fits_training_too() -> None:
    with torch.inference_mode():
        first = constant((1.0, 2.0), torch.float64, CPU)
    assert first.tolist() == [1.0, 2.0]
    assert first.dtype == torch.float64
    assert constant((1.0, 2.0), torch.float64, CPU) is first
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (weight * first).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [1.0, 2.0]
