"""The checks of the GPU path: on a GPU in full, on the CPU small."""

from __future__ import annotations

import pytest
import torch

from jobs.bench.gpu.checks import CHECKS
from jobs.bench.gpu.inputs import setup_for


@pytest.mark.gpu
@pytest.mark.parametrize("name", CHECKS)
def test_on_a_gpu(name: str) -> None:
    CHECKS[name](setup_for(torch.device("cuda"), 60.0))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", CHECKS)
def test_on_the_cpu(name: str) -> None:
    CHECKS[name](setup_for(torch.device("cpu"), 1.0))


def test_a_check_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_for(torch.device("cpu"), 1.0)
    monkeypatch.setattr("jobs.bench.gpu.checks.pool_windows", lambda maps, cells, pyramid: maps.new_zeros(200, 1, 1))
    with pytest.raises(AssertionError, match=r"packed maps, torch.float32"):
        CHECKS["pooling"](setup)
    monkeypatch.setattr("jobs.bench.gpu.checks.prepare_image", lambda *_: torch.zeros(1, 3, 1, 1))
    with pytest.raises(AssertionError, match="grey levels at scale 480"):
        CHECKS["resizing"](setup)
