from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.errors import ConfigError
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.network import FcHead, FcLayer, HeadSpec, SppNetwork
from sppnet.pooling.pyramid import Pyramid, make_pyramid, pool_full_maps
from sppnet.sizes import Size


def make_network(dropout: float = 0.5) -> SppNetwork:
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec("zf5", width=0.05))
    return SppNetwork(backbone, Pyramid(), FcHead(50 * 16, (32, 24), 5, dropout))


def test_head_is_the_three_matrix_products() -> None:
    torch.manual_seed(0)
    head = FcHead(12, (7, 6), 3).eval()
    x = torch.randn(4, 12)
    weights = {name: (layer.weight, layer.bias) for name, layer in head.layers.items()}
    fc6 = (x @ weights["fc6"][0].T + weights["fc6"][1]).clamp(min=0)
    fc7 = (fc6 @ weights["fc7"][0].T + weights["fc7"][1]).clamp(min=0)
    torch.testing.assert_close(head.fc6(x), fc6)
    torch.testing.assert_close(head.fc7(x), fc7)
    torch.testing.assert_close(head(x), fc7 @ weights["fc8"][0].T + weights["fc8"][1])


def test_head_takes_pooled_vectors_unflattened() -> None:
    head = FcHead(12, (7, 6), 3).eval()
    x = torch.randn(4, 3, 4)
    assert torch.equal(head(x), head(x.reshape(4, 12)))
    assert head(x[:0]).shape == (0, 3)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    head = FcHead(50, (400, 300), 3, dropout=0.5)
    x = torch.randn(1, 50)
    head.eval()
    whole = head.fc6(x)
    assert torch.equal(whole, head.fc6(x))
    head.train()
    dropped = head.fc6(x)
    kept = dropped > 0
    assert 0.35 < float(kept.sum() / (whole > 0).sum()) < 0.65
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])  # inverted dropout: nothing to scale in eval


def test_initialisation() -> None:
    torch.manual_seed(0)
    head = FcHead(800, (500, 400), 300)
    deviation = {name: float(layer.weight.detach().std()) for name, layer in head.layers.items()}
    assert deviation["fc8"] == pytest.approx(0.01, rel=0.02)
    assert deviation["fc6"] == pytest.approx((1 / 3 / 800) ** 0.5, rel=0.02)
    assert deviation["fc7"] == pytest.approx((1 / 3 / 500) ** 0.5, rel=0.02)
    assert all(not layer.bias.any() for layer in head.layers.values())


def test_loaded_hidden_layers_are_a_copy_and_fc8_stays() -> None:
    torch.manual_seed(0)
    head = FcHead(12, (7, 6), 1000).eval()
    new = FcHead(12, (7, 6), 21, 0.3).double().eval()
    fc8 = new.layers["fc8"].weight.clone()
    new.load_hidden(head)
    x = torch.randn(4, 12)
    assert new.spec == HeadSpec(12, (7, 6), 21, 0.3)
    assert new.dtype == torch.float64
    torch.testing.assert_close(new.fc7(x), head.double().fc7(x), rtol=0, atol=0)
    assert torch.equal(new.layers["fc8"].weight, fc8)
    with torch.no_grad():
        new.layers["fc6"].weight.zero_()
    assert bool(head.fc6(x).any())


