"""Compiled models: the same weights, the same dropout masks, and a clear word where there is no compiler."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipelines.training.compiling import compile_model
from sppnet.errors import ConfigError

CPU = torch.device("cpu")


def test_a_model_is_compiled_with_the_masks_of_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(torch, "compile", lambda what, **options: (compiled.append((what, options)), what)[1])
    model = nn.Linear(2, 1)
    assert compile_model(model, CPU) is model
    assert compiled == [(torch.neg, {}), (model, {"options": {"fallback_random": True}})]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RuntimeError("no C++ compiler\nand much more"), r"no C\+\+ compiler"),
        (OSError(), "OSError"),
        (ImportError("no triton"), "no triton"),
    ],
)
def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch, error: Exception, why: str) -> None:
    def fail(_: Any) -> Any:
        raise error

    monkeypatch.setattr(torch, "compile", lambda _: fail)
    with pytest.raises(ConfigError, match=rf"torch.compile does not work on this worker \({why}\); set compile: false"):
        compile_model(nn.Linear(2, 1), CPU)
