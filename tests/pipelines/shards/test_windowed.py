"""Images, windows and maps side by side: aligned, complete, with everybody's quarantine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.artifacts.windows_and_maps import decode_maps, decode_windows, encode_maps, encode_windows
from pipelines.engine.commits import Commit, Output, Quarantined
from pipelines.engine.workspace import Artifact
from pipelines.shards.reading import map_unit
from pipelines.shards.windowed import ShardInputs, labelled
from sppnet.errors import ArtifactError
from tests.support.chain import SCALES, equal_bytes

TITLES = ("train/000000", "train/000001", "train/000002", "val/000000", "val/000001")


@pytest.fixture(scope="module")
def unit(chain) -> str:
    return chain.unit("train/000001")


def inputs(chain, scales=SCALES, **others: Artifact) -> ShardInputs:
    parts = {name: others.get(name, chain.artifact(name)) for name in ("images", "windows", "maps")}
    return ShardInputs(**parts, scales=scales)


def republish(tmp_path, source: Artifact, changed: dict[str, tuple[bytes, Commit]]) -> Artifact:
    """An artifact like another one, with other data for some units."""
    from pipelines.engine.workspace import Workspace

    copy = Workspace.open(str(tmp_path)).artifact(source.name)
    for unit in source.committed():
        commit = source.commit(unit)
        data, commit = changed.get(unit, (source.read_commit(commit), commit))
        copy.publish(unit, Output(data, ".parquet", commit.rows, commit.done, commit.quarantined), 0)
    return copy


@pytest.mark.parametrize("title", TITLES)
def test_every_part_belongs_to_its_image(chain, title: str) -> None:
    unit = chain.unit(title)
    images, aside = inputs(chain).open(unit)
    found = list(images)
    windows = {row.key: row for row in decode_windows(chain.artifact("windows").read(unit), "")}
    maps = {
        scale: {row.key: row for row in decode_maps(chain.artifact("maps").read(map_unit(scale, unit)), "")}
        for scale in SCALES
    }
    for image in found:
        assert equal_bytes(image.windows, windows[image.key].windows)
        assert image.image_wh == (windows[image.key].width, windows[image.key].height)
        for scale in SCALES:
            assert equal_bytes(image.maps[scale], maps[scale][image.key].map)
    keys = chain.manifest.keys(unit)
    assert sorted([image.key for image in found] + [entry.key for entry in aside]) == sorted(keys)
    assert [image.key for image in found] == [key for key in keys if key in {image.key for image in found}]


def test_the_quarantine_of_every_stage_is_carried_along(chain) -> None:
    asides = [entry for unit in chain.shards() for entry in inputs(chain).open(unit)[1]]
    assert {(entry.key, entry.reason, entry.stage) for entry in asides} == {
        ("broken", "truncated", "ingest"),
        ("thin", "no-windows", "propose"),
    }
    assert len(asides) == 2


def test_an_image_with_a_map_but_without_windows_shifts_nothing(chain, unit) -> None:
    """`thin` has maps and no windows; the images after it must still get their own maps."""
    rows = decode_maps(chain.artifact("maps").read(map_unit(160, unit)), "")
    assert "thin" in [row.key for row in rows]
    images, _ = inputs(chain).open(unit)
    assert "thin" not in [image.key for image in images]


def test_a_key_quarantined_at_one_scale_only(chain, unit, tmp_path) -> None:
    name = map_unit(160, unit)
    source = chain.artifact("maps")
    rows = list(decode_maps(source.read(name), ""))
    gone = rows[0].key
    commit = source.commit(name)
    entry = Quarantined(gone, "nan-features", "made up", "extract")
    without = replace(commit, done=commit.done - 1, quarantined=(*commit.quarantined, entry))
    maps = republish(tmp_path, source, {name: (encode_maps([r for r in rows if r.key != gone]), without)})
    images, aside = inputs(chain, maps=maps).open(unit)
    found = {image.key: image for image in images}
    assert gone not in found
    assert entry in aside
    for row in rows:
        if row.key in found:
            assert equal_bytes(found[row.key].maps[160], row.map)


def test_maps_in_another_order_are_refused(chain, unit, tmp_path) -> None:
    name = map_unit(240, unit)
    source = chain.artifact("maps")
    rows = list(decode_maps(source.read(name), ""))[::-1]
    maps = republish(tmp_path, source, {name: (encode_maps(rows), source.commit(name))})
    images, _ = inputs(chain, maps=maps).open(unit)
    with pytest.raises(ArtifactError, match=rf"s0240/{unit}: has .* where the map of .* belongs"):
        list(images)


def test_a_missing_map_is_told(chain, unit, tmp_path) -> None:
    name = map_unit(240, unit)
    source = chain.artifact("maps")
    rows = list(decode_maps(source.read(name), ""))[:-1]
    maps = republish(tmp_path, source, {name: (encode_maps(rows), source.commit(name))})
    images, _ = inputs(chain, maps=maps).open(unit)
    with pytest.raises(ArtifactError, match=rf"s0240/{unit}: ends where the map of"):
        list(images)


def test_missing_windows_are_told(chain, unit, tmp_path) -> None:
    source = chain.artifact("windows")
    rows = decode_windows(source.read(unit), "")
    windows = republish(tmp_path, source, {unit: (encode_windows(rows[1:]), source.commit(unit))})
    images, _ = inputs(chain, windows=windows).open(unit)
    with pytest.raises(ArtifactError, match=f"has {rows[0].key} at scale 160 where the map of {rows[1].key} belongs"):
        list(images)


def test_a_scale_that_is_not_there(chain, unit) -> None:
    with pytest.raises(ArtifactError, match=rf"_commits/s0999/{unit}.json does not exist"):
        inputs(chain, scales=(160, 999)).open(unit)


def test_maps_are_read_only(chain, unit) -> None:
    image = next(inputs(chain).open(unit)[0])
    with pytest.raises(ValueError, match="read-only"):
        image.maps[160][0, 0, 0] = 1
    assert np.isfinite(image.maps[160]).all()


def test_images_get_their_annotations(chain, unit) -> None:
    notes = chain.annotations(unit)
    found = list(labelled(inputs(chain).open(unit)[0], notes))
    plain = list(inputs(chain).open(unit)[0])
    assert [image.key for image in found] == [image.key for image in plain]
    for image, other in zip(found, plain, strict=True):
        assert image.annotation is notes[image.key]
        assert image.image_wh == other.image_wh == (image.annotation.width, image.annotation.height)
        assert equal_bytes(image.windows, other.windows)
        assert equal_bytes(image.maps[160], other.maps[160])


def test_an_image_whose_annotation_was_set_aside_is_left_out(chain, unit) -> None:
    notes = chain.annotations(unit)
    first, *rest = [image.key for image in inputs(chain).open(unit)[0]]
    del notes[first]
    aside = (Quarantined(first, "bad-box", "made up", "ingest"),)
    assert [image.key for image in labelled(inputs(chain).open(unit)[0], notes, aside)] == rest
    with pytest.raises(ArtifactError, match=f"image {first} has windows and no annotation; run ingest"):
        list(labelled(inputs(chain).open(unit)[0], notes))
