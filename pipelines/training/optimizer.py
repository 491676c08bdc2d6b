"""SGD as the training stages use it, and its state beside the weights as a checkpoint's tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from pipelines.training.best_weights import BEST
from sppnet.networks.weights import load_state

_MODEL, _MOMENTUM = "model.", "momentum."


def make_sgd(
    model: nn.Module, *, lr: float, momentum: float, weight_decay: float, bias_rate: float = 1.0
) -> torch.optim.SGD:
    """Build the optimizer of a model's weights and biases, in groups that each have their `factor` on the rate.

    Args:
        model: What is trained.
        lr: Learning rate to begin with.
        momentum: Of SGD.
        weight_decay: On all weights and biases.
        bias_rate: Factor of the biases.
    """
    groups = []
    for bias in (False, True):
        params = [p for name, p in model.named_parameters() if name.endswith("bias") == bias and p.requires_grad]
        groups.append({"params": params, "factor": bias_rate if bias else 1.0})
    # fused: one pass over the weights; the default's four cost half of a step of a 26-million-weight fc6.
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        fused=True,
    )


def training_tensors(model: nn.Module, optimizer: torch.optim.SGD) -> dict[str, torch.Tensor]:
    """Return weights and momentum by name, on their device and in their own storage."""
    state = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        buffer = optimizer.state[parameter].get("momentum_buffer") if parameter in optimizer.state else None
        if buffer is not None:
            state[_MOMENTUM + name] = buffer
    return state


def load_training_tensors(
    model: nn.Module, optimizer: torch.optim.SGD, tensors: Mapping[str, torch.Tensor], where: str
) -> None:
    """Load what `training_tensors` gave.

    Raises:
        ConfigError: The tensors are of another model; the message names `where` and the first one that does not fit.
    """
    load_state(model, tensors, where, prefix=_MODEL, ignore=(_MOMENTUM, BEST))
    for name, parameter in model.named_parameters():
        if _MOMENTUM + name in tensors:
            buffer = torch.empty_like(parameter).copy_(tensors[_MOMENTUM + name])
            optimizer.state[parameter]["momentum_buffer"] = buffer
