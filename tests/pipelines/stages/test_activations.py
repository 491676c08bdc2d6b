"""activations: the merged result is what a plain search through all cached maps finds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipelines.artifacts.activations import UNIT, read_activations
from pipelines.artifacts.backbone_info import BackboneInfo
from pipelines.artifacts.windows_and_maps import decode_maps
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Workspace
from sppnet.errors import ArtifactError, ConfigError
from tests.support.chain import Chain

FILTERS = (3, 0, 17, 30)


def with_activations(chain: Chain, root, **fields) -> Chain:
    steps = {name: chain.steps[name] for name in ("images", "network", "maps")}
    steps["strongest"] = {
        "stage": "activations",
        "images": "images",
        "maps": "maps",
        "splits": ["train", "val"],
        "scales": [160, 240],
        "filters": list(FILTERS),
        "top": 4,
        **fields,
    }
    return Chain(chain.data, steps, root, chain.seed)


@pytest.fixture(scope="module")
def strongest(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("activations") / "ws"
    chain.copied(folder)
    made = with_activations(chain, folder)
    made.run()
    return made


def result(chain: Chain):
    return read_activations(chain.artifact("strongest"))


def plain_search(chain: Chain, number: int) -> list[tuple[float, str, int, tuple[int, int], str]]:
    """Every image's strongest response of one filter, strongest first."""
    best = {}
    for unit in chain.units("maps"):
        for row in decode_maps(chain.artifact("maps").read(unit), unit):
            channel = row.map[:, :, number]
            cy, cx = np.unravel_index(int(channel.argmax()), channel.shape)
            found = (float(channel[cy, cx]), row.key, row.scale, (int(cx), int(cy)), unit.partition("/")[2])
            best[row.key] = max(best.get(row.key, found), found, key=lambda entry: entry[0])
    return sorted(best.values(), key=lambda entry: (-entry[0], entry[1]))


def test_each_filters_patches_are_those_of_a_plain_search(strongest: Chain):
    rows = result(strongest)
    assert tuple(row.filter for row in rows) == FILTERS
    geometry = BackboneInfo.read(strongest.artifact("maps")).geometry
    checked = 0
    for row in rows:
        expected = [entry for entry in plain_search(strongest, row.filter) if entry[0] > 0][:4]
        assert len(row.patches) == len(expected)
        for patch, (value, key, scale, cell, shard) in zip(row.patches, expected, strict=True):
            assert patch.value == pytest.approx(value, abs=1e-6)
            assert (patch.key, patch.scale, patch.cell, patch.shard) == (key, scale, cell, shard)
            side = patch.box[2] - patch.box[0]  # the images' short side is 150: 139 pixels of the resized image
            assert side == pytest.approx(geometry.receptive_field * _short(strongest, patch) / scale, abs=0.02)
            checked += 1
    assert checked >= 8


def _short(chain: Chain, patch) -> int:
    rows = decode_maps(chain.artifact("maps").read(f"s{patch.scale:04d}/{patch.shard}"), "")
    return next(min(row.image_wh) for row in rows if row.key == patch.key)


def test_every_key_is_accounted_for(strongest: Chain):
    manifest, summary = strongest.manifest, strongest.summaries["strongest"]
    assert summary.keys == manifest.count("train") + manifest.count("val")
    assert [entry.key for entry in summary.quarantined] == ["broken"]
    assert summary.own_quarantined == 0


def test_filters_by_lot_are_the_seeds(strongest: Chain, chain: Chain):
    def drawn(seed: int) -> list[int]:
        fields = {"filters": None, "count": 5}
        stage = with_activations(chain, strongest.root, **fields).changed(seed=seed).stage("strongest")
        return stage._filters.tolist()

    assert drawn(0) == drawn(0) == sorted(set(drawn(0)))
    assert len(drawn(0)) == 5
    assert drawn(0) != drawn(1)


def test_more_filters_by_lot_than_there_are(strongest: Chain, chain: Chain):
    many = with_activations(chain, strongest.root, filters=None, count=99).stage("strongest")
    assert many._filters.tolist() == list(range(32))


def test_a_unit_gives_the_same_bytes_again_and_reads_one_shard(strongest: Chain):
    unit = strongest.unit("find/val/000000")
    assert strongest.stage("strongest").run(unit).data == strongest.artifact("strongest").read(unit)
    (row, *_) = read_activations(strongest.artifact("strongest"), unit)
    assert {patch.shard for patch in row.patches} == {strongest.unit("val/000000")}


def test_wrong_configs(strongest: Chain, chain: Chain):
    with pytest.raises(ConfigError, match=r"strongest.scales: scale 300 is not among"):
        with_activations(chain, strongest.root, scales=[300])
    with pytest.raises(ConfigError, match=r"strongest.splits: split test is not among"):
        with_activations(chain, strongest.root, splits=["test"])
    with pytest.raises(ConfigError, match=r"one comes twice in 1, 2, 1"):
        with_activations(chain, strongest.root, filters=[1, 2, 1])
    with pytest.raises(ConfigError, match=r"filters: 32 is not among the map's 32 filters, 0 to 31"):
        with_activations(chain, strongest.root, filters=[32]).stage("strongest").prepare()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"filters": [{"filter": 1}]}', b'{"filters": [{"patches": [1]}]}'])
def test_something_else_is_no_activations(tmp_path, body: bytes):
    artifact = Workspace.open(str(tmp_path)).artifact("activations-0")
    artifact.publish(UNIT, Output(body, ".json", 0, 0), 0)
    with pytest.raises(ArtifactError, match="activations-0/activations is corrupt: "):
        read_activations(artifact)


def test_the_result_is_plain_json(strongest: Chain):
    body = json.loads(strongest.artifact("strongest").read(UNIT))
    assert list(body) == ["filters"]
    assert set(body["filters"][0]["patches"][0]) == {"key", "shard", "scale", "cell", "value", "box"}
