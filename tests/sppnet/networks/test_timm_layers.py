from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sppnet.networks.timm_layers import NormActivation, SameConvolution


@pytest.mark.parametrize(
    ("kernel", "stride", "before", "behind"), [(3, 2, 0, 2), (5, 2, 1, 3), (3, 1, 1, 1), (7, 4, 1, 5)]
)
def test_sides_that_the_stride_divides_are_padded_as_tensorflow_does(
    kernel: int, stride: int, before: int, behind: int
) -> None:
    plain = nn.Conv2d(4, 8, kernel, stride, groups=2)
    layer = SameConvolution(plain)
    assert (layer.before, layer.behind) == ((before,) * 2, (behind,) * 2)
    images = torch.randn(2, 4, 8 * stride, 12 * stride)
    total = max(kernel - stride, 0)  # TensorFlow's SAME, for such sides
    low, high = total // 2, total - total // 2
    expected = plain(F.pad(images, (low, high, low, high)))
    assert torch.equal(layer(images), expected)
    assert layer.state_dict().keys() == plain.state_dict().keys()
    odd = layer(images[:, :, :-1, 1:]).shape[2:]  # a side rounds up
    assert tuple(odd) == ((8, 12) if stride > 1 else (7, 11))


def test_a_normalisation_with_its_activation_is_both() -> None:
    norm = nn.BatchNorm2d(4)
    layer = NormActivation(norm, nn.ReLU6())
    images = 9 * torch.randn(2, 4, 5, 6)
    assert torch.equal(layer.eval()(images), F.relu6(norm.eval()(images)))
    assert layer.state_dict().keys() == norm.state_dict().keys()
    assert layer.weight is norm.weight
