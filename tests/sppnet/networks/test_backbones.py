from __future__ import annotations

import copy
import csv
import io
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from sppnet.errors import ConfigError
from sppnet.images.network_input import CAFFE_128, SQUEEZENET_CAFFE, TORCHVISION, UNIT_128, normalise_images
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone, load_backbone
from sppnet.networks.weights import load_state, read_safetensors, write_safetensors
from sppnet.pooling.geometry import GEOMETRIES
from sppnet.sizes import Size
from tests.support.footprints import footprint

ZF = BackboneSpec("zf5", width=0.05)
SQUEEZENET = BackboneSpec("squeezenet1_0")


TABLE_1 = ("zf5", "zf5_released", "convnet5", "overfeat5", "overfeat7")
OTHERS = (
    "torchvision:alexnet", "torchvision:vgg16", "torchvision:squeezenet1_0", "torchvision:resnet50",
    "torchvision:mobilenet_v3_large",
)  # fmt: skip


@cache
def without_values(architecture: str) -> Backbone:
    """A backbone on the meta device, built in no time; Table 1's are narrow."""
    with torch.device("meta"):
        width = 0.05 if architecture in TABLE_1 else 1.0
        return build_backbone(BackboneSpec(architecture, width)).eval()


@pytest.fixture(scope="module")
def squeezenet_tensors(shared: Path) -> dict[str, torch.Tensor]:
    return read_safetensors((shared / "data/weights/squeezenet1_0-imagenet.safetensors").read_bytes())


@pytest.fixture(scope="module")
def zf() -> Backbone:
    torch.manual_seed(0)
    return build_backbone(ZF).eval()


@pytest.fixture(scope="module")
def squeezenet() -> Backbone:
    return build_backbone(SQUEEZENET).eval()


def test_defaults_are_filled_in() -> None:
    assert ZF.to_dict() == {
        "architecture": "zf5",
        "width": 0.05,
        "cut": "relu5",
        "response_norm": True,
        "preprocessing": UNIT_128.to_dict(),
    }
    assert SQUEEZENET.cut == "features.12"
    assert SQUEEZENET.preprocessing == SQUEEZENET_CAFFE
    assert SQUEEZENET.response_norm is None


