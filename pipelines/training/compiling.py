"""A model whose steps run through `torch.compile`."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from sppnet.errors import ConfigError


def compile_model(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model with its steps compiled; its weights and their names stay those of `model`.

    Raises:
        ConfigError: `torch.compile` can't work here; the message says why.
    """
    try:  # a missing compiler shows at the first call only: let that be a call of nothing much
        torch.compile(torch.neg)(torch.ones(2, device=device))
        # Dropout masks as without: a runtime field may change the last bits of a result, not what is drawn.
        return cast(nn.Module, torch.compile(model, options={"fallback_random": True}))
    except (RuntimeError, OSError, ImportError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"compile: torch.compile does not work on this worker ({why}); set compile: false") from error