@pytest.mark.parametrize(("layer", "size"), [("fc6", 7), ("fc7", 6), ("fc8", 3)])
def test_outputs_of_a_layer_in_many_parts(layer: FcLayer, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head = FcHead(12, (7, 6), 3).eval()
    x = torch.randn(10, 12)
    whole = {"fc6": head.fc6, "fc7": head.fc7, "fc8": head}[layer](x)
    monkeypatch.setattr("sppnet.networks.network._VECTORS_AT_ONCE", 4)
    assert head.spec.outputs(layer) == size
    torch.testing.assert_close(head.outputs(layer, x), whole)
    assert head.outputs(layer, x[:0]).shape == (0, size)
    lower = head.in_precision("bfloat16")
    assert (lower.dtype, head.dtype, head.in_precision("float32")) == (torch.bfloat16, torch.float32, head)
    assert lower.outputs(layer, x).dtype == torch.float32
    torch.testing.assert_close(lower.outputs(layer, x), whole, rtol=0.05, atol=0.02)


def test_wrong_length_is_named() -> None:
    with pytest.raises(ConfigError, match="vectors of 7 values, the head takes 12"):
        FcHead(12, (7, 6), 3).fc7(torch.zeros(2, 7))


def test_head_spec_round_trip() -> None:
    spec = HeadSpec(12800, (4096, 4096), 21)
    assert spec.to_dict() == {"in_features": 12800, "hidden": [4096, 4096], "classes": 21, "dropout": 0.5}
    assert HeadSpec.from_dict(spec.to_dict()) == spec
    assert FcHead.from_spec(HeadSpec(12, (7, 6), 3, 0.0)).spec == HeadSpec(12, (7, 6), 3, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 0}, "head.classes"),
        ({"hidden": [4]}, "head.hidden"),
        ({"hidden": [4, 0]}, "head.hidden"),
        ({"dropout": 1.0}, "head.dropout"),
        ({"width": 3}, "head.width: unknown key"),
    ],
)
def test_wrong_head_spec_names_the_key(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HeadSpec.from_dict({"in_features": 12, "hidden": [4, 4], "classes": 2, **change})


def test_network_is_backbone_then_pyramid_then_head() -> None:
    network = make_network().eval()
    images = torch.randn(2, 3, 130, 97)
    with torch.inference_mode():
        maps = network.backbone(images)
        by_hand = maps.amax((2, 3))  # the 1 x 1 level is the last bin
        pooled = pool_full_maps(maps, Pyramid())
        assert torch.equal(pooled[:, -1], by_hand)
        torch.testing.assert_close(network(images), network.head(pooled.reshape(2, -1)))


@settings(max_examples=10)
@given(height=st.integers(40, 160), width=st.integers(40, 160))
def test_any_input_size_gives_logits(height: int, width: int) -> None:
    network = make_network().eval()
    with torch.inference_mode():
        logits = network(torch.randn(1, 3, height, width))
    assert logits.shape == (1, 5)
    assert bool(torch.isfinite(logits).all())


def test_wrong_head_for_the_pyramid_is_named() -> None:
    backbone = build_backbone(BackboneSpec("zf5", width=0.05))
    with pytest.raises(ConfigError, match="takes 801 values, but 50 bins of 16 channels are 800"):
        SppNetwork(backbone, Pyramid(), FcHead(801, (8, 8), 5))


def test_a_network_without_spp_takes_one_size() -> None:
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec("zf5", width=0.05))
    pyramid = make_pyramid("none", [backbone.map_size(Size.square(112))])
    network = SppNetwork(backbone, pyramid, FcHead(36 * 16, (8, 8), 5)).eval()
    assert network.pyramid.fixed_map == Size.square(6)
    assert make_network().pyramid.fixed_map is None
    with torch.inference_mode():
        maps = network.backbone(images := torch.randn(2, 3, 112, 112))
        torch.testing.assert_close(network(images), network.head(maps.flatten(2).transpose(1, 2)))
        with pytest.raises(ConfigError, match="takes maps of 6 x 6 cells only, not 6 x 7"):
            network(torch.randn(1, 3, 128, 112))


def test_bfloat16_backbone_with_float32_head_is_close() -> None:
    network = make_network().eval()
    images = torch.randn(2, 3, 120, 120)
    with torch.inference_mode():
        exact = network.head.fc7(pool_full_maps(network.backbone(images), network.pyramid))
        network.backbone.to(torch.bfloat16)
        rough = network.head.fc7(pool_full_maps(network.backbone(images), network.pyramid))
    assert rough.dtype == torch.float32
    assert float((rough - exact).norm() / exact.norm()) < 0.05


def test_training_at_two_sizes_learns_four_colours() -> None:
    network = make_network(dropout=0.0).train()
    torch.manual_seed(1)
    colours = torch.tensor([[1.5, -1, -1], [-1, 1.5, -1], [-1, -1, 1.5], [1.0, 1, -1]])
    labels = torch.arange(4).repeat(2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.005, momentum=0.9)
    losses = []
    for step in range(56):
        side = 120 if step % 2 == 0 else 96
        images = colours[labels][:, :, None, None] + 0.3 * torch.randn(8, 3, side, side)
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(1.61, abs=0.02)  # log 5: fc8 starts near zero
    assert max(losses[-2:]) < 0.3
