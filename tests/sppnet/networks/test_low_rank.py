from __future__ import annotations

import pytest
import torch

from sppnet.errors import ConfigError
from sppnet.networks.low_rank import lower_rank
from sppnet.networks.network import FcHead


def make_head(rank: int | None = None) -> FcHead:
    torch.manual_seed(0)
    head = FcHead(60, (40, 30), 5).eval()
    if rank is not None:  # weights that have that rank
        for name in ("fc6", "fc7"):
            weight = head.layers[name].weight.data
            weight.copy_(torch.randn(len(weight), rank) @ torch.randn(rank, weight.shape[1]) / 8)
            head.layers[name].bias.data.normal_()
    return head


def test_weights_of_a_low_rank_lose_nothing() -> None:
    head = make_head(rank=4)
    lowered = lower_rank(head, 4)
    x = torch.randn(7, 60)
    assert lowered.errors["fc6"] < 1e-6
    assert lowered.errors["fc7"] < 1e-6
    torch.testing.assert_close(lowered.head(x), head(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(lowered.head.outputs("fc7", x), head.outputs("fc7", x), rtol=1e-4, atol=1e-4)


def test_the_error_is_that_of_the_truncated_decomposition() -> None:
    head = make_head()
    lowered = lower_rank(head, 10)
    for name in ("fc6", "fc7"):
        weight = head.layers[name].weight
        values = torch.linalg.svdvals(weight.detach().double())
        expected = float(values[10:].square().sum().sqrt() / values.square().sum().sqrt())
        first, second = lowered.head.layers[name]
        cut = (weight - second.weight @ first.weight).detach()
        assert lowered.errors[name] == pytest.approx(expected, rel=1e-6)
        assert float(cut.norm() / weight.detach().norm()) == pytest.approx(expected, rel=1e-4)
    assert head.layers["fc6"].weight.shape == (40, 60)


def test_a_layer_that_would_cost_more_stays() -> None:
    head = make_head()
    lowered = lower_rank(head, 20)  # 20 x (60 + 40) < 60 x 40, but 20 x (40 + 30) > 40 x 30
    assert lowered.errors["fc7"] == 0
    assert torch.equal(lowered.head.layers["fc7"].weight, head.layers["fc7"].weight)
    assert isinstance(lowered.head.layers["fc6"], torch.nn.Sequential)
    with pytest.raises(ConfigError, match="rank"):
        lower_rank(head, 0)
