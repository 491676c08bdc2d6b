"""extract: the cached map is the backbone's map of the prepared image, per scale."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.artifacts.backbone_info import BackboneInfo
from pipelines.artifacts.networks import encode_backbone, read_backbone
from pipelines.artifacts.windows_and_maps import decode_maps
from pipelines.shards.reading import decode_record
from pipelines.stages import extract
from sppnet.errors import ArtifactError, ConfigError, TooManyQuarantinedError
from sppnet.images.decoding import decode_image
from sppnet.images.network_input import prepare_image
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.inference import InferenceBackbone
from sppnet.networks.map_types import to_map_type
from sppnet.networks.weights import read_safetensors, write_safetensors
from sppnet.sizes import Size
from tests.support.chain import BACKBONE, SCALES, Chain, accounts, add_image, equal_bytes, make_steps, write_weights

STEPS = ("images", "network", "maps")


def random_weights(chain) -> dict[str, torch.Tensor]:
    return read_safetensors(Path(chain.steps["network"]["path"]).read_bytes())


@torch.inference_mode()
def expected_map(backbone, record, scale: int, dtype: torch.dtype = torch.float16) -> np.ndarray:
    mean = backbone.mean_image
    image = prepare_image(decode_image(record.data), scale, backbone.preprocessing, mean_image=mean)
    return InferenceBackbone(backbone)(image)[0].permute(1, 2, 0).contiguous().to(dtype).numpy()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("title", ["train/000000", "train/000001", "val/000001"])
def test_maps_are_the_backbones(chain, scale: int, title: str) -> None:
    shard = chain.unit(title)
    backbone = build_backbone(BACKBONE).eval()
    backbone.trunk.load_state_dict(random_weights(chain))
    records = chain.records(shard)
    rows = list(decode_maps(chain.artifact("maps").read(f"s{scale:04d}/{shard}"), shard))
    assert [row.key for row in rows] == [record.key for record in records]
    for row, record in zip(rows, records, strict=True):
        expected = expected_map(backbone, record, scale)
        assert row.scale == scale
        assert row.image_wh == (record.width, record.height)
        assert row.map.shape == (*backbone.map_size(prepared_size(record, scale)).hw, 32)
        assert equal_bytes(row.map, expected)


def test_a_mean_image_is_subtracted_at_every_scale(chain, tmp_path) -> None:
    backbone = build_backbone(BACKBONE).eval()
    backbone.trunk.load_state_dict(random_weights(chain))
    backbone.mean_image = torch.linspace(0, 255, 3 * 64 * 64).reshape(3, 64, 64)
    path = tmp_path / "mean.safetensors"
    trunk = backbone.trunk.state_dict()
    path.write_bytes(encode_backbone(BACKBONE, trunk, mean_image=backbone.mean_image))
    copy = chain.copied(tmp_path / "ws", ("images",)).only(*STEPS).changed(network={"path": str(path)})
    copy.run()
    (record,) = chain.records(chain.unit("val/000001"))
    for scale in SCALES:
        unit = chain.unit(f"s{scale:04d}/val/000001")
        row = next(decode_maps(copy.artifact("maps").read(unit), unit))
        assert equal_bytes(row.map, expected_map(backbone, record, scale))
        plain = next(decode_maps(chain.artifact("maps").read(unit), unit))
        assert not equal_bytes(row.map, plain.map)


def prepared_size(record, scale: int) -> Size:
    return Size.of(prepare_image(decode_image(record.data), scale, BACKBONE.preprocessing)[0, 0])


def test_maps_are_not_negative(chain) -> None:
    for unit in chain.units("maps"):
        for row in decode_maps(chain.artifact("maps").read(unit), unit):
            assert not np.signbit(row.map).any()
            assert row.map.max() > 0


def test_every_key_is_done_or_quarantined_at_every_scale(chain) -> None:
    rows = list(accounts(chain, "maps"))
    assert [found for _, found, _ in rows] == [wanted for _, _, wanted in rows] == [5, 5, 4, 5, 1] * 2
    assert [unit for unit, _, _ in rows][:5] == [f"s0240/{shard}" for shard in chain.shards("train", "val")]
    summary = chain.summaries["maps"]
    assert (summary.keys, summary.done, summary.own_quarantined) == (40, 38, 0)


def test_readers_learn_which_backbone_it_was(chain) -> None:
    info = BackboneInfo.read(chain.artifact("maps"))
    backbone = read_backbone(chain.artifact("network"))
    assert (info.spec, info.geometry, info.channels) == (backbone.spec, backbone.geometry, 32)
    assert info.spec == BACKBONE


def test_backbone_json_missing_or_corrupt(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws", ("maps",))
    path = copy.root / copy.step("maps").spec.artifact / "backbone.json"
    for text in ("{", "{}", '{"spec": {"architecture": "zf5"}, "geometry": {}, "channels": 3}'):
        path.write_text(text)
        with pytest.raises(ArtifactError, match=r"backbone.json is corrupt"):
            BackboneInfo.read(copy.artifact("maps"))
    path.unlink()
    with pytest.raises(ArtifactError, match=r"backbone.json does not exist"):
        BackboneInfo.read(copy.artifact("maps"))


def test_adding_a_scale_makes_only_its_units(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws", STEPS)
    before = {unit: copy.artifact("maps").commit(unit) for unit in copy.units("maps")}
    more = copy.only(*STEPS).changed(maps={"scales": [160, 200, 240]})
    more.run()
    assert more.step("maps").spec.artifact == chain.step("maps").spec.artifact
    added = set(more.artifact("maps").committed()) - set(before)
    assert added == {f"s0200/{shard}" for shard in chain.shards()}
    assert {unit: more.artifact("maps").commit(unit) for unit in before} == before


def test_flips_are_the_maps_of_mirrored_images_and_cost_only_themselves(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws", STEPS)
    before = {unit: copy.artifact("maps").commit(unit) for unit in copy.units("maps")}
    more = copy.only(*STEPS).changed(maps={"flips": True})
    more.run()
    maps = more.artifact("maps")
    assert maps.name == chain.artifact("maps").name
    added = set(maps.committed()) - set(before)
    assert added == {f"s{scale:04d}f/{shard}" for scale in SCALES for shard in chain.shards()}
    assert {unit: maps.commit(unit) for unit in before} == before
    backbone = build_backbone(BACKBONE).eval()
    backbone.trunk.load_state_dict(random_weights(chain))
    shard, scale = more.unit("train/000001"), SCALES[0]
    records = more.records(shard)
    rows = list(decode_maps(maps.read(f"s{scale:04d}f/{shard}"), shard))
    plain = list(decode_maps(maps.read(f"s{scale:04d}/{shard}"), shard))
    assert [row.key for row in rows] == [record.key for record in records]
    for row, straight, record in zip(rows, plain, records, strict=True):
        # as if the mirrored picture had been ingested; which is not the mirrored map
        pixels = np.ascontiguousarray(decode_image(record.data)[:, ::-1])
        image = prepare_image(pixels, scale, backbone.preprocessing)
        expected = InferenceBackbone(backbone)(image)[0].permute(1, 2, 0).contiguous().half().numpy()
        assert equal_bytes(row.map, expected)
        assert not np.array_equal(row.map, straight.map[:, ::-1])


def test_precision_and_type_are_part_of_the_artifact(chain) -> None:
    name = chain.step("maps").spec.artifact
    for field, value in (("dtype", "float32"), ("precision", "bfloat16"), ("max_pixels", 1000)):
        assert chain.changed(maps={field: value}).step("maps").spec.artifact != name
    for field, value in (("ahead", 9), ("device", "cpu"), ("cpus", 2)):
        assert chain.changed(maps={field: value}).step("maps").spec.artifact == name


def test_float32_maps_and_lower_precision(chain, tmp_path) -> None:
    unit = chain.unit("s0160/val/000001")
    backbone = read_backbone(chain.artifact("network"))
    (record,) = chain.records(chain.unit("val/000001"))
    full = chain.changed(maps={"dtype": "float32"}).stage("maps").run(unit)
    (row,) = decode_maps(full.data, "")
    exact = expected_map(backbone, record, 160, torch.float32)
    assert equal_bytes(row.map, exact)
    low = chain.changed(maps={"dtype": "float32", "precision": "bfloat16"}).stage("maps").run(unit)
    (row,) = decode_maps(low.data, "")
    assert not np.array_equal(row.map, exact)
    np.testing.assert_allclose(row.map, exact, atol=0.05 * exact.max())
    compact = chain.changed(maps={"dtype": "float10_e5m5"}).stage("maps").run(unit)
    (row,) = decode_maps(compact.data, "")
    assert equal_bytes(row.map, to_map_type(torch.from_numpy(exact), "float10_e5m5").numpy())
    assert len(compact.data) < len(chain.artifact("maps").read(unit))


@pytest.mark.parametrize("ahead", [1, 7])
def test_reading_ahead_changes_nothing(chain, ahead: int) -> None:
    unit = chain.unit("s0160/train/000000")
    output = chain.changed(maps={"ahead": ahead}).stage("maps").run(unit)
    assert output.data == chain.artifact("maps").read(unit)


def test_maps_that_are_not_finite_are_quarantined(chain, tmp_path) -> None:
    """Absurd weights make every map infinite: each key gets its reason, and then there are too many."""
    path = tmp_path / "absurd.safetensors"
    tensors = random_weights(chain)
    tensors["conv5.bias"][0] = 3e38
    path.write_bytes(write_safetensors(tensors))
    copy = chain.copied(tmp_path / "ws", ("images",)).only(*STEPS).changed(network={"path": str(path)})
    with pytest.raises(TooManyQuarantinedError, match=r"step maps: 38 of 40 keys quarantined \(38 nan-features"):
        copy.run()
    commit = copy.artifact("maps").commit(copy.unit("s0160/train/000001"))
    assert commit.done == 0
    entry = commit.quarantined[0]
    assert (entry.key, entry.reason, entry.stage) == ("train_00004", "nan-features", "extract")


def test_half_floats_that_overflow_are_quarantined(chain, tmp_path) -> None:
    path = tmp_path / "large.safetensors"
    tensors = random_weights(chain)
    tensors["conv5.bias"][0] = 1e5
    path.write_bytes(write_safetensors(tensors))
    copy = chain.copied(tmp_path / "ws", ("images",)).only(*STEPS)
    copy = copy.changed(network={"path": str(path)}, maps={"max_quarantined": 1, "scales": [160]})
    copy.run()
    assert {q.reason for q in copy.artifact("maps").commit(copy.unit("s0160/val/000000")).quarantined} == {
        "nan-features"
    }
    full = copy.changed(maps={"dtype": "float32"})
    assert full.run()["maps"].own_quarantined == 0


def test_an_image_that_grows_too_much_is_quarantined(chain, drawn, tmp_path) -> None:
    data = shutil.copytree(drawn, tmp_path / "data")
    add_image(data, "val", "strip", np.zeros((16, 2000, 3), np.uint8))
    steps = make_steps(data, chain.steps["network"]["path"])
    made = type(chain)(data, steps, tmp_path / "ws").only(*STEPS).changed(maps={"max_pixels": 4_000_000})
    (entry,) = made.run()["maps"].quarantined
    assert (entry.key, entry.reason) == ("strip", "too-large")
    assert entry.detail == "30000 x 240 pixels at scale 240, the limit is 4000000 pixels"
    assert made.artifact("maps").commit(made.unit("s0160/val/000001")).quarantined == ()


def test_scales_without_a_map_and_devices_without_a_gpu(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws", ("images", "network")).only(*STEPS)
    with pytest.raises(ConfigError, match="side of 1 pixels is too short for one cell"):
        copy.changed(network={"cut": None}, maps={"scales": [160, 1]}).run()
    with pytest.raises(ConfigError, match="scales"):
        copy.changed(maps={"scales": []})
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="step maps: device is cuda, but there is no GPU here"):
            copy.changed(maps={"device": "cuda"}).run()


def test_other_weights_make_other_maps(chain, tmp_path) -> None:
    other = write_weights(tmp_path / "other.safetensors", seed=2)
    copied = tmp_path / "same.safetensors"
    copied.write_bytes(Path(chain.steps["network"]["path"]).read_bytes())
    assert chain.changed(network={"path": str(other)}).step("maps").spec.artifact != chain.step("maps").spec.artifact
    assert chain.changed(network={"path": str(copied)}).step("maps").spec.artifact == chain.step("maps").spec.artifact


def test_weights_of_another_width_are_refused(chain, tmp_path) -> None:
    wide = write_weights(tmp_path / "wide.safetensors", BackboneSpec("zf5", width=0.25))
    copy = chain.copied(tmp_path / "ws", ("images",)).only(*STEPS).changed(network={"path": str(wide)})
    with pytest.raises(ConfigError, match=r"tensor 'conv1.weight' has shape \[24, 3, 7, 7\], the network needs \[16,"):
        copy.run()
    assert copy.artifact("network").committed() == set()


def test_an_image_is_decoded_once_for_all_scales(chain, tmp_path, monkeypatch) -> None:
    decoded: list[str] = []

    def counted(record):
        decoded.append(record.key)
        return decode_record(record)

    monkeypatch.setattr(extract, "decode_record", counted)
    steps = {name: chain.steps[name] for name in STEPS}
    made = Chain(chain.data, steps | {"maps": steps["maps"] | {"flips": True}}, tmp_path / "workspace")
    made.run()
    assert sorted(decoded) == sorted(set(decoded))
    unit = f"s{SCALES[0]:04d}/{made.unit('train/000000')}"
    plain = decode_maps(chain.artifact("maps").read(unit), unit)
    for row, expected in zip(decode_maps(made.artifact("maps").read(unit), unit), plain, strict=True):
        assert equal_bytes(row.map, expected.map)
    seconds = [commit.seconds for commit in made.artifact("maps").commits(sorted(made.artifact("maps").committed()))]
    assert all(second > 0 for second in seconds)


def test_what_memory_a_unit_takes_is_told(chain, tmp_path) -> None:
    (phase,) = chain.stage("maps").phases()
    (larger,) = chain.changed(maps={"scales": [160, 240, 1200]}).stage("maps").phases()
    assert 1e9 < phase.resources.memory_bytes < larger.resources.memory_bytes < 2.5e9
    unknown = chain.copied(tmp_path / "ws", ("images", "network"))
    (phase,) = unknown.stage("maps").phases()
    assert phase.resources.memory_bytes == 0


def test_a_finished_step_builds_no_backbone_again(chain, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = chain.stage("maps")
    monkeypatch.setattr("pipelines.stages.extract.read_backbone", None)
    stage.prepare()
    small = chain.changed(maps={"scales": [*SCALES, 4]}).stage("maps")
    with pytest.raises(ConfigError, match="too short for one cell"):
        small.prepare()
