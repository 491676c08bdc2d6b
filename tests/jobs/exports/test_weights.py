"""`sppnet export`: networks leave as safetensors and state dicts, and come back through the weights stage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torchvision.models import mobilenet_v3_small

from pipelines.artifacts.networks import UNIT, encode_network, read_backbone
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Workspace
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.network import FcHead
from sppnet.networks.weights import read_safetensors, write_safetensors
from sppnet.pooling.pyramid import Pyramid
from tests.support.in_process import Outcome, sppnet

NAME = "torchvision:mobilenet_v3_small"


class Exporter:
    """A recipe of one step that imports weights, and the commands on it."""

    def __init__(self, folder: Path, weights: Path, architecture: str = NAME, **fields: object) -> None:
        self.folder = folder
        self.recipe = folder / "recipe.yaml"
        step = {"stage": "weights", "path": str(weights), "architecture": architecture, **fields}
        self.recipe.write_text(yaml.safe_dump({"version": 1, "name": "toy", "steps": {"network": step}}))

    def run(self) -> Outcome:
        return sppnet("run", self.recipe, "--workspace", self.folder / "ws", "--local")

    def export(self, target: Path | str, step: str = "network") -> Outcome:
        return sppnet("export", self.recipe, step, str(target), "--workspace", self.folder / "ws")


@pytest.fixture
def exporter(tmp_path: Path) -> Exporter:
    torch.manual_seed(0)
    torch.save(mobilenet_v3_small(weights=None).state_dict(), tmp_path / "given.pth")
    return Exporter(tmp_path, tmp_path / "given.pth")


def test_a_torchvision_backbone_leaves_with_torchvisions_names(exporter: Exporter, tmp_path: Path) -> None:
    assert exporter.run().code == 0
    outcome = exporter.export(tmp_path / "out" / "net.pth")
    assert outcome.code == 0
    given = torch.load(tmp_path / "given.pth", weights_only=True)
    assert outcome.json["tensors"] == len(given) - 4  # the classifier's two layers
    found = torch.load(tmp_path / "out" / "net.pth", weights_only=True)
    result = mobilenet_v3_small(weights=None).load_state_dict(found, strict=False)
    assert result.unexpected_keys == []
    assert {name.partition(".")[0] for name in result.missing_keys} == {"classifier"}
    assert write_safetensors(found) == write_safetensors({name: given[name] for name in found})


def test_safetensors_are_the_artifact_s_own_and_come_back(exporter: Exporter, tmp_path: Path) -> None:
    exporter.run()
    outcome = exporter.export(tmp_path / "net.safetensors")
    artifact = Workspace.open(str(tmp_path / "ws")).artifact(outcome.json["artifact"])
    data = (tmp_path / "net.safetensors").read_bytes()
    assert data == artifact.read(UNIT)
    assert outcome.json["bytes"] == len(data)
    (tmp_path / "again").mkdir()
    again = Exporter(tmp_path / "again", tmp_path / "net.safetensors")
    assert again.run().code == 0
    other = Workspace.open(str(tmp_path / "again" / "ws"))
    (name,) = [path.name for path in (tmp_path / "again" / "ws").glob("network-*")]
    assert write_safetensors(read_backbone(other.artifact(name)).state_dict()) == write_safetensors(
        read_backbone(artifact).state_dict()
    )


def test_a_whole_network_s_state_dict_comes_back_as_a_backbone(exporter: Exporter, tmp_path: Path) -> None:
    """Its head and mean image have names of their own, which the import knows."""
    exporter.run()
    backbone = build_backbone(BackboneSpec("zf5", width=1 / 32))
    backbone.mean_image = torch.rand(3, 5, 5) * 255
    data = encode_network(backbone, FcHead(5 * 8, (4, 4), 3), Pyramid((2, 1)), ("a", "b", "c"), [])
    (folder,) = (tmp_path / "ws").glob("network-*")
    artifact = Workspace.open(str(tmp_path / "ws")).artifact(folder.name)
    artifact.store.delete(f"{artifact.name}/_commits/{UNIT}.json")
    artifact.publish(UNIT, Output(data, ".safetensors", 1, 0), 0)
    assert exporter.export(tmp_path / "whole.pth").code == 0
    found = torch.load(tmp_path / "whole.pth", weights_only=True)
    assert {name.partition(".")[0] for name in found} == {
        "conv1",
        "conv2",
        "conv3",
        "conv4",
        "conv5",
        "head",
        "backbone",
    }
    assert set(read_safetensors(data)) - {f"backbone.trunk.{name}" for name in found} == {
        name for name in found if name.startswith(("head.", "backbone."))
    }
    (tmp_path / "again").mkdir()
    again = Exporter(tmp_path / "again", tmp_path / "whole.pth", "zf5", width=1 / 32)
    assert again.run().code == 0
    (name,) = [path.name for path in (tmp_path / "again" / "ws").glob("network-*")]
    back = read_backbone(Workspace.open(str(tmp_path / "again" / "ws")).artifact(name))
    assert torch.equal(back.mean_image, backbone.mean_image)
    assert write_safetensors(back.trunk.state_dict()) == write_safetensors(backbone.trunk.state_dict())


def test_what_can_not_be_exported_is_one_line(exporter: Exporter, tmp_path: Path) -> None:
    for target, step, message in (
        (tmp_path / "net.onnx", "network", "net.onnx: the name must end in .safetensors or .pth"),
        (tmp_path / "net.pth", "netwrok", "step 'netwrok' makes no network or head; these do: network"),
        (tmp_path / "net.pth", "network", "step network has not been run in"),
    ):
        outcome = exporter.export(target, step)
        assert outcome.code == 2
        assert message in outcome.json["error"]
    assert not (tmp_path / "net.pth").exists()
    exporter.run()
    (tmp_path / "file").write_text("")
    outcome = exporter.export(tmp_path / "file" / "net.pth")
    assert outcome.code == 2
    assert "can't be written at" in outcome.json["error"]
