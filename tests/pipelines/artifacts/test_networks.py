"""Networks as artifacts: what is encoded comes back whole, and what is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.artifacts.networks import (
    MEAN_IMAGE,
    UNIT,
    TrainedHead,
    encode_backbone,
    encode_head,
    encode_network,
    read_backbone,
    read_network,
    read_trained_head,
)
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Artifact, Workspace
from sppnet.errors import ArtifactError, ConfigError
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.network import FcHead, SppNetwork
from sppnet.networks.weights import read_metadata, read_safetensors, write_safetensors
from sppnet.pooling.pyramid import Pyramid
from sppnet.sizes import Size

SMALL = BackboneSpec("zf5", width=1 / 32)
LABELS = ("ape", "bee", "cat")
CURVE = ({"step": 1, "loss": 2.5},)


@pytest.fixture
def network() -> SppNetwork:
    torch.manual_seed(0)
    backbone, pyramid = build_backbone(SMALL), Pyramid((2, 1))
    return SppNetwork(backbone, pyramid, FcHead(5 * backbone.channels, (4, 6), 3)).eval()


def publish(folder: Path, data: bytes, name: str = "network-one") -> Artifact:
    artifact = Workspace.open(str(folder)).artifact(name)
    artifact.publish(UNIT, Output(data, ".safetensors", 1, 0), 0)
    return artifact


def encode(network: SppNetwork, sizes: tuple[int, ...] = ()) -> bytes:
    return encode_network(network.backbone, network.head, network.pyramid, LABELS, CURVE, sizes=sizes)


def test_a_network_comes_back_whole(network: SppNetwork, tmp_path: Path) -> None:
    found = read_network(publish(tmp_path, encode(network, (224, 180))))
    assert write_safetensors(found.network.state_dict()) == write_safetensors(network.state_dict())
    assert not found.network.training
    assert found.network.backbone.mean_image is None
    assert (found.network.pyramid, found.labels, found.sizes) == (Pyramid((2, 1)), LABELS, (224, 180))
    assert [dict(point) for point in found.curve] == list(CURVE)
    images = torch.randn(1, 3, 64, 48)
    with torch.inference_mode():
        assert torch.equal(found.network(images), network(images))


def test_the_mean_image_travels_with_the_backbone(network: SppNetwork, tmp_path: Path) -> None:
    mean = torch.rand(3, 7, 5) * 255
    network.backbone.mean_image = mean
    data = encode(network)
    assert torch.equal(read_safetensors(data)[MEAN_IMAGE], mean)
    artifact = publish(tmp_path, data)
    assert torch.equal(read_backbone(artifact).mean_image, mean)
    assert torch.equal(read_network(artifact).network.backbone.mean_image, mean)
    assert read_trained_head(artifact).labels == LABELS
    alone = encode_backbone(SMALL, network.backbone.trunk.state_dict(), mean_image=mean)
    assert torch.equal(read_backbone(publish(tmp_path, alone, "network-two")).mean_image, mean)


def test_a_network_without_spp_stays_one(network: SppNetwork, tmp_path: Path) -> None:
    pyramid = Pyramid((2, 1), fixed_map=Size(7, 6))
    data = encode_network(network.backbone, network.head, pyramid, LABELS, CURVE, sizes=(112,))
    found = read_network(publish(tmp_path, data)).network
    assert found.pyramid == pyramid
    assert found.pyramid.fixed_map == Size(7, 6)
    assert read_metadata(data)["fixed_map"] == "[6,7]"  # height first, as it was before sizes had a type
    with pytest.raises(ConfigError, match="takes maps of 7 x 6 cells only"):
        found(torch.zeros(1, 3, 180, 180))


def test_a_network_without_a_head_is_no_trained_network(tmp_path: Path) -> None:
    artifact = publish(tmp_path, encode_backbone(SMALL, build_backbone(SMALL).trunk.state_dict()))
    with pytest.raises(ArtifactError, match="network-one/model: holds no head"):
        read_network(artifact)


def test_a_head_has_no_backbone(network: SppNetwork, tmp_path: Path) -> None:
    trained = TrainedHead(network.head, network.pyramid, LABELS, (480, 688), "released", CURVE)
    artifact = publish(tmp_path, encode_head(trained), "head-one")
    found = read_trained_head(artifact)
    assert (found.labels, found.scales, found.convention) == (LABELS, (480, 688), "released")
    for read in (read_network, read_backbone):
        with pytest.raises(ArtifactError, match="head-one/model: holds no backbone"):
            read(artifact)
