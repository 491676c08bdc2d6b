"""transfer: its rows are what the protocols' functions give for the features and annotations in the workspace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.class_metrics import UNIT
from pipelines.artifacts.scores import decode_scores
from sppnet.errors import ArtifactError, ConfigError, SppError
from sppnet.evaluation.transfer import (
    SvmSettings,
    draw_split,
    judge_split,
    l2_normalise,
    one_vs_rest_scores,
    presence,
    voc07_class_ap,
)
from sppnet.seeds import derive_seed
from tests.support.chain import CATEGORIES, Chain, accounts

VOC = {"kind": "voc07", "train": ["train"], "test": "val", "categories": list(CATEGORIES)}
CLASSES = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200), "grey": (120, 120, 120)}
SIZES = {"red": 9, "green": 7, "blue": 12, "grey": 8}


def features(**fields) -> dict:
    step = {"stage": "classify", "images": "images", "network": "network", "output": "pool5"}
    return {**step, "size": 96, "scale": 110, **fields}


def vectors(chain: Chain, step: str, views: str) -> dict[str, np.ndarray]:
    artifact = chain.artifact(step)
    rows = [row for shard in chain.shards() for row in decode_scores(artifact.read(shard), shard) if row.views == views]
    return {row.key: row.values for row in rows}


def annotations(chain: Chain, split: str) -> list[ImageAnnotation]:
    return [annotation for unit in chain.shards(split) for annotation in chain.annotations(unit).values()]


def label_of(annotation: ImageAnnotation, category: str) -> int:
    objects = annotation.objects
    return presence([thing.category for thing in objects], [thing.difficult for thing in objects], category)


def body(chain: Chain) -> dict:
    return json.loads(chain.artifact("transfer").read(UNIT))


@pytest.fixture(scope="module")
def voc(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    root = tmp_path_factory.mktemp("voc") / "ws"
    chain.copied(root, ("images", "network"))
    steps = {name: chain.steps[name] for name in ("images", "network")}
    steps["pool5"] = features(splits=["train", "val"], views=["crop", "full"])
    steps["small"] = features(splits=["train", "val"], views=["full"], scale=96)
    steps["transfer"] = {"stage": "transfer", "images": "images", "features": ["pool5", "small"], "protocol": VOC}
    made = Chain(chain.data, steps, root, chain.seed)
    made.run()
    return made


@pytest.fixture(scope="module")
def caltech(weights_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("caltech")
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        (folder / "data" / name).mkdir(parents=True)
        for i in range(size):
            noise = rng.integers(-39, 40, (96, 100, 3))
            Image.fromarray((noise + CLASSES[name]).astype(np.uint8)).save(
                folder / "data" / name / f"image_{i:04d}.png"
            )
    dataset = {"kind": "folders", "root": str(folder / "data"), "flat": True, "splits": ["all"]}
    protocol = {"kind": "caltech101", "train_per_class": 4, "test_per_class": 5, "repeats": 3}
    steps = {
        "images": {"stage": "ingest", "dataset": dataset, "shard_size": 10},
        "network": {"stage": "weights", "path": str(weights_file), "architecture": "zf5", "width": 0.125},
        "pool5": features(splits=["all"], views=["full"]),
        "transfer": {"stage": "transfer", "images": "images", "features": ["pool5"], "protocol": protocol},
    }
    made = Chain(folder / "data", steps, folder / "ws")
    made.run()
    return made


@pytest.mark.parametrize(("step", "views"), [("pool5", "crop"), ("pool5", "full"), ("small", "full")])
def test_voc07_rows_are_the_protocols(voc: Chain, step: str, views: str):
    (row,) = [row for row in body(voc)["rows"] if (row["name"], row["views"]) == (step, views)]
    values = vectors(voc, step, views)
    train, test = annotations(voc, "train"), annotations(voc, "val")
    matrix = [l2_normalise(np.stack([values[r.key] for r in part if r.key in values])) for part in (train, test)]
    assert row["images"] == len(test) == len(matrix[1])
    for category in CATEGORIES:
        labels = [[label_of(annotation, category) for annotation in part] for part in (train, test)]
        settings = SvmSettings(seed=derive_seed(0, "transfer", category))
        scores = one_vs_rest_scores(matrix[0], labels[0], matrix[1], settings)
        assert row["classes"][category] == pytest.approx(voc07_class_ap(scores, labels[1]).voc07_ap, abs=1e-6)
    known = [value for value in row["classes"].values() if value is not None]
    assert row["figures"] == {"voc07_map": {"mean": pytest.approx(np.mean(known), abs=1e-6), "deviation": None}}


def test_rows_are_by_step_and_views(voc: Chain):
    rows = body(voc)["rows"]
    assert [(row["name"], row["views"]) for row in rows] == [("pool5", "crop"), ("pool5", "full"), ("small", "full")]
    assert all((row["kind"], row["members"]) == ("features", []) for row in rows)
    assert (body(voc)["split"], body(voc)["protocol"]) == ("val", "voc07")


def test_every_key_is_done_or_quarantined(voc: Chain):
    found = list(accounts(voc, "transfer"))
    assert [accounted for _, accounted, _ in found] == [wanted for *_, wanted in found]
    assert {unit for unit, *_ in found} == {f"gather/{shard}" for shard in voc.shards()}
    summary = voc.summaries["transfer"]
    assert [entry.key for entry in summary.quarantined] == ["broken"]
    assert (summary.own_quarantined, summary.keys) == (0, 20)
    assert summary.units == len(voc.shards()) + 3 * len(CATEGORIES) + 1


def test_caltech101s_row_is_the_mean_over_seeded_splits(caltech: Chain):
    (row,) = body(caltech)["rows"]
    values = vectors(caltech, "pool5", "full")
    found = {note.key: note.objects[0].category for note in annotations(caltech, "all")}
    keys, labels = list(found), list(found.values())
    matrix = l2_normalise(np.stack([values[key] for key in keys]))
    results = []
    for part in ("000", "001", "002"):
        seed = derive_seed(0, "transfer", part)
        results.append(judge_split(matrix, labels, draw_split(keys, labels, 4, 5, seed), SvmSettings(seed=seed)))
    assert results[0].images == row["images"] == 5 + 3 + 5 + 4
    means = [result.mean_accuracy for result in results]
    assert row["figures"]["mean_accuracy"]["mean"] == pytest.approx(np.mean(means), abs=1e-6)
    assert row["figures"]["mean_accuracy"]["deviation"] == pytest.approx(np.std(means, ddof=1), abs=1e-6)
    assert row["members"] == ["000", "001", "002"]
    assert row["labels"] == sorted(CLASSES) == list(row["classes"])
    summed = sum(result.confusion for result in results)
    assert row["confusion"] == [[i, j, int(summed[i, j])] for i, j in np.argwhere(summed).tolist()]
    assert row["figures"]["mean_accuracy"]["mean"] > 0.9  # plain colours can be told apart


def test_excluded_classes_are_neither_trained_nor_tested_on(caltech: Chain):
    protocol = {**caltech.steps["transfer"]["protocol"], "exclude": ["grey"], "repeats": 1}
    made = caltech.changed(transfer={"protocol": protocol})
    made.run()
    (row,) = body(made)["rows"]
    assert row["labels"] == ["blue", "green", "red"]
    assert row["figures"]["mean_accuracy"]["deviation"] is None


def test_a_class_without_test_images_is_named(caltech: Chain):
    protocol = {**caltech.steps["transfer"]["protocol"], "train_per_class": 7}
    made = caltech.changed(transfer={"protocol": protocol})
    with pytest.raises(SppError, match=r"class 'green' has 7 images: 7 to train on leave none to test on"):
        made.run()


def test_images_of_two_classes_are_set_aside_by_caltech101(voc: Chain):
    protocol = {"kind": "caltech101", "split": "val", "train_per_class": 1, "repeats": 1}
    stage = voc.changed(transfer={"protocol": protocol}).stage("transfer")
    shard = voc.unit("val/000000")
    output = stage.run(f"gather/{shard}")
    notes = voc.annotations(shard).values()
    several = [note.key for note in notes if len({thing.category for thing in note.objects}) != 1]
    assert several
    assert [(entry.key, entry.reason) for entry in output.quarantined] == [(key, "not-one-class") for key in several]


def test_a_category_that_no_training_image_shows_is_named(voc: Chain):
    stage = voc.stage("transfer")
    stage._images = tuple(
        type(i)(i.key, i.split, tuple("car" for _ in i.categories), i.difficult) for i in stage._images
    )
    with pytest.raises(ConfigError, match=r"transfer: pool5/crop, house: no image of train shows it; leave it out"):
        stage.run("fit/pool5/crop/house")


def test_wrong_configs(voc: Chain, caltech: Chain):
    with pytest.raises(ConfigError, match=r"protocol: split test is not among those of its input: train, val"):
        voc.changed(transfer={"protocol": {"kind": "voc07", "train": ["train"], "test": "test"}})
    with pytest.raises(ConfigError, match=r"split val is both trained and tested on"):
        voc.changed(transfer={"protocol": {**VOC, "train": ["train", "val"]}})
    with pytest.raises(ConfigError, match=r"a step is named twice: pool5, pool5"):
        voc.changed(transfer={"features": ["pool5", "pool5"]})
    with pytest.raises(ConfigError, match=r"'small' makes class scores; set its output to"):
        voc.changed(small={"output": "scores"})
    with pytest.raises(ConfigError, match=r"step transfer: protocol: the images have no 'cow'"):
        caltech.changed(transfer={"protocol": {**caltech.steps["transfer"]["protocol"], "exclude": ["cow"]}})
    with pytest.raises(ConfigError, match=r"protocol"):
        voc.changed(transfer={"protocol": {**VOC, "repeats": 3}})


def test_a_missing_feature_is_told(voc: Chain):
    stage = voc.stage("transfer")
    image = stage._images[0]
    stage._images = (*stage._images, type(image)("ghost", "val", image.categories, image.difficult))
    with pytest.raises(ArtifactError, match="image ghost has neither features nor a reason"):
        stage.run("fit/small/full/car")
