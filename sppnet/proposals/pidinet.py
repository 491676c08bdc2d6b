"""PiDiNet (Su et al., ICCV 2021), a small network that finds edges: that of the paper's table 5, with CDCM and CSAM.

Its convolutions take differences of pixels. A difference of pixels is linear in them, so each becomes a plain
convolution when weights are read (the paper's section 3.3), and the network is one of plain layers.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import nn
from torch.nn import functional as F

from sppnet.errors import ConfigError
from sppnet.networks.weights import load_state, read_safetensors

Difference: TypeAlias = Literal["central", "angular", "radial", "none"]

DIFFERENCES: tuple[Difference, ...] = ("central", "angular", "radial", "none")
"""What the 16 convolutions in turn take (the authors' `carv4`): four times these, the first block's input included."""
MIN_SIDE = 8
"""A network's input of a shorter side, in pixels, is nothing after three poolings by 2."""

_ATTENTION = 4  # channels within CSAM
_RING = (0, 1, 2, 5, 8, 7, 6, 3)  # the neighbours of a pixel clockwise, in a 3 x 3 kernel laid out flat
_NEAR = (6, 7, 8, 11, 13, 16, 17, 18)  # the neighbours row by row, in a 5 x 5 kernel
_FAR = (0, 2, 4, 10, 14, 20, 22, 24)  # those at twice the distance


def plain_kernel(weight: torch.Tensor, difference: Difference) -> torch.Tensor:
    """Return the kernel of the plain convolution that equals one of differences of pixels.

    `central` weighs each pixel less the one in the middle; `angular` each neighbour less the next one clockwise;
    `radial` each pixel two away less the neighbour on the way to it (its first weight counts for nothing).

    Args:
        weight: `[out, in, 3, 3]`.
        difference: what it weighs.

    Returns:
        `[out, in, 3, 3]`, of `radial` `[out, in, 5, 5]`.
    """
    if difference == "none":
        return weight
    flat = weight.flatten(2)
    if difference == "radial":
        wide = flat.new_zeros(*flat.shape[:2], 25)
        wide[..., _FAR], wide[..., _NEAR] = flat[..., 1:], -flat[..., 1:]
        return wide.reshape(*flat.shape[:2], 5, 5)
    found = flat.clone()
    if difference == "central":
        found[..., 4] -= flat.sum(2)
    else:
        ring = flat[..., _RING]
        found[..., _RING], found[..., 4] = ring - ring.roll(1, 2), 0
    return found.view_as(weight)


class _Block(nn.Module):
    """A residual block of a depthwise convolution and one of 1 x 1; the first of a stage halves the map before."""

    def __init__(self, channels: int, out: int, side: int, *, first: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels, bias=False)
        self.conv2 = nn.Conv2d(channels, out, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, out, 1) if first else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.shortcut is not None:
            x = F.max_pool2d(x, 2)
        found: torch.Tensor = self.conv2(F.relu(self.conv1(x), inplace=True))
        return found + (x if self.shortcut is None else self.shortcut(x))


class _Dilations(nn.Module):
    """CDCM: the sum of convolutions of four dilations."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 1)
        self.conv2_1, self.conv2_2, self.conv2_3, self.conv2_4 = (
            nn.Conv2d(out, out, 3, padding=dilation, dilation=dilation, bias=False) for dilation in (5, 7, 9, 11)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(F.relu(x))
        found: torch.Tensor = self.conv2_1(x)
        for layer in (self.conv2_2, self.conv2_3, self.conv2_4):
            found = found + layer(x)
        return found


class _Attention(nn.Module):
    """CSAM: weighs each place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, _ATTENTION, 1)
        self.conv2 = nn.Conv2d(_ATTENTION, 1, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.conv2(self.conv1(F.relu(x))))


