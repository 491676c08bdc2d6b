"""Importing weights: checked tensor by tensor, and read back like a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pipelines.artifacts.networks import encode_backbone, encode_network, has_head, read_backbone, read_network
from pipelines.engine.looks import Past
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Workspace
from pipelines.stages.weights import ImportWeights, ImportWeightsConfig
from sppnet.errors import ArtifactError, ConfigError
from sppnet.images.network_input import TORCHVISION, Preprocessing
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


def test_a_dilated_network_is_the_weights_of_a_plain_one(workspace: Workspace, tmp_path: Path) -> None:
    plain = build_backbone(SMALL)
    path = tmp_path / "zf5.safetensors"
    path.write_bytes(write_safetensors(plain.trunk.state_dict()))
    run_import(workspace, path, dilate=2)
    dilated = read_backbone(workspace.artifact("network-imported"))
    assert (dilated.geometry.stride, dilated.spec.dilate) == (8, 2)
    images = torch.randn(1, 3, 90, 120)
    with torch.inference_mode():
        torch.testing.assert_close(dilated(images)[:, :, ::2, ::2], plain.eval()(images), rtol=1e-4, atol=1e-5)
    described = tmp_path / "described.safetensors"
    described.write_bytes(encode_backbone(dilated.spec, dilated.trunk.state_dict()))
    other = Workspace.open(str(tmp_path / "other"))
    run_import(other, described)  # which says itself that it is dilated
    assert read_backbone(other.artifact("network-imported")).spec == dilated.spec


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


def test_a_network_without_geometry_is_told_with_its_step(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "swin.safetensors"
    path.write_bytes(write_safetensors({"features.0.0.weight": torch.zeros(96, 3, 4, 4)}))
    pixels = {"channel_order": "rgb", "mean": [104, 117, 123]}
    config = ImportWeightsConfig(
        stage="weights", path=str(path), architecture="torchvision:swin_t", preprocessing=pixels
    )
    with pytest.raises(ConfigError, match=r"^step \S+: backbone\.cut: torchvision:swin_t: layer 'shifted_window_att"):
        run_unit(make_spec(workspace, config, "network-swin"), "model")


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


def looked(tmp_path: Path, path: Path, **fields: Any) -> Mapping[str, Any]:
    config = ImportWeightsConfig(stage="weights", path=str(path), **fields)
    return ImportWeights.look(config, Workspace.open(str(tmp_path / "ws")).store, Past()).digests


def test_a_file_of_torchvisions_under_a_name_of_caffes_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from torchvision.models import squeezenet1_0

    path = tmp_path / "squeezenet1_0-b66bff10.pth"
    torch.save(squeezenet1_0(weights=None).state_dict(), path)
    with pytest.raises(ConfigError, match=r"has the name of SqueezeNet1_0_Weights.IMAGENET1K_V1 and another content.*"):
        looked(tmp_path, path, architecture="squeezenet1_0")
    caffe = {"channel_order": "bgr", "mean": [104, 117, 123]}
    looked(tmp_path, path, architecture="squeezenet1_0", preprocessing=caffe)
    assert caplog.messages == []
    looked(tmp_path, path, architecture="torchvision:squeezenet1_0")
    assert "taken as torchvision:squeezenet1_0's: RGB minus (123.675" in caplog.text
    # The very file that torchvision publishes, whatever it is called.
    digest = "b66bff10" + "0" * 56
    monkeypatch.setattr("pipelines.datasets.weight_files.content_digest", lambda data: digest)
    path = path.rename(tmp_path / "mine.pth")
    with pytest.raises(ConfigError, match=r"mine.pth: SqueezeNet1_0_Weights.IMAGENET1K_V1 wants pixels as RGB"):
        looked(tmp_path, path, architecture="squeezenet1_0")
    caplog.clear()
    assert looked(tmp_path, path, architecture="torchvision:squeezenet1_0") == {"weights": digest}
    assert caplog.messages == []
    looked(tmp_path, path, architecture="torchvision:squeezenet1_0", preprocessing=caffe)
    assert "wants pixels as RGB" in caplog.text


def test_pixels_of_a_network_of_our_own_and_of_timms_come_along(workspace: Workspace, tmp_path: Path) -> None:
    """What is told is in the network, and what another file tells is in the fingerprint."""
    caffe = Preprocessing("bgr", (104.0, 117.0, 123.0))
    spec = BackboneSpec("zf5", width=1 / 32, preprocessing=caffe, response_norm=False)
    state = build_backbone(spec).trunk.state_dict()
    path = tmp_path / "own.safetensors"
    path.write_bytes(encode_backbone(spec, state))
    run_import(workspace, path)
    assert read_backbone(workspace.artifact("network-imported")).spec == spec
    assert list(looked(tmp_path, path, architecture="zf5", width=1 / 32)) == ["weights"]
    with pytest.raises(ConfigError, match=r"architecture: .*own.safetensors is a network of zf5, not zf5_released"):
        looked(tmp_path, path, architecture="zf5_released")

    folder = tmp_path / "timm"
    folder.mkdir()
    (folder / "config.json").write_text('{"pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}')
    path = folder / "model.safetensors"
    name = {"architecture": "torchvision:resnet18", "cut": "layer1"}
    path.write_bytes(write_safetensors(build_backbone(BackboneSpec(**name)).trunk.state_dict()))
    config = ImportWeightsConfig(stage="weights", path=str(path), **name)
    run_unit(make_spec(workspace, config, "network-timm"), "model")
    half = Preprocessing("rgb", (127.5,) * 3, (127.5,) * 3)
    assert read_backbone(workspace.artifact("network-timm")).preprocessing == half
    assert looked(tmp_path, path, **name)["pixels"] == half.to_dict()
    stated = looked(tmp_path, path, **name, preprocessing=TORCHVISION.to_dict())
    assert list(stated) == ["weights"]


def test_published_weights_that_transform_their_input(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models._api import WeightsEnum

    name = {"architecture": "torchvision:googlenet", "cut": "conv1"}
    state = build_backbone(BackboneSpec(**name)).trunk.state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, **options: state)
    config = ImportWeightsConfig(stage="weights", torchvision="DEFAULT", **name)
    run_unit(make_spec(workspace, config, "network-published"), "model")
    found = read_backbone(workspace.artifact("network-published")).spec
    assert found == BackboneSpec(**name, transform_input=True)


def test_stated_pixels_that_can_hardly_be_right_are_doubted(caplog: pytest.LogCaptureFixture) -> None:
    swapped = {"channel_order": "bgr", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    fields = {"architecture": "torchvision:resnet18", "torchvision": "DEFAULT", "preprocessing": swapped}
    ImportWeights.check(ImportWeightsConfig(stage="weights", **fields), {})
    first, second = caplog.messages
    assert first.endswith("mean and std are in that order of channels, and ImageNet's mean is in the other")
    assert "ResNet18_Weights.IMAGENET1K_V1 wants pixels as RGB" in second


def test_half_precision_is_told(workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = {name: value.half() for name, value in build_backbone(SMALL).trunk.state_dict().items()}
    path = tmp_path / "half.safetensors"
    path.write_bytes(write_safetensors(state))
    run_import(workspace, path)
    assert f"half.safetensors: {len(state)} tensors are float16 and are computed with as float32" in caplog.text
    assert workspace.artifact("network-imported").commit("model").metrics["cast_from_float16"] == len(state)


def test_one_of_two_networks_in_a_file(workspace: Workspace, tmp_path: Path) -> None:
    state = build_backbone(SMALL).trunk.state_dict()
    path = tmp_path / "two.pth"
    torch.save({"model": state, "ema": {f"module.{name}": value + 1 for name, value in state.items()}}, path)
    with pytest.raises(ConfigError, match=r"two.pth: holds 2 networks of these names, behind 'model', 'ema'"):
        run_import(workspace, path)
    run_import(workspace, path, state_dict="ema")
    found = read_backbone(workspace.artifact("network-imported")).trunk.state_dict()
    assert all(torch.equal(found[name], value + 1) for name, value in state.items())