@pytest.mark.parametrize("spec", [ZF, SQUEEZENET, BackboneSpec("zf5", 0.5, "relu4", TORCHVISION, response_norm=False)])
def test_spec_round_trips_through_json(spec: BackboneSpec) -> None:
    assert BackboneSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert hash(BackboneSpec.from_dict(spec.to_dict())) == hash(spec)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architecture": "torchvision:resnet18", "width": 0.5}, "one width only"),
        ({}, "architecture: missing"),
        ({"architecture": "zf5", "widht": 1}, "backbone.widht: unknown key, did you mean 'width'"),
        ({"architecture": "zf5", "width": 0}, "backbone.width: must be positive"),
        ({"architecture": "squeezenet1_0", "width": 0.5}, "one width only"),
        ({"architecture": "squeezenet1_0", "response_norm": True}, "response_norm"),
        ({"architecture": "zf5", "preprocessing": {"mean": [0, 0, 0]}}, "preprocessing.channel_order"),
    ],
)
def test_wrong_specs_name_the_key(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BackboneSpec.from_dict(values)


@pytest.mark.parametrize(
    ("architecture", "cut"),
    [
        ("zf5", "conv6"),
        ("zf5", "conv1.weight"),
        ("squeezenet1_0", "features.13"),
        ("squeezenet1_0", "features.12.squeeze"),
    ],
)
def test_wrong_cut_is_named(architecture: str, cut: str) -> None:
    with pytest.raises(ConfigError, match=f"backbone.cut: '{cut}' is no module of {architecture}"):
        build_backbone(BackboneSpec(architecture, cut=cut))


def test_zf5_geometry_carries_the_released_constants(zf: Backbone) -> None:
    geometry = zf.geometry
    assert (geometry.receptive_field, geometry.stride, geometry.padding) == (139, 16, 55)
    assert geometry.released == (21, 6.5, 16)
    assert zf.channels == 16


def test_squeezenet_geometry(squeezenet: Backbone) -> None:
    geometry = squeezenet.geometry
    # conv 7/2, pool 3/2, three 3x3 at stride 4, pool 3/2, four at 8, pool 3/2, one at 16:
    # 7 + 2*2 + 3*2*4 + 2*4 + 4*2*8 + 2*8 + 2*16 = 155; the padded expands: 3*4 + 4*8 + 16 = 60.
    assert (geometry.receptive_field, geometry.stride, geometry.padding) == (155, 16, 60)
    assert geometry.released is None
    assert squeezenet.channels == 512


@pytest.mark.parametrize("architecture", TABLE_1)
def test_geometry_of_table_1_is_the_known_one(architecture: str) -> None:
    backbone = without_values(architecture)
    assert backbone.geometry == GEOMETRIES[architecture]
    assert BackboneSpec(architecture, response_norm=False).to_dict()["response_norm"] is False
    cells = 13 if backbone.geometry.stride == 16 else 18
    assert backbone.map_size(Size(224, 224)) == Size(cells, cells)
    assert backbone.map_size(Size(224, 180)) == Size(cells, {13: 10, 18: 14}[cells])


def test_geometry_of_torchvisions_classifiers() -> None:
    found = {
        name: (b.spec.cut, b.channels, b.geometry.receptive_field, b.geometry.stride)
        for name, b in ((name, without_values(name)) for name in OTHERS)
    }
    assert found == {
        # alexnet: 11 + 2*4 (pool) + 4*8 + 2*8 + 3 * 2*16 = 163; vgg16: 13 convolutions and 4 pools.
        "torchvision:alexnet": ("features.11", 256, 163, 16),
        "torchvision:vgg16": ("features.29", 512, 196, 16),
        "torchvision:squeezenet1_0": ("features", 512, 155, 16),
        "torchvision:resnet50": ("layer4", 2048, 427, 32),
        "torchvision:mobilenet_v3_large": ("features", 960, 595, 32),
    }


@pytest.mark.parametrize("architecture", [*TABLE_1, "squeezenet1_0", *OTHERS])
def test_geometry_is_the_gradient_footprint_of_a_cell(architecture: str) -> None:
    backbone = without_values(architecture)
    geometry = backbone.geometry
    cell = -(-geometry.padding // geometry.stride) + 1  # the second one whose field lies inside the image
    start = cell * geometry.stride - geometry.padding
    side = start + geometry.receptive_field + geometry.stride
    for axis, hw in enumerate(((side, 40), (40, side))):
        assert footprint(backbone.trunk, hw, cell, axis) == (start, start + geometry.receptive_field)


@pytest.mark.parametrize("architecture", [*TABLE_1, *OTHERS])
def test_map_size_of_every_architecture_is_the_forward_shape(architecture: str) -> None:
    backbone = copy.deepcopy(without_values(architecture)).to_empty(device="cpu")
    with torch.inference_mode():
        for tensor in (*backbone.parameters(), *backbone.buffers()):  # a norm's band is in no state dict
            tensor.zero_()
        for hw in ((73, 99), (100, 82)):
            maps = backbone(torch.rand(1, 3, *hw))
            assert maps.shape == (1, backbone.channels, *backbone.map_size(Size(*hw[::-1])).hw)
            assert float(maps.min()) >= 0


def test_other_cuts_of_torchvisions_classifiers() -> None:
    def cut(architecture: str, name: str) -> Backbone:
        with torch.device("meta"):
            return build_backbone(BackboneSpec(f"torchvision:{architecture}", cut=name))

    third = cut("resnet50", "layer3")
    assert (third.channels, third.geometry.stride, third.geometry.receptive_field) == (1024, 16, 267)
    inside = cut("resnet50", "layer3.0.conv2")
    assert (inside.channels, inside.geometry.stride) == (256, 16)
    assert not any(name.startswith("layer3.0.downsample") for name in inside.trunk.state_dict())
    with pytest.raises(ConfigError, match="'layer5' is no module of torchvision:resnet50, did you mean 'layer"):
        cut("resnet50", "layer5")
    windows = (
        "torchvision:swin_t: layer 'shifted_window_attention': no geometry is known for shifted_window_attention; cut"
    )
    with pytest.raises(ConfigError, match=f"^backbone.cut: {windows} it before that layer$"):
        cut("swin_t", "features")


def test_torchvisions_parameters_keep_their_names_and_load() -> None:
    from torchvision.models import mobilenet_v3_small

    torch.manual_seed(0)
    published = mobilenet_v3_small(weights=None).eval()
    backbone = build_backbone(BackboneSpec("torchvision:mobilenet_v3_small"))
    assert backbone.preprocessing == TORCHVISION
    assert backbone.training
    assert all(module.training for module in backbone.modules())
    state = published.state_dict()
    assert set(state) - set(backbone.trunk.state_dict()) == {
        f"classifier.{layer}.{kind}" for layer in (0, 3) for kind in ("weight", "bias")
    }
    load_backbone(backbone, state, "mobilenet")
    images = torch.randn(2, 3, 96, 64)
    with torch.inference_mode():
        torch.testing.assert_close(backbone.eval()(images), published.features(images).clamp(min=0))
        assert torch.equal(copy.deepcopy(backbone)(images), backbone(images))
    with pytest.raises(ConfigError, match=r"w: tensor 'extra.weight' \[1\] is unexpected"):
        load_backbone(backbone, {**state, "extra.weight": torch.zeros(1)}, "w")


def test_training_a_torchvision_trunk_reaches_every_weight() -> None:
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec("torchvision:resnet18", cut="layer2"))
    backbone(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())
    assert int(backbone.trunk.state_dict()["layer2.1.bn2.num_batches_tracked"]) == 1


def test_earlier_cuts() -> None:
    conv3 = build_backbone(BackboneSpec("zf5", 0.05, "relu3"))
    assert (conv3.geometry.receptive_field, conv3.geometry.padding) == (139 - 64, 55 - 32)
    fire5 = build_backbone(BackboneSpec("squeezenet1_0", cut="features.7"))
    assert (fire5.channels, fire5.geometry.stride) == (256, 8)


@pytest.mark.parametrize(("side", "cells"), [(180, 10), (224, 13), (227, 13)])
def test_zf5_map_sizes_of_the_paper(zf: Backbone, side: int, cells: int) -> None:
    assert zf.map_size(Size.square(side)) == Size.square(cells)


@settings(max_examples=25)
@given(height=st.integers(32, 150), width=st.integers(32, 150))
def test_map_size_is_the_forward_shape(zf: Backbone, squeezenet: Backbone, height: int, width: int) -> None:
    for backbone in (zf, squeezenet):
        with torch.inference_mode():
            maps = backbone(torch.zeros(1, 3, height, width))
        assert maps.shape == (1, backbone.channels, *backbone.map_size(Size(width, height)).hw)


def test_too_small_an_image_is_a_config_error(zf: Backbone) -> None:
    with pytest.raises(ConfigError, match="5 pixels"):
        zf.map_size(Size(300, 5))


def test_map_size_works_in_and_out_of_inference_mode() -> None:
    backbone = build_backbone(BackboneSpec("zf5", 0.07))
    with torch.inference_mode():
        first = backbone.map_size(Size(402, 301))
    assert first == backbone.map_size(Size(402, 301)) == Size(24, 18)
    assert next(copy.deepcopy(backbone).parameters()).device.type == "cpu"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_are_non_negative_without_negative_zero(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec("zf5", 0.05)).to(dtype).eval()
    with torch.no_grad():
        # Weights and bias that make exact -0.0 before the last ReLU.
        backbone.trunk.get_submodule("conv5").weight[0].zero_()
        backbone.trunk.get_submodule("conv5").bias[0] = -0.0
        maps = backbone(torch.randn(2, 3, 97, 130))
    assert maps.dtype == dtype
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert float(maps.min()) == 0.0
    assert float(maps.max()) > 0.0
    assert not torch.signbit(maps).any()


def test_negative_zero_is_cleared_in_training_too() -> None:
    backbone = build_backbone(BackboneSpec("zf5", 0.05, response_norm=False))
    backbone.trunk = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False))
    with torch.no_grad():
        backbone.trunk[0].weight.copy_(-torch.eye(3)[:, :, None, None])
    for context in (torch.enable_grad(), torch.inference_mode()):
        with context:
            maps = backbone(torch.zeros(1, 3, 8, 8))
        assert not torch.signbit(maps).any()


