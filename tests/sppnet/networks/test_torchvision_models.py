from __future__ import annotations

import json
from http.client import IncompleteRead
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torchvision.models import AlexNet_Weights
from torchvision.models._api import WeightsEnum

from sppnet.errors import ConfigError
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.inference import InferenceBackbone
from sppnet.networks.torchvision_models import (
    addressed_files,
    build_model,
    download_weights,
    published_files,
    published_weights,
)


def test_models_are_built_by_name() -> None:
    with torch.device("meta"):
        network = build_model("mobilenet_v3_small")
        excited = [name for name, module in network.named_modules() if getattr(module, "keeps_geometry", False)]
        assert "features.1.block.1" in excited
        assert build_model("regnet_y_400mf").stem[0].weight.is_meta  # can't be built on that device directly
    for wrong in ("resnet5", "fasterrcnn_resnet50_fpn", "__init__"):
        with pytest.raises(ConfigError, match=f"no classifier '{wrong}'"):
            build_model(wrong)


def test_published_weights_are_found_by_name() -> None:
    assert published_weights("alexnet", "IMAGENET1K_V1") is AlexNet_Weights.IMAGENET1K_V1
    with pytest.raises(
        ConfigError, match="no weights 'IMAGENET1K_V2' of alexnet, it has: IMAGENET1K_V1, DEFAULT, did you"
    ):
        published_weights("alexnet", "IMAGENET1K_V2")


@pytest.mark.parametrize(
    "error",
    [
        URLError("no route to host"),
        IncompleteRead(b"first part", 10),
        RuntimeError('invalid hash value (expected "7be5be79", got "0")'),
    ],
)
def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(self: WeightsEnum, *args: Any, **kwargs: Any) -> None:
        assert kwargs["check_hash"] is True
        raise error

    monkeypatch.setattr(WeightsEnum, "get_state_dict", refuse)
    with pytest.raises(
        ConfigError, match=r"AlexNet_Weights.IMAGENET1K_V1 can't be downloaded .*(route|IncompleteRead|hash)"
    ):
        download_weights("alexnet", "IMAGENET1K_V1")


def test_a_download_is_torchvisions_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, **options: {"a": torch.ones(2)})
    assert download_weights("alexnet", "IMAGENET1K_V1")["a"].tolist() == [1, 1]


def test_published_files_are_known_by_the_beginning_of_their_digests() -> None:
    files = published_files()
    assert {(one.name, one.digest) for one in files} <= addressed_files()
    assert ("resnet50", "resnet50-0676ba61.pth", "0676ba61") in {(one.model, one.name, one.digest) for one in files}
    assert len(files) > 100
    assert all(len(one.digest) >= 8 and one.entry.url.endswith(one.name) for one in files)


def test_a_network_that_transforms_its_input_has_the_maps_of_torchvisions() -> None:
    from torchvision.models import googlenet

    spec = BackboneSpec("torchvision:googlenet", cut="conv2", transform_input=True)
    assert BackboneSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    backbone = build_backbone(spec).eval()
    plain = build_backbone(BackboneSpec("torchvision:googlenet", cut="conv2"))
    assert backbone.geometry == plain.geometry
    assert backbone.trunk.state_dict().keys() == plain.trunk.state_dict().keys()
    theirs = googlenet(weights=None, init_weights=False, transform_input=True).eval()
    state = {name: torch.rand(value.shape) for name, value in backbone.trunk.state_dict().items()}
    backbone.trunk.load_state_dict(state)
    theirs.load_state_dict(state, strict=False)
    kept: list[torch.Tensor] = []
    theirs.conv2.register_forward_hook(lambda module, inputs, output: kept.append(output))
    images = torch.randn(1, 3, 64, 80)
    with torch.inference_mode():
        theirs(images)
        torch.testing.assert_close(backbone(images), kept[0].relu())
        torch.testing.assert_close(InferenceBackbone(backbone)(images), kept[0].relu(), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match=r"backbone.transform_input: torchvision:resnet18 does not"):
        BackboneSpec("torchvision:resnet18", transform_input=True)
