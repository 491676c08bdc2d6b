from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from pipelines.artifacts.networks import encode_backbone, read_described_head
from pipelines.datasets.contents import Contents
from pipelines.datasets.weight_files import look_at_weights, read_weight_file
from sppnet.errors import ArtifactError, ConfigError
from sppnet.images.network_input import CAFFE_128, Preprocessing
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.published_pixels import PublishedPixels
from sppnet.networks.state_dicts import write_state_dict
from sppnet.networks.weights import write_safetensors

HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}


def test_what_lies_beside_a_file_is_looked_at_once(tmp_path: Path) -> None:
    path, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    path.write_bytes(write_safetensors({"a": torch.ones(2)}))
    contents = Contents()
    seen = look_at_weights(str(path), contents)
    assert (seen.network, seen.file.described, seen.file.torch_format) == (None, None, False)
    assert seen.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    config.write_text(json.dumps({"pretrained_cfg": HALF}))
    seen = look_at_weights(str(path), contents)
    expected = PublishedPixels(str(config), Preprocessing("rgb", (127.5,) * 3, (127.5,) * 3))
    assert seen.file.described == expected
    read = contents.read_count
    assert look_at_weights(str(path), contents) == seen
    assert contents.read_count == read == 2
    assert read_weight_file(str(path)) == (path.read_bytes(), seen)


def test_a_file_that_describes_itself(tmp_path: Path) -> None:
    spec = BackboneSpec("zf5", width=1 / 32, preprocessing=CAFFE_128)
    path = tmp_path / "network.safetensors"
    path.write_bytes(encode_backbone(spec, build_backbone(spec).trunk.state_dict()))
    (tmp_path / "config.json").write_text(json.dumps(HALF))
    seen = look_at_weights(str(path), Contents())
    assert seen.network == spec
    assert seen.file.described == PublishedPixels.of_network(spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json beside the weights is not JSON"),
        ("[" * 100_000, "config.json beside the weights is not JSON"),
        ('{"mean": 1, "std": 2}', "config.json: its mean and std are not three numbers each"),
    ],
)  # fmt: skip
def test_a_config_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(write_state_dict({"a": torch.ones(1)}))
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        look_at_weights(str(path), Contents())
    assert "\n" not in str(caught.value)


def test_a_config_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(write_state_dict({"a": torch.ones(1)}))
    for text in ("[1]", json.dumps({"mean": HALF["mean"], "std": HALF["std"], "x": "y" * 2_000_000}), '{"name": 1}'):
        (tmp_path / "config.json").write_text(text)
        assert look_at_weights(str(path), Contents()).file.described is None


def test_words_of_ours_in_another_description(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for word in ("resnet50", "{", "[1]", '{"name": "resnet50"}', "[" * 100_000):
        path.write_bytes(write_safetensors({"a": torch.ones(1)}, {"backbone": word, "head": word}))
        assert look_at_weights(str(path), Contents()).network is None
        assert read_described_head(path.read_bytes(), "w") is None
    path.write_bytes(write_safetensors({"a": torch.ones(1)}, {"backbone": '{"architecture": "zf6"}'}))
    with pytest.raises(ArtifactError, match=r"w.safetensors: not this version's network \(backbone.*unknown 'zf6'"):
        look_at_weights(str(path), Contents())
