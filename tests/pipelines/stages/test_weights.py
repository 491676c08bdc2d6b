"""Importing weights: checked tensor by tensor, and read back like a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pipelines.artifacts.networks import encode_network, has_head, read_backbone, read_network
from pipelines.engine.looks import Past
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Workspace
from pipelines.stages.weights import ImportWeights, ImportWeightsConfig
from sppnet.errors import ArtifactError, ConfigError
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.network import FcHead
from sppnet.networks.weights import read_metadata, read_safetensors, write_safetensors
from sppnet.pooling.pyramid import Pyramid, pool_full_maps
from tests.support.tiny_workspace import make_spec, make_workspace

SMALL = BackboneSpec("zf5", width=1 / 32)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(str(tmp_path / "workspace"))


def run_import(workspace: Workspace, path: Path, **changes: Any) -> None:
    config = ImportWeightsConfig(stage="weights", path=str(path), architecture="zf5", width=1 / 32, **changes)
    spec = make_spec(workspace, config, "network-imported")
    assert [phase.units for phase in build_stage(spec).phases()] == [("model",)]
    run_unit(spec, "model")


def test_plain_weights_come_back_as_a_backbone(workspace: Workspace, tmp_path: Path) -> None:
    state = build_backbone(SMALL).trunk.state_dict()
    path = tmp_path / "zf5.safetensors"
    path.write_bytes(write_safetensors(state))
    run_import(workspace, path)
    backbone = read_backbone(workspace.artifact("network-imported"))
    assert backbone.spec == SMALL
    assert not backbone.training
    assert all(torch.equal(backbone.trunk.state_dict()[name], tensor) for name, tensor in state.items())
    assert not has_head(workspace.artifact("network-imported"))


def test_a_network_of_our_own_can_be_imported(workspace: Workspace, tmp_path: Path) -> None:
    backbone, pyramid = build_backbone(SMALL), Pyramid((2, 1))
    head = FcHead(5 * backbone.channels, (4, 4), 3)
    path = tmp_path / "network.safetensors"
    path.write_bytes(encode_network(backbone, head, pyramid, ("a", "b", "c"), [], sizes=(64, 48)))
    run_import(workspace, path)
    found = read_network(workspace.artifact("network-imported"))
    state = found.network.backbone.trunk.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in backbone.trunk.state_dict().items())
    layers = found.network.head.state_dict()
    assert all(torch.equal(layers[name], tensor) for name, tensor in head.state_dict().items())
    assert (found.labels, found.network.pyramid, found.sizes) == (("a", "b", "c"), pyramid, (64, 48))
    with pytest.raises(ConfigError, match="describes its head itself"):
        run_import(workspace, path, head={"levels": [2, 1]})


def test_a_head_that_the_file_does_not_describe(workspace: Workspace, tmp_path: Path) -> None:
    """The authors' order of values below fc6: what it computes of a map is what Caffe's layers would."""
    backbone, pyramid = build_backbone(SMALL), Pyramid((3, 2, 1))
    theirs = FcHead(pyramid.bins * backbone.channels, (5, 4), 3).eval()
    path = tmp_path / "released.pth"
    names = {name.removeprefix("layers."): tensor for name, tensor in theirs.state_dict().items()}
    torch.save({**backbone.trunk.state_dict(), **names}, path)
    run_import(workspace, path, head={"levels": [3, 2, 1], "layout": "released", "labels": ["x", "y", "z"]})
    found = read_network(workspace.artifact("network-imported"))
    assert found.labels == ("x", "y", "z")
    maps = torch.rand(2, backbone.channels, 7, 9)
    # Caffe: coarsest level first, each flattened as [C, n, n].
    ours = pool_full_maps(maps, pyramid)
    levels = [ours[:, pyramid.slices[n]].transpose(1, 2).flatten(1) for n in (1, 2, 3)]
    expected = theirs(torch.cat(levels, dim=1))
    torch.testing.assert_close(found.network.head(ours), expected)
    assert found.network.head.spec.hidden == (5, 4)


def test_heads_that_do_not_fit(workspace: Workspace, tmp_path: Path) -> None:
    backbone = build_backbone(SMALL)
    head = FcHead(5 * backbone.channels, (4, 4), 3)
    names = {name.removeprefix("layers."): tensor for name, tensor in head.state_dict().items()}
    path = tmp_path / "plain.safetensors"
    path.write_bytes(write_safetensors({**backbone.trunk.state_dict(), **names}))
    run_import(workspace, path)
    assert not has_head(workspace.artifact("network-imported"))  # nobody said what they are
    with pytest.raises(
        ConfigError, match=r"tensor 'layers.fc6.weight' has shape \[4, 40\], the network needs \[4, 8\]"
    ):
        run_import(workspace, path, head={"levels": [1]})
    with pytest.raises(ConfigError, match=r"head.labels: 2 for the 3 outputs of fc8 in .*plain.safetensors"):
        run_import(workspace, path, head={"levels": [2, 1], "labels": ["a", "b"]})
    with pytest.raises(ConfigError, match=r"the network needs .4, 80000000000"):  # 1.3 TB, were it allocated
        run_import(workspace, path, head={"levels": [100_000]})
    path.write_bytes(write_safetensors({**backbone.trunk.state_dict(), "fc6.weight": names["fc6.weight"]}))
    with pytest.raises(ConfigError, match=r"plain.safetensors: tensor 'fc7.weight' of the head is missing"):
        run_import(workspace, path, head={"levels": [2, 1]})
    with pytest.raises(ValidationError, match="can't pool windows"):
        run_import(workspace, path, head={"levels": "none"})


def test_a_description_that_claims_too_much(workspace: Workspace, tmp_path: Path) -> None:
    """A file of a few kilobytes whose head says it has terabytes."""
    backbone = build_backbone(SMALL)
    data = encode_network(backbone, FcHead(5 * backbone.channels, (4, 4), 3), Pyramid((2, 1)), ("a", "b", "c"), [])
    tensors, metadata = read_safetensors(data), read_metadata(data)
    claimed = {**metadata, "head": metadata["head"].replace('"hidden":[4,4]', '"hidden":[4000000000,4]')}
    assert claimed != metadata
    path = tmp_path / "claims.safetensors"
    path.write_bytes(write_safetensors(tensors, claimed))
    with pytest.raises(
        ArtifactError, match=r"claims.safetensors: not this version's head .*the network needs .4000000000"
    ):
        run_import(workspace, path)


def test_the_first_wrong_tensor_is_named(workspace: Workspace, tmp_path: Path) -> None:
    state = dict(build_backbone(SMALL).trunk.state_dict())
    name = sorted(state)[3]
    path = tmp_path / "wrong.safetensors"
    path.write_bytes(write_safetensors({**state, name: torch.zeros(7)}))
    with pytest.raises(ConfigError, match=rf"wrong\.safetensors: tensor '{name}' has shape \[7\], the network needs"):
        run_import(workspace, path)
    del state[name]
    path.write_bytes(write_safetensors(state))
    with pytest.raises(ConfigError, match=f"tensor '{name}' .* is missing"):
        run_import(workspace, path)
    path.write_bytes(b"not weights at all")
    with pytest.raises(ConfigError, match="safetensors"):
        run_import(workspace, path)


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_a_state_dict_of_torchvisions_can_be_imported(
    workspace: Workspace, tmp_path: Path, wrapper: str | None
) -> None:
    """The whole classifier's state: what the trunk doesn't need is ignored, nothing else may be there."""
    from torchvision.models import mobilenet_v3_small

    state = mobilenet_v3_small(weights=None).state_dict()
    path = tmp_path / "mobilenet.pth"
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, path)
    config = ImportWeightsConfig(stage="weights", path=str(path), architecture="torchvision:mobilenet_v3_small")
    commit = run_unit(make_spec(workspace, config, "network-mobile"), "model")
    backbone = read_backbone(workspace.artifact("network-mobile"))
    assert commit.metrics["parameters"] == sum(p.numel() for p in backbone.parameters()) == 927_008
    found = backbone.trunk.state_dict()
    assert all(torch.equal(found[name], state[name]) for name in found)
    torch.save({**state, "features.99.weight": torch.ones(1)}, path)
    with pytest.raises(ConfigError, match=r"mobilenet.pth: tensor 'features.99.weight' \[1\] is unexpected"):
        run_unit(make_spec(workspace, config, "network-other"), "model")


def test_the_mean_image_of_a_network_comes_along(workspace: Workspace, tmp_path: Path) -> None:
    backbone = build_backbone(SMALL)
    backbone.mean_image = torch.rand(3, 6, 6) * 255
    path = tmp_path / "network.safetensors"
    path.write_bytes(encode_network(backbone, FcHead(5 * 8, (4, 4), 3), Pyramid((2, 1)), ("a", "b", "c"), []))
    run_import(workspace, path)
    assert torch.equal(read_backbone(workspace.artifact("network-imported")).mean_image, backbone.mean_image)


def test_weights_that_torchvision_publishes(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning asks for the name of the file only; the step downloads it."""
    from torchvision.models import squeezenet1_1
    from torchvision.models._api import WeightsEnum

    def make(**fields: str) -> ImportWeightsConfig:
        return ImportWeightsConfig(stage="weights", **{"architecture": "torchvision:squeezenet1_1", **fields})

    config = make(torchvision="IMAGENET1K_V1")
    ImportWeights.check(config, {})
    named = {"weights": "SqueezeNet1_1_Weights.IMAGENET1K_V1 squeezenet1_1-b8a52dc0.pth"}
    assert ImportWeights.external(config) == ImportWeights.external(make(torchvision="DEFAULT")) == named
    assert ImportWeights.outside(config) is None
    assert config.semantic() == make(torchvision="DEFAULT").semantic()
    state = squeezenet1_1(weights=None).state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, **options: state)
    run_unit(make_spec(workspace, config, "network-published"), "model")
    found = read_backbone(workspace.artifact("network-published")).trunk.state_dict()
    assert all(torch.equal(found[name], state[name]) for name in found)
    with pytest.raises(ConfigError, match="no weights 'IMAGENET1K_V7' of squeezenet1_1"):
        ImportWeights.check(make(torchvision="IMAGENET1K_V7"), {})
    with pytest.raises(ConfigError, match="torchvision: publishes no weights for zf5; name torchvision:<name>"):
        ImportWeights.check(make(torchvision="IMAGENET1K_V1", architecture="zf5"), {})
    for both_or_none in (make(), make(path="x.pth", torchvision="IMAGENET1K_V1")):
        with pytest.raises(ConfigError, match="give one of the two"):
            ImportWeights.check(both_or_none, {})


