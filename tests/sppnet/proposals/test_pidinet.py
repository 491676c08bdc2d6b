from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sppnet.errors import ConfigError
from sppnet.networks.weights import write_safetensors
from sppnet.proposals.pidinet import DIFFERENCES, Difference, plain_kernel, read_pidinet
from tests.support.edge_networks import random_weights

CLOCKWISE = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
ROW_BY_ROW = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def by_definition(x: torch.Tensor, weight: torch.Tensor, difference: Difference, *, depthwise: bool) -> torch.Tensor:
    """The convolution pair of pixels by pair of pixels, as the paper's figure 3 draws them."""
    height, width = x.shape[2:]
    padded = F.pad(x, (2, 2, 2, 2))

    def pixel(dy: int, dx: int) -> torch.Tensor:
        return padded[:, :, 2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]

    pairs: list[tuple[int, int, torch.Tensor]] = []
    if difference == "radial":
        pairs = [(dy, dx, pixel(2 * dy, 2 * dx) - pixel(dy, dx)) for dy, dx in ROW_BY_ROW]
        weight = torch.cat(
            [weight.flatten(2)[..., 1:5], weight[..., :1, :1].flatten(2) * 0, weight.flatten(2)[..., 5:]], 2
        )
        weight = weight.reshape(*weight.shape[:2], 3, 3)  # laid out about the middle, as the pairs are
    elif difference == "angular":
        following = dict(zip(CLOCKWISE, CLOCKWISE[1:] + CLOCKWISE[:1], strict=True))
        pairs = [(dy, dx, pixel(dy, dx) - pixel(*following[dy, dx])) for dy, dx in CLOCKWISE]
    else:
        middle = x if difference == "central" else torch.zeros_like(x)
        pairs = [(dy, dx, pixel(dy, dx) - middle) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    equation = "nchw,c->nchw" if depthwise else "nihw,oi->nohw"
    parts = []
    for dy, dx, values in pairs:
        weights = weight[:, 0, 1 + dy, 1 + dx] if depthwise else weight[:, :, 1 + dy, 1 + dx]
        parts.append(torch.einsum(equation, values, weights))
    return torch.stack(parts).sum(0)


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_a_plain_kernel_gives_what_the_differences_give(difference: Difference) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 7, 9, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64)
    kernel = plain_kernel(weight, difference)
    side = 5 if difference == "radial" else 3
    assert kernel.shape == (4, 3, side, side)
    expected = by_definition(x, weight, difference, depthwise=False)
    torch.testing.assert_close(F.conv2d(x, kernel, padding=side // 2), expected, rtol=0, atol=1e-12)
    if difference != "none":  # nothing comes of a plain ground
        assert kernel.sum((2, 3)).abs().max() < 1e-12


def reference(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The network as trained, unconverted, written from the paper's figures 4 and 5."""

    def pointwise(name: str, values: torch.Tensor) -> torch.Tensor:
        return F.conv2d(values, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    size, maps = x.shape[2:], []
    x = by_definition(x, weights["init_block.weight"], "central", depthwise=False)
    for stage in range(4):
        for block in range(1, 4 if stage == 0 else 5):
            name = f"block{stage + 1}_{block}"
            if stage > 0 and block == 1:
                x = F.max_pool2d(x, 2)
            difference = DIFFERENCES[block % 4 if stage == 0 else block - 1]
            y = by_definition(x, weights[f"{name}.conv1.weight"], difference, depthwise=True)
            y = pointwise(f"{name}.conv2", y.clamp(min=0))
            x = y + (pointwise(f"{name}.shortcut", x) if stage > 0 and block == 1 else x)
        z = pointwise(f"dilations.{stage}.conv1", x.clamp(min=0))
        z = sum(
            F.conv2d(z, weights[f"dilations.{stage}.conv2_{number}.weight"], padding=reach, dilation=reach)
            for number, reach in zip((1, 2, 3, 4), (5, 7, 9, 11), strict=True)
        )
        seen = pointwise(f"attentions.{stage}.conv1", z.clamp(min=0))
        z = z * F.conv2d(seen, weights[f"attentions.{stage}.conv2.weight"], padding=1).sigmoid()
        maps.append(F.interpolate(pointwise(f"conv_reduces.{stage}.conv", z), size, mode="bilinear"))
    return pointwise("classifier", torch.cat(maps, 1))[:, 0].sigmoid()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_network_is_the_published_one(prefix: str) -> None:
    weights = random_weights()
    data = write_safetensors({prefix + name: value for name, value in weights.items()})
    network = read_pidinet(data, "weights")
    x = torch.randn(1, 3, 21, 26, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        found = network(x)
    assert found.shape == (1, 21, 26)
    assert found.dtype == torch.float32
    assert found.max() - found.min() > 0.5
    torch.testing.assert_close(found, reference(weights, x), rtol=0, atol=2e-5)


def test_what_is_no_pidinet_is_named() -> None:
    def read(**changes: torch.Tensor | None) -> None:
        weights = {**random_weights(), **{name.replace("__", "."): value for name, value in changes.items()}}
        read_pidinet(write_safetensors({name: value for name, value in weights.items() if value is not None}), "edges")

    with pytest.raises(ConfigError, match="edges: not a whole safetensors file"):
        read_pidinet(b"no weights at all", "edges")
    for name in ("init_block__weight", "dilations__0__conv1__weight"):
        with pytest.raises(ConfigError, match="edges: holds no PiDiNet with CDCM and CSAM"):
            read(**{name: None})
    with pytest.raises(ConfigError, match=r"tensor 'block3_3.conv1.weight' \[12, 1, 5, 5\] is missing"):
        read(block3_3__conv1__weight=None)
    with pytest.raises(
        ConfigError, match=r"'block2_2.conv1.weight' has shape \[6, 1, 5, 5\], the network needs \[6, 1, 3, 3\]"
    ):
        read(block2_2__conv1__weight=torch.zeros(6, 1, 5, 5))
    with pytest.raises(ConfigError, match=r"'block2_1.conv1.weight' holds values that are no finite numbers"):
        read(block2_1__conv1__weight=torch.full((3, 1, 3, 3), torch.nan))
    with pytest.raises(ConfigError, match=r"tensor 'more' \[1\] is unexpected"):
        read(more=torch.zeros(1))
