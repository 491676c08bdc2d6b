"""ingest: bytes untouched, annotations checked, every key accounted for."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.datasets.voc import VOC_CATEGORIES
from pipelines.datasets.voc_xml import parse_voc_xml
from pipelines.engine.planning import plan
from pipelines.engine.recipe import load_recipe
from pipelines.engine.workspace import Workspace
from pipelines.shards.reading import read_images
from sppnet.errors import ArtifactError, ConfigError
from tests.support.chain import Chain, accounts, add_image, write_recipe


def only_ingest(data, root, **fields) -> Chain:
    return Chain(data, {"images": {"stage": "ingest", "dataset": {"root": str(data)}, "shard_size": 5, **fields}}, root)


@pytest.fixture
def copied(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "data")


def test_every_image_is_kept_byte_for_byte(chain) -> None:
    seen = []
    for unit in chain.shards():
        annotations = chain.annotations(unit)
        for record in chain.records(unit):
            assert record.data == (chain.data / "JPEGImages" / f"{record.key}.{record.extension}").read_bytes()
            xml = (chain.data / "Annotations" / f"{record.key}.xml").read_bytes()
            annotation = annotations.pop(record.key)
            assert annotation == parse_voc_xml(xml, record.key)
            assert (record.width, record.height) == (annotation.width, annotation.height)
            seen.append(record.key)
        assert annotations == {}
    assert seen == [key for unit in chain.shards() for key in chain.manifest.keys(unit) if key != "broken"]


def test_every_key_is_done_or_quarantined(chain) -> None:
    rows = list(accounts(chain, "images"))
    assert [found for _, found, _ in rows] == [wanted for _, _, wanted in rows] == [5, 5, 4, 5, 1]
    entries = [q for unit in chain.units("images") for q in chain.artifact("images").commit(unit).quarantined]
    assert [(q.key, q.reason, q.stage) for q in entries] == 2 * [("broken", "truncated", "ingest")]
    assert "cut or damaged" in entries[0].detail
    summary = chain.summaries["images"]
    assert (summary.keys, summary.done, summary.own_quarantined) == (20, 19, 1)
    assert summary.rows == 2 * 19  # images, and their annotations
    assert len(summary.quarantined) == 1


def test_objects_are_counted(chain) -> None:
    count = sum(
        (chain.data / "Annotations" / f"{record.key}.xml").read_text().count("<object>")
        for unit in chain.shards()
        for record in chain.records(unit)
    )
    assert chain.summaries["images"].metrics["objects"] == count > 0


def test_modes_and_formats_that_are_fine(copied, tmp_path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    add_image(copied, "val", "grey", pixels)
    Image.fromarray(pixels).convert("L").save(copied / "JPEGImages" / "grey.jpg")
    add_image(copied, "val", "cmyk", pixels)
    Image.fromarray(pixels).convert("CMYK").save(copied / "JPEGImages" / "cmyk.jpg")
    add_image(copied, "val", "lossless", pixels).unlink()
    Image.fromarray(pixels).save(copied / "JPEGImages" / "lossless.png")
    summary = only_ingest(copied, tmp_path / "ws").run()["images"]
    assert summary.quarantined == ()
    assert summary.done == 21


def test_the_artifact_is_that_of_the_limits_and_the_manifest_that_of_the_content(drawn, copied, tmp_path) -> None:
    def seen(data, **fields) -> tuple[str, str]:
        step = only_ingest(data, tmp_path / "ws", **fields).step("images")
        return step.spec.artifact, step.spec.manifest

    artifact, manifest = seen(drawn)
    assert seen(copied) == (artifact, manifest)
    assert seen(copied, max_quarantined=0.5) == (artifact, manifest)
    assert seen(copied, min_side=17)[0] != artifact
    assert seen(copied, shard_size=6)[0] == artifact
    assert seen(copied, shard_size=6)[1] != manifest
    first = copied / "Annotations" / "train_00000.xml"
    first.write_text(first.read_text().replace("<truncated>0", "<truncated>1", 1))
    edited = seen(copied)
    assert edited[0] == artifact
    assert edited[1] != manifest
    names = copied / "ImageSets" / "Main" / "val.txt"
    names.write_text("\n".join(reversed(names.read_text().split())))
    assert seen(copied)[1] not in (manifest, edited[1])


@pytest.mark.parametrize("changed", ["JPEGImages/train_00001.jpg", "Annotations/train_00001.xml"])
def test_a_file_that_changes_after_it_was_listed_ends_the_run(copied, tmp_path, changed: str) -> None:
    made = only_ingest(copied, tmp_path / "ws")
    path = copied / changed
    if changed.endswith("jpg"):
        Image.fromarray(np.ascontiguousarray(np.array(Image.open(path))[::-1])).save(path)
    else:
        path.write_text(path.read_text().replace("<truncated>0", "<truncated>1", 1))
    what = "train/000000" if changed.endswith("jpg") else "annotations of train/000000"
    with pytest.raises(ConfigError, match=rf"step images: {what}: files of this shard .* have changed since the run"):
        made.run()
    assert len(only_ingest(copied, tmp_path / "ws").run()["images"].quarantined) == 0


def test_a_folder_that_a_machine_lacks_is_told(copied, tmp_path) -> None:
    """The driver has seen the images; a worker elsewhere finds none of them."""
    made = only_ingest(copied, tmp_path / "ws", max_quarantined=1)
    shutil.rmtree(copied / "JPEGImages")
    with pytest.raises(ConfigError, match=r"train/000000: none of its images \(train_\d+ and others\) is there on "):
        made.run()


def test_an_unusable_annotation_leaves_its_image(copied, tmp_path) -> None:
    """It has an image, hence windows and maps, and is quarantined where labels are asked for."""
    (copied / "Annotations" / "train_00001.xml").write_text("<annotation>")
    made = only_ingest(copied, tmp_path / "ws", max_quarantined=1)
    summary = made.run()["images"]
    assert [(q.key, q.reason) for q in summary.quarantined] == [("train_00001", "bad-annotation")]
    unit = made.unit("train/000000")
    assert [record.key for record in made.records(unit)] == list(made.manifest.keys(unit))
    assert "train_00001" not in made.annotations(unit)


def test_without_annotations_only_images_count(copied, tmp_path) -> None:
    (copied / "Annotations" / "val_00001.xml").write_text("<annotation><size>")
    whole = only_ingest(copied, tmp_path / "w", max_quarantined=1)
    bare = only_ingest(copied, tmp_path / "w", annotations=False)
    assert bare.artifact("images").name == whole.artifact("images").name
    summary = bare.run()["images"]
    assert (summary.units, summary.keys, summary.done, summary.own_quarantined) == (5, 18, 18, 0)
    assert bare.artifact("images").committed() == set(bare.shards())
    assert whole.run()["images"].own_quarantined == 1


@pytest.mark.parametrize(("box", "reason"), [((30, 10, 20, 40), "bad-box"), ((10, 10, 300, 40), "box-outside-image")])
def test_bad_boxes_are_quarantined(copied, tmp_path, box, reason) -> None:
    add_image(copied, "val", "odd", np.zeros((60, 80, 3), np.uint8), [ObjectAnnotation("car", box)])
    (entry,) = only_ingest(copied, tmp_path / "ws", max_quarantined=1).run()["images"].quarantined
    assert (entry.key, entry.reason) == ("odd", reason)


def test_size_limits(copied, tmp_path) -> None:
    add_image(copied, "val", "flat", np.zeros((15, 80, 3), np.uint8))
    add_image(copied, "val", "large", np.zeros((301, 300, 3), np.uint8))
    limits = {"max_pixels": 90_000, "max_quarantined": 1}
    entries = only_ingest(copied, tmp_path / "ws", **limits).run()["images"].quarantined
    assert {(q.key, q.reason) for q in entries} == {("flat", "too-small"), ("large", "too-large")}


def test_an_annotation_of_another_size(copied, tmp_path) -> None:
    path = add_image(copied, "val", "odd", np.zeros((60, 80, 3), np.uint8))
    Image.fromarray(np.zeros((80, 60, 3), np.uint8)).save(path)
    (entry,) = only_ingest(copied, tmp_path / "ws", max_quarantined=1).run()["images"].quarantined
    assert entry.reason == "size-mismatch"
    assert "80 x 60" in entry.detail
    assert "60 x 80" in entry.detail


def test_categories_of_the_folder_of_the_config_and_of_voc(drawn, copied, tmp_path) -> None:
    dataset = {"root": str(copied), "categories": ["car", "house"]}
    made = only_ingest(copied, tmp_path / "ws", dataset=dataset, max_quarantined=1)
    entries = made.run()["images"].quarantined
    assert {q.reason for q in entries} == {"unknown-category"}
    assert made.manifest.categories == ("car", "house")
    (copied / "categories.txt").unlink()
    voc = only_ingest(copied, tmp_path / "ws", max_quarantined=1)
    voc.run()
    assert voc.manifest.categories == VOC_CATEGORIES


def test_the_same_unit_gives_the_same_bytes(chain) -> None:
    stage = chain.stage("images")
    for unit in chain.units("images"):
        assert stage.run(unit).data == chain.artifact("images").read(unit)


def test_a_root_without_lists_is_refused_when_planned(tmp_path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", {"images": {"stage": "ingest", "dataset": {"root": str(tmp_path)}}})
    with pytest.raises(ConfigError, match=r"no split 'train': .*ImageSets/Main/train.txt does not exist"):
        plan(load_recipe(recipe), Workspace.open(str(tmp_path / "ws")))


def test_a_data_set_is_chosen_by_its_kind(tmp_path) -> None:
    def refuse(dataset) -> str:
        steps = {"images": {"stage": "ingest", "dataset": dataset}}
        with pytest.raises(ConfigError) as caught:
            load_recipe(write_recipe(tmp_path / "r.yaml", steps))
        return str(caught.value)

    assert "steps.images.dataset: unknown kind 'foldres'; did you mean 'folders'?" in refuse({"kind": "foldres"})
    assert "steps.images.dataset.rot: unknown key; did you mean 'root'?" in refuse({"root": "x", "rot": "x"})
    assert "steps.images.dataset.root: is required" in refuse({"kind": "folders"})
    assert "steps.images.dataset.first_pixel: input should be 0 or 1" in refuse({"root": "x", "first_pixel": 2})


def test_the_first_pixel_is_the_configs(copied, tmp_path) -> None:
    def boxes(first_pixel: int) -> np.ndarray:
        dataset = {"kind": "voc", "root": str(copied), "splits": ["val"], "first_pixel": first_pixel}
        made = only_ingest(copied, tmp_path / "ws", dataset=dataset)
        made.run()
        found = (annotation for unit in made.shards() for annotation in made.annotations(unit).values())
        return np.array([thing.box for annotation in found for thing in annotation.objects])

    one, zero = boxes(1), boxes(0)
    assert len(one) > 0
    np.testing.assert_array_equal(zero[:, :2], one[:, :2] + 1)


def test_by_reference_nothing_is_copied_and_readers_find_the_same(chain, tmp_path) -> None:
    made = only_ingest(chain.data, tmp_path / "ws", by_reference=True, max_quarantined=0.2)
    made.run()
    images = made.artifact("images")
    assert images.name != chain.artifact("images").name
    assert made.shards() == chain.shards()
    for unit in made.shards():
        records, aside = read_images(images, unit)
        assert list(records) == chain.records(unit)
        assert [entry.key for entry in aside] == [q.key for q in chain.artifact("images").commit(unit).quarantined]
        assert images.commit(unit).size < 2000
        assert made.annotations(unit) == chain.annotations(unit)


def test_references_are_of_a_place(copied, tmp_path) -> None:
    """The same images somewhere else are other references: the first place may be gone by then."""
    elsewhere = shutil.copytree(copied, tmp_path / "elsewhere")
    names = {
        only_ingest(data, tmp_path / "ws", by_reference=True).artifact("images").name for data in (copied, elsewhere)
    }
    assert len(names) == 2


def test_an_image_that_has_changed_since_is_told(copied, tmp_path) -> None:
    made = only_ingest(copied, tmp_path / "ws", by_reference=True, max_quarantined=0.2)
    made.run()
    unit = made.unit("val/000000")
    first, second = made.manifest.keys(unit)[:2]
    path = copied / "JPEGImages" / f"{second}.jpg"
    shutil.copy(copied / "JPEGImages" / f"{first}.jpg", path)
    with pytest.raises(ArtifactError, match=f"image {second} has changed since it was ingested; run again"):
        list(read_images(made.artifact("images"), unit)[0])
    path.unlink()
    with pytest.raises(ArtifactError, match=f"image {second} can't be read any more .missing-image"):
        list(read_images(made.artifact("images"), unit)[0])
