"""PiDiNets in small, in the tensors of the authors' checkpoints: with random weights, and one that finds steps."""

from __future__ import annotations

import torch

from sppnet.networks.weights import write_safetensors
from sppnet.proposals.pidinet import PiDiNet


def random_weights(seed: int = 0, channels: int = 3, reduced: int = 2) -> dict[str, torch.Tensor]:
    """Weights as they are trained: all convolutions of differences have 3 x 3."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: tuple(value.shape) for name, value in PiDiNet(channels, reduced).state_dict().items()}
    found = {}
    for name, shape in shapes.items():
        wanted = (*shape[:2], 3, 3) if shape[2:] == (5, 5) else shape
        found[name] = torch.randn(wanted, generator=generator) * 0.4
    return found


def step_finder() -> bytes:
    """A file whose network's map is sure of pixels that differ much from those right of them or below, either way.

    The first convolution takes these differences of red less blue, the blocks add nothing, and only the first stage
    counts.
    """
    weights = {name: torch.zeros_like(value) for name, value in random_weights(channels=4, reduced=4).items()}
    for channel, (row, column) in enumerate(((1, 2), (1, 2), (2, 1), (2, 1))):
        weights["init_block.weight"][channel, :, row, column] = torch.tensor([0.5, 0, -0.5]) * (-1.0) ** channel
        weights["dilations.0.conv1.weight"][channel, channel] = 1
        weights["dilations.0.conv2_1.weight"][channel, channel, 1, 1] = 1
    weights["conv_reduces.0.conv.weight"][:] = 2  # the attention is a half everywhere
    weights["classifier.weight"][0, 0] = 16
    weights["classifier.bias"][:] = -10
    return write_safetensors(weights)