def test_training_reaches_every_weight() -> None:
    torch.manual_seed(0)
    backbone = build_backbone(ZF)
    backbone(torch.randn(2, 3, 120, 100)).square().mean().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


def test_cells_see_their_receptive_field_only(zf: Backbone) -> None:
    image = torch.randn(1, 3, 400, 400)
    geometry = zf.geometry
    with torch.inference_mode():
        before = zf(image)
        row = 12
        low = row * geometry.stride - geometry.padding
        image[:, :, :low] += 50
        image[:, :, low + geometry.receptive_field :] -= 50
        after = zf(image)
    torch.testing.assert_close(before[:, :, row], after[:, :, row])
    assert not torch.allclose(before[:, :, row - 1], after[:, :, row - 1])
    assert not torch.allclose(before[:, :, row + 1], after[:, :, row + 1])


def test_loading_squeezenet_ignores_the_classifier(
    squeezenet_tensors: dict[str, torch.Tensor],
) -> None:
    for cut in ("features.12", "features.7"):
        backbone = build_backbone(BackboneSpec("squeezenet1_0", cut=cut))
        load_backbone(backbone, squeezenet_tensors, "squeezenet1_0-imagenet.safetensors")
        state = backbone.trunk.state_dict()
        assert set(state) < set(squeezenet_tensors)
        assert write_safetensors(state) == write_safetensors({name: squeezenet_tensors[name] for name in state})