class _Reduction(nn.Module):
    """A stage's own edge map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv(x)
        return found


class PiDiNet(nn.Module):
    """The network, in plain convolutions; the tensors are named as the authors name them.

    Args:
        channels: of the first stage (60; 30 of `small`, 20 of `tiny`); the others have 2, 4 and 4 times as many.
        reduced: channels of CDCM and CSAM (24; 12 and 8).
    """

    def __init__(self, channels: int = 60, reduced: int = 24) -> None:
        super().__init__()
        self.init_block = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.dilations = nn.ModuleList()
        self.attentions = nn.ModuleList()
        self.conv_reduces = nn.ModuleList()
        before = channels
        for stage, out in enumerate((channels, 2 * channels, 4 * channels, 4 * channels), 1):
            for name, difference in _blocks(stage):
                first = stage > 1 and name.endswith("_1")
                side = 5 if difference == "radial" else 3
                self.add_module(name, _Block(before if first else out, out, side, first=first))
            self.dilations.append(_Dilations(out, reduced))
            self.attentions.append(_Attention(reduced))
            self.conv_reduces.append(_Reduction(reduced))
            before = out
        self.classifier = nn.Conv2d(4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return how surely each pixel is on an edge.

        Args:
            x: `[N, 3, H, W]`, RGB, by ImageNet's mean and deviation; both sides at least `MIN_SIDE`.

        Returns:
            float32 `[N, H, W]` in 0..1.
        """
        size = x.shape[2:]
        x = self.init_block(x)
        found: list[torch.Tensor] = []
        for stage in range(1, 5):
            for name, _ in _blocks(stage):
                x = self.get_submodule(name)(x)
            number = stage - 1
            one = self.conv_reduces[number](self.attentions[number](self.dilations[number](x)))
            found.append(F.interpolate(one.float(), size, mode="bilinear", align_corners=False))
        last = self.classifier
        fused = F.conv2d(torch.cat(found, 1), last.weight.float(), None if last.bias is None else last.bias.float())
        return torch.sigmoid(fused[:, 0])


def read_pidinet(data: bytes, where: str) -> PiDiNet:
    """Build the network from the authors' weights, as they are trained: with convolutions of differences.

    Args:
        data: of a safetensors file, the tensors named as in the authors' checkpoints, with or without `module.`.
        where: what it is, for messages.

    Raises:
        ConfigError: it holds no such network.
    """
    tensors = {name.removeprefix("module."): tensor for name, tensor in read_safetensors(data, where).items()}
    sizes = [tensors.get(name) for name in ("init_block.weight", "dilations.0.conv1.weight")]
    channels, reduced = (0 if found is None or found.ndim != 4 else len(found) for found in sizes)
    if not channels or not reduced:
        raise ConfigError(f"{where}: holds no PiDiNet with CDCM and CSAM (init_block.weight, dilations.0.conv1.weight)")
    for name, difference in _layers():
        found = tensors.get(name)
        if found is not None and found.shape[2:] == (3, 3):  # others are named by what follows
            tensors[name] = plain_kernel(found.float(), difference)
    network = PiDiNet(channels, reduced)
    load_state(network, tensors, where, finite=True)
    return network.eval()


def _blocks(stage: int) -> list[tuple[str, Difference]]:
    """Return the names of a stage's blocks, 1 to 4, and what differences each takes."""
    # The first stage has three blocks: the network's first convolution stands in the place of one.
    numbers = range(1, 4) if stage == 1 else range(1, 5)
    taken = DIFFERENCES[1:] if stage == 1 else DIFFERENCES
    return [(f"block{stage}_{number}", one) for number, one in zip(numbers, taken, strict=True)]


def _layers() -> list[tuple[str, Difference]]:
    """Return the names of the weights of all convolutions of differences, and which they are."""
    blocks = [(f"{name}.conv1.weight", one) for stage in range(1, 5) for name, one in _blocks(stage)]
    return [("init_block.weight", DIFFERENCES[0]), *blocks]
