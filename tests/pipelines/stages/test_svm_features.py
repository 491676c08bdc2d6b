"""What train-svms learns from: fc6 and fc7 of a fine-tuned or a pre-trained head, strong features and weak ones."""

from __future__ import annotations

import pytest
import torch

from pipelines.artifacts.networks import UNIT, TrainedHead, encode_head, encode_network
from pipelines.engine.commits import Output
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError
from sppnet.networks.backbones import build_backbone
from sppnet.networks.network import FcHead, HeadSpec
from sppnet.pooling.pyramid import Pyramid
from tests.support.tiny_training import make_training_workspace, svms_spec, train, trained
from tests.support.tiny_workspace import BACKBONE, CATEGORIES, CHANNELS, SCALES


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_training_workspace(tmp_path_factory.mktemp("options"), images=12, shard_size=4)


def add_head(workspace: Workspace, name: str, maps: str = "maps-tiny") -> None:
    """A head of random weights, as if fine-tuned on some maps."""
    torch.manual_seed(1)
    head = FcHead.from_spec(HeadSpec(14 * CHANNELS, (24, 16), 4, 0.0))
    trained_head = TrainedHead(head, Pyramid((3, 2, 1)), ("background", *CATEGORIES), SCALES, "paper", ())
    artifact = workspace.artifact(name)
    artifact.describe({"inputs": {"maps": [maps]}})
    artifact.publish(UNIT, Output(encode_head(trained_head), ".safetensors", 1, 0), 0)


def add_network(workspace: Workspace, name: str = "network-tiny") -> None:
    """A pre-trained network with a head of random weights, in the place of one that has none."""
    torch.manual_seed(1)
    backbone = build_backbone(BACKBONE)
    head = FcHead.from_spec(HeadSpec(14 * CHANNELS, (24, 16), 5, 0.0))
    artifact = workspace.artifact(name)
    if UNIT in artifact.committed():
        artifact.store.delete(f"{name}/_commits/{UNIT}.json")
    artifact.describe({"inputs": {"images": ["images-other"], "statistics": []}, "stage": "pretrain"})
    data = encode_network(backbone, head, Pyramid((3, 2, 1)), tuple("abcde"), [])
    artifact.publish(UNIT, Output(data, ".safetensors", 1, 0), 0)


class TestFeatures:
    @pytest.mark.parametrize(("layer", "dimension"), [("fc6", 24), ("fc7", 16)])
    def test_of_a_head(self, workspace: Workspace, layer: str, dimension: int) -> None:
        add_head(workspace, f"head-{layer}")
        stage = train(svms_spec(workspace, f"svms-{layer}", head=f"head-{layer}", features=layer))
        svms = trained(stage)
        assert svms.weights.shape == (3, dimension)
        assert svms.features == layer

    @pytest.mark.parametrize("layer", ["fc6", "fc7"])
    def test_of_the_networks_own_head(self, tmp_path, layer: str) -> None:
        """fc6 and fc7 as they were pre-trained: a network says of no maps that it was trained on them."""
        workspace = make_training_workspace(tmp_path, images=4, shard_size=4)
        add_network(workspace)
        spec = svms_spec(workspace, f"svms-own-{layer}", head="network-tiny", features=layer)
        svms = trained(train(spec))
        assert svms.weights.shape == (3, {"fc6": 24, "fc7": 16}[layer])
        other = svms_spec(workspace, "svms-not-own", head="network-else", features=layer)
        add_network(workspace, "network-else")
        with pytest.raises(ConfigError, match="maps are of another backbone than those that head network-else"):
            build_stage(other).prepare()

    def test_of_a_head_for_another_backbones_maps(self, workspace: Workspace) -> None:
        workspace.artifact("maps-other").describe({"inputs": {"backbone": ["network-other"]}})
        add_head(workspace, "head-other", "maps-other")
        stage = build_stage(svms_spec(workspace, "svms-other", head="head-other", features="fc7"))
        with pytest.raises(ConfigError, match="maps are of another backbone than those that head head-o"):
            stage.prepare()


def test_an_svm_that_finds_none_of_its_own_is_told(workspace: Workspace, caplog) -> None:
    """With next to no cost of errors the best is w = 0, which scores every window -1."""
    stage = train(svms_spec(workspace, "svms-cheap", c=1e-9, rounds=0))
    told = [record.message for record in caplog.records if "scores none of its" in record.message]
    assert [next(c for c in CATEGORIES if f"category={c} " in message) for message in told] == list(CATEGORIES)
    assert stage.artifact.commit("solve-0/disc").metrics["positives_found"] == 0