def test_wrong_weights_name_the_tensor(squeezenet_tensors: dict[str, torch.Tensor]) -> None:
    backbone = build_backbone(SQUEEZENET)
    missing = {k: v for k, v in squeezenet_tensors.items() if k != "features.3.squeeze.bias"}
    with pytest.raises(ConfigError, match=r"w: tensor 'features.3.squeeze.bias' \[16\] is missing"):
        load_backbone(backbone, missing, "w")
    with pytest.raises(ConfigError, match=r"w: tensor 'features.99.bias' .* is unexpected"):
        load_backbone(backbone, {**squeezenet_tensors, "features.99.bias": torch.zeros(1)}, "w")
    with pytest.raises(ConfigError, match=r"w: tensor 'features.0.weight' .* is missing"):
        load_backbone(backbone, build_backbone(ZF).trunk.state_dict(), "w")


def test_loading_from_a_whole_networks_state(zf: Backbone) -> None:
    other = build_backbone(ZF)
    tensors = {f"backbone.{name}": value for name, value in zf.state_dict().items()}
    load_backbone(other, {**tensors, "head.layers.fc6.weight": torch.zeros(2)}, "w", prefix="backbone.trunk.")
    assert write_safetensors(other.state_dict()) == write_safetensors(zf.state_dict())


def test_preprocessing_can_be_overridden() -> None:
    assert build_backbone(BackboneSpec("zf5", 0.05, preprocessing=CAFFE_128)).preprocessing == CAFFE_128


def test_mean_image_stays_exact_whatever_the_weights_become() -> None:
    backbone = build_backbone(ZF)
    names = set(backbone.state_dict())
    mean = torch.rand(3, 4, 4, dtype=torch.float64) * 255
    backbone.mean_image = mean
    assert torch.equal(backbone.to(torch.bfloat16).mean_image, mean.float())
    assert torch.equal(copy.deepcopy(backbone).mean_image, mean.float())
    assert set(backbone.state_dict()) == names
    for wrong in (torch.zeros(4, 4), torch.zeros(1, 4, 4), torch.zeros(3, 0, 4), torch.full((3, 2, 2), float("nan"))):
        with pytest.raises(ConfigError, match="mean image"):
            backbone.mean_image = wrong
    backbone.mean_image = None
    assert backbone.mean_image is None


def test_pretrained_squeezenet_reaches_its_published_accuracy(
    shared: Path, squeezenet_tensors: dict[str, torch.Tensor]
) -> None:
    """Trunk, preprocessing and weights, proved by the classifier on top: expected.json's recipe."""
    from torchvision.models import squeezenet1_0

    backbone = build_backbone(SQUEEZENET).eval()
    load_backbone(backbone, squeezenet_tensors, "squeezenet")
    classifier = squeezenet1_0(weights=None).classifier.eval()
    load_state(classifier, squeezenet_tensors, "squeezenet", prefix="classifier.", ignore=["features."])
    folder = shared / "data/backbone"
    rows = list(csv.DictReader(io.StringIO((folder / "expected_top5.csv").read_text())))
    crops = []
    for row in rows:
        with Image.open(folder / "images" / row["file"]) as image:
            resized = image.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
            crops.append(np.asarray(resized.crop((14, 14, 241, 241))))
    with torch.inference_mode():
        batches = torch.from_numpy(np.arange(len(crops))).split(10)
        inputs = [normalise_images(np.stack([crops[i] for i in batch]), backbone.preprocessing) for batch in batches]
        logits = torch.cat([classifier(backbone(x)).flatten(1) for x in inputs])
    best = logits.topk(5).indices.tolist()
    assert best == [[int(row[f"top{rank}"]) for rank in range(1, 6)] for row in rows]
    np.testing.assert_allclose(logits.max(1).values, [float(row["top1_logit"]) for row in rows], atol=2e-3)
    expected = json.loads((folder / "expected.json").read_text())
    labels = [int(row["label"]) for row in rows]
    assert sum(label == top[0] for label, top in zip(labels, best, strict=True)) / len(rows) == expected["top1"] == 0.72
    assert sum(label in top for label, top in zip(labels, best, strict=True)) / len(rows) == expected["top5"] == 0.94
