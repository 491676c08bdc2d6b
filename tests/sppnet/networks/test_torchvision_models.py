from __future__ import annotations

from http.client import IncompleteRead
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torchvision.models import AlexNet_Weights
from torchvision.models._api import WeightsEnum

from sppnet.errors import ConfigError
from sppnet.networks.torchvision_models import build_model, download_weights, published_weights


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