def test_content_not_path_is_in_the_fingerprint(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"abc")
    two.write_bytes(b"abc")
    configs = [ImportWeightsConfig(stage="weights", path=str(path), architecture="zf5") for path in (one, two)]
    store = Workspace.open(str(tmp_path / "ws")).store

    def digests(config: ImportWeightsConfig) -> Mapping[str, Any]:
        assert ImportWeights.outside(config) == {"path": config.path}
        return ImportWeights.look(config, store, Past()).digests

    assert digests(configs[0]) == digests(configs[1]) != {}
    assert configs[0].semantic() == configs[1].semantic()
    two.write_bytes(b"abd")
    assert digests(configs[0]) != digests(configs[1])
    with pytest.raises(ConfigError, match="can't be read: there is no such file"):
        digests(configs[0].model_copy(update={"path": str(tmp_path / "none")}))


def test_an_architecture_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'zf5'"):
        ImportWeights.check(ImportWeightsConfig(stage="weights", path="x", architecture="zf"), {})


def test_a_head_artifact_is_no_backbone(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, images=6)
    with pytest.raises(ArtifactError, match=r"maps-tiny/.*model"):
        read_backbone(workspace.artifact("maps-tiny"))


def test_published_squeezenet_weights(workspace: Workspace, shared: Path) -> None:
    path = shared / "data" / "weights" / "squeezenet1_0-imagenet.safetensors"
    config = ImportWeightsConfig(stage="weights", path=str(path), architecture="squeezenet1_0")
    run_unit(make_spec(workspace, config, "network-squeezenet"), "model")
    backbone = read_backbone(workspace.artifact("network-squeezenet"))
    assert (backbone.channels, backbone.geometry.stride) == (512, 16)
    assert workspace.artifact("network-squeezenet").commit("model").metrics["parameters"] == 735_424
