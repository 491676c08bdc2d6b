from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.artifacts.backbone_info import BackboneInfo, CropsInfo, MapsInfo
from pipelines.engine.workspace import Artifact, Workspace
from sppnet.errors import ArtifactError
from sppnet.networks.backbones import BackboneSpec
from sppnet.pooling.geometry import GEOMETRIES

CROPS = CropsInfo("network-abc", size=227, context=16, precision="float32")


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return Workspace.open(str(tmp_path)).artifact("maps-abc")


@pytest.mark.parametrize("name", ["zf5", "convnet5"])  # with the release's offsets, and without
@pytest.mark.parametrize("crops", [None, CROPS])
@pytest.mark.parametrize("maps", [None, MapsInfo("network-abc", "bfloat16", "float16", 32_000_000)])
def test_it_comes_back_as_it_was(artifact: Artifact, name: str, crops: CropsInfo | None, maps: MapsInfo | None) -> None:
    info = BackboneInfo(BackboneSpec(name, width=0.5), GEOMETRIES[name], 128, crops, maps)
    info.write(artifact)
    found = BackboneInfo.read(artifact)
    assert found == info
    assert (found.spec.width, found.geometry.stride, found.channels) == (0.5, 16, 128)


def test_the_first_one_stays(artifact: Artifact) -> None:
    first = BackboneInfo(BackboneSpec("zf5"), GEOMETRIES["zf5"], 256)
    first.write(artifact)
    BackboneInfo(BackboneSpec("convnet5"), GEOMETRIES["convnet5"], 256).write(artifact)
    assert BackboneInfo.read(artifact) == first


@pytest.mark.parametrize("data", [b"{", b"{}", b'{"spec": {}, "geometry": {"stride": 16}, "channels": 1}'])
def test_damage_is_told(artifact: Artifact, data: bytes) -> None:
    artifact.store.put("maps-abc/backbone.json", data)
    with pytest.raises(ArtifactError, match=r"maps-abc/backbone\.json is corrupt"):
        BackboneInfo.read(artifact)


def test_what_is_missing_is_told(artifact: Artifact) -> None:
    with pytest.raises(ArtifactError, match=r"maps-abc/backbone\.json does not exist"):
        BackboneInfo.read(artifact)


def test_it_is_plain_json(artifact: Artifact) -> None:
    BackboneInfo(BackboneSpec("zf5"), GEOMETRIES["zf5"], 256, crops=CROPS).write(artifact)
    body = json.loads(artifact.store.read("maps-abc/backbone.json"))
    assert set(body) == {"spec", "geometry", "channels", "crops", "maps"}
    assert body["crops"] == {"network": "network-abc", "size": 227, "context": 16, "precision": "float32"}
