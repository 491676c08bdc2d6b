"""evaluate-classes: figures by hand for scores by hand; what is left out is counted; what does not fit is told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.artifacts.class_metrics import UNIT
from pipelines.artifacts.networks import encode_network
from pipelines.artifacts.scores import ScoresRow, encode_scores
from pipelines.engine.commits import Output
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Workspace
from pipelines.shards.writing import AnnotatedImage, write_shard
from pipelines.stages.evaluate_classes import EvaluateClassesConfig, classes_of
from sppnet.errors import ArtifactError, ConfigError
from sppnet.evaluation.classification import judge
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.network import FcHead
from sppnet.pooling.pyramid import Pyramid
from tests.support.chain import Chain, write_weights
from tests.support.tiny_workspace import plain_manifest, read_manifest

LABELS = ("ant", "bee", "cat", "dog", "elk", "fox")
CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox", "ant", "bee")  # of im0 .. im7
KEYS = tuple(f"im{number}" for number in range(len(CLASSES)))
BOX = (0.0, 0.0, 4.0, 4.0)

Objects = Sequence[tuple[str, str | None]]


def make_images(workspace: Workspace, objects: Mapping[str, Objects]) -> None:
    def image(key: str) -> AnnotatedImage:
        things = tuple(ObjectAnnotation(category, BOX, subcategory=finer) for category, finer in objects[key])
        return AnnotatedImage("png", b"-", ImageAnnotation(key, 8, 8, things))

    manifest = plain_manifest({"val": list(objects)}, LABELS, 3)
    manifest.write(workspace.store)
    for shard in manifest.shards("val"):
        write_shard(workspace.artifact("images-x"), shard, [image(key) for key in shard.keys])


def make_scores(
    workspace: Workspace,
    step: str,
    scores: Mapping[str, np.ndarray],
    views: Sequence[str] = ("full",),
    labels: Sequence[str] = LABELS,
) -> None:
    """Writes `scores-<step>`: the same scores for every view set; keys without any are missing, as if quarantined."""
    artifact = workspace.artifact(f"scores-{step}")
    body = {"output": "scores", "labels": list(labels), "dimension": len(labels), "views": [{"name": v} for v in views]}
    workspace.store.put(f"scores-{step}/output.json", json.dumps(body).encode())
    manifest = read_manifest(workspace)
    for unit in manifest.units("val"):
        rows = [
            ScoresRow(key, name, scores[key].astype(np.float32))
            for key in manifest.keys(unit)
            if key in scores
            for name in views
        ]
        artifact.publish(unit, Output(encode_scores(rows), ".parquet", len(rows), len(rows)), 0)


def random_scores(seed: int, classes: int = len(LABELS)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {key: rng.dirichlet(np.ones(classes)) for key in KEYS}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.open(str(tmp_path))
    make_images(made, {key: [(name, None)] for key, name in zip(KEYS, CLASSES, strict=True)})
    return made


def evaluate(workspace: Workspace, *steps: str, **fields: Any) -> dict[str, Any]:
    config = EvaluateClassesConfig(stage="evaluate-classes", images="images", scores=steps, **fields)
    inputs = (("images", ("images-x",)), ("scores", tuple(f"scores-{step}" for step in steps)))
    manifest = read_manifest(workspace).digest
    spec = StageSpec(workspace.store.uri, "top", "class-metrics-x", config.model_dump_json(), inputs, 0, manifest)
    output = build_stage(spec).run(UNIT)
    body = json.loads(output.data)
    assert output.rows == len(body["rows"])
    return body


def expected(scores: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
    stacked = np.array([scores[key].astype(np.float32) for key in KEYS])
    return judge(stacked, [LABELS.index(name) for name in CLASSES], LABELS)


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: figure["mean"] for name, figure in row["figures"].items()}


def test_one_network(workspace: Workspace) -> None:
    scores = random_scores(0)
    make_scores(workspace, "a", scores, ("full", "maps10"))
    body = evaluate(workspace, "a")
    assert body["images"] == {"total": 8, "several_classes": 0, "no_class": 0}
    assert [(row["name"], row["views"], row["kind"]) for row in body["rows"]] == [
        ("a", "full", "network"),
        ("a", "maps10", "network"),
    ]
    result = expected(scores)
    for row in body["rows"]:
        assert figures(row) == {name: pytest.approx(value, abs=1e-6) for name, value in result.figures.items()}
        assert all(figure["deviation"] is None for figure in row["figures"].values())
        assert row["images"] == 8
        assert row["classes"] == {name: pytest.approx(v) for name, v in result.accuracies.items()}
        confusion = np.zeros((6, 6), int)
        for truth, taken, count in row["confusion"]:
            confusion[truth, taken] = count
        np.testing.assert_array_equal(confusion, result.confusion)
        assert row["labels"] == list(LABELS)
        assert all(count > 0 for _, _, count in row["confusion"])


def test_an_ensemble_averages_scores(workspace: Workspace) -> None:
    one, two = random_scores(1), random_scores(2)
    make_scores(workspace, "a", one, ("full", "crop"))
    make_scores(workspace, "b", two, ("crop", "full"))
    body = evaluate(workspace, "a", "b", ensembles={"both": ("a", "b")})
    rows = {(row["name"], row["views"]): row for row in body["rows"]}
    assert list(rows)[4:] == [("both", "full"), ("both", "crop")]
    mean = {key: (one[key].astype(np.float32).astype(float) + two[key].astype(np.float32)) / 2 for key in KEYS}
    row = rows["both", "crop"]
    assert (row["kind"], row["members"]) == ("ensemble", ["a", "b"])
    stacked = np.array([mean[key] for key in KEYS])
    result = judge(stacked, [LABELS.index(name) for name in CLASSES], LABELS)
    assert figures(row) == {name: pytest.approx(value, abs=1e-6) for name, value in result.figures.items()}


def test_a_group_gives_mean_and_deviation(workspace: Workspace) -> None:
    found = {step: random_scores(seed) for seed, step in enumerate(("a", "b", "c"))}
    for step, scores in found.items():
        make_scores(workspace, step, scores, ("full", "crop") if step == "a" else ("full",))
    body = evaluate(workspace, *found, ensembles={"ab": ("a", "b")}, groups={"seeds": ("a", "b", "c"), "m": ("ab",)})
    group, single = body["rows"][-2:]
    errors = [expected(scores).top1_error for scores in found.values()]
    assert (group["name"], group["views"], group["kind"], group["images"]) == ("seeds", "full", "group", 8)
    assert group["figures"]["top1_error"] == {
        "mean": pytest.approx(np.mean(errors), abs=1e-6),
        "deviation": pytest.approx(np.std(errors, ddof=1), abs=1e-6),
    }
    assert sum(count for *_, count in group["confusion"]) == 24
    accuracy = [expected(scores).accuracies["ant"] for scores in found.values()]
    assert group["classes"]["ant"] == pytest.approx(np.mean(accuracy), abs=1e-6)
    (ensemble,) = [row for row in body["rows"] if row["name"] == "ab"]
    assert figures(single) == figures(ensemble)
    assert single["figures"]["top1_error"]["deviation"] is None


def test_images_left_out_are_counted(tmp_path: Path) -> None:
    workspace = Workspace.open(str(tmp_path))
    objects: dict[str, Objects] = {key: [(name, None)] for key, name in zip(KEYS, CLASSES, strict=True)}
    objects |= {"two": [("ant", None), ("bee", None)], "none": [], "same": [("fox", None), ("fox", None)]}
    make_images(workspace, objects)
    scores = random_scores(3) | {key: np.full(6, 1 / 6) for key in ("two", "none", "same")}
    del scores["im4"]
    make_scores(workspace, "a", scores)
    body = evaluate(workspace, "a")
    assert body["images"] == {"total": 11, "several_classes": 1, "no_class": 1}
    (row,) = body["rows"]
    assert row["images"] == 8  # nine with a class, one of them quarantined
    assert row["left_out"] == {"quarantined": 1, "unknown_class": 0}
    assert row["classes"]["elk"] is None


def test_a_class_that_a_network_does_not_know(workspace: Workspace) -> None:
    scores = {key: values[:5] for key, values in random_scores(0).items()}
    make_scores(workspace, "five", scores, labels=LABELS[:5])
    with pytest.raises(
        ConfigError, match=r"step top: image im5 is of class 'fox', which 'five' does not tell apart \(5 classes\)"
    ):
        evaluate(workspace, "five")
    (row,) = evaluate(workspace, "five", unknown="skip")["rows"]
    assert row["left_out"] == {"quarantined": 0, "unknown_class": 1}
    assert row["images"] == 7
    assert "top5_error" not in row["figures"]  # five of five is always right


def test_subcategories_or_categories(tmp_path: Path) -> None:
    workspace = Workspace.open(str(tmp_path))
    make_images(workspace, {"im0": [("ant", "bee")], "im1": [("ant", "cat"), ("ant", "bee")], "im2": [("dog", None)]})
    make_scores(workspace, "a", {key: np.eye(6)[0] for key in ("im0", "im1", "im2")})
    finer = evaluate(workspace, "a")
    assert (finer["rows"][0]["images"], finer["images"]["several_classes"]) == (2, 1)
    assert finer["rows"][0]["classes"]["bee"] == 0
    coarse = evaluate(workspace, "a", truth="category")
    assert (coarse["rows"][0]["images"], coarse["images"]["several_classes"]) == (3, 0)
    assert coarse["rows"][0]["classes"] == {"ant": 1, "bee": None, "cat": None, "dog": 0, "elk": None, "fox": None}


def test_classes_of_an_image() -> None:
    things = (ObjectAnnotation("ant", BOX, "red"), ObjectAnnotation("ant", BOX, "blue"), ObjectAnnotation("bee", BOX))
    annotation = ImageAnnotation("k", 8, 8, things)
    assert classes_of(annotation, "subcategory") == ["bee", "blue", "red"]
    assert classes_of(annotation, "category") == ["ant", "bee"]


def test_networks_with_other_labels_do_not_mix(workspace: Workspace) -> None:
    make_scores(workspace, "a", random_scores(0))
    make_scores(workspace, "b", random_scores(1), labels=LABELS[::-1])
    assert len(evaluate(workspace, "a", "b")["rows"]) == 2
    for field in ("ensembles", "groups"):
        with pytest.raises(ConfigError, match=f"{field}.x: class 0 is 'ant' for a and 'fox' for b: they don't compare"):
            evaluate(workspace, "a", "b", **{field: {"x": ("a", "b")}})


def test_scores_of_another_length_are_told(workspace: Workspace) -> None:
    make_scores(workspace, "a", random_scores(0, classes=4))
    with pytest.raises(ArtifactError, match=r"scores-a/val/000000: im0 has 4 scores"):
        evaluate(workspace, "a")


def test_class_folders_through_the_engine(tmp_path: Path) -> None:
    """Ingest, a network, classify and evaluate by one recipe; the report of each row adds up to its images."""
    for number in range(12):
        path = tmp_path / "data" / "val" / LABELS[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (70 + number, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    spec = BackboneSpec("zf5", width=1 / 32)
    read = {"stage": "classify", "images": "images", "network": "network", "size": 64}
    steps = {
        "images": {
            "stage": "ingest",
            "dataset": {"kind": "folders", "root": str(tmp_path / "data"), "splits": ["val"]},
        },
        "network": {
            "stage": "weights",
            "path": str(write_weights(tmp_path / "w.safetensors", spec)),
            "architecture": "zf5",
            "width": spec.width,
        },
        "one": {**read, "views": ["crop", "maps10"]},
        "two": {**read, "views": ["maps10"], "precision": "bfloat16"},
        "top": {
            "stage": "evaluate-classes",
            "images": "images",
            "scores": ["one", "two"],
            "ensembles": {"both": ["one", "two"]},
            "groups": {"pair": ["one", "two"]},
        },
    }
    made = Chain(tmp_path / "data", steps, tmp_path / "workspace")
    backbone = build_backbone(spec).eval()
    head = FcHead(5 * backbone.channels, (6, 5), 3).eval()
    data = encode_network(backbone, head, Pyramid((2, 1)), LABELS[:3], [], sizes=(64,))
    made.artifact("network").publish("model", Output(data, ".safetensors", 1, 0), 0)
    summaries = made.run()
    assert (summaries["one"].keys, summaries["one"].done, summaries["one"].rows) == (12, 12, 24)
    body = json.loads(made.artifact("top").read(UNIT))
    assert [(row["name"], row["views"]) for row in body["rows"]] == [
        ("one", "crop"), ("one", "maps10"), ("two", "maps10"), ("both", "maps10"), ("pair", "maps10")
    ]  # fmt: skip
    for row in body["rows"]:
        assert row["images"] == 12
        assert sum(count for *_, count in row["confusion"]) == (24 if row["kind"] == "group" else 12)
        assert sum(row["classes"].values()) / 3 == pytest.approx(row["figures"]["mean_accuracy"]["mean"], abs=1e-5)


def recipe_with(scores: Mapping[str, Any] | None = None, **fields: Any):
    read = {"stage": "classify", "images": "images", "network": "network"}
    steps = {
        "images": {"stage": "ingest", "dataset": {"kind": "voc", "root": "x"}},
        "more": {"stage": "ingest", "dataset": {"kind": "voc", "root": "y"}},
        "network": {"stage": "weights", "path": "x", "architecture": "zf5"},
        "a": {**read, "views": ["full", "crop"], **(scores or {})},
        "b": {**read, "views": ["maps10"]},
        "top": {"stage": "evaluate-classes", "images": "images", "scores": ["a", "b"], **fields},
    }
    return parse_recipe({"version": 1, "name": "r", "steps": steps}, "r")


@pytest.mark.parametrize(
    ("scores", "fields", "message"),
    [
        ({}, {"split": "train"}, "split: split train is not among those of its input: val"),
        ({}, {"images": "more"}, "scores: 'a' is made from the images of step 'images', not from those of 'more'"),
        ({"output": "fc7"}, {}, "scores: 'a' holds features of fc7; classify with output: scores"),
        ({}, {"ensembles": {"a": ["b"]}}, "scores: 'a' names more than one row"),
        ({}, {"ensembles": {"e": ["a", "c"]}}, "ensembles.e: step c is not among those of its input: a, b"),
        ({}, {"ensembles": {"e": ["a", "b"]}}, "ensembles.e: no view set is in all of a, b"),
        ({}, {"groups": {"g": ["e"]}}, "groups.g: row e is not among those of its input: a, b"),
        ({}, {"ensembles": {"e": ["a"]}, "groups": {"e": ["a"]}}, "scores: 'e' names more than one row"),
        ({}, {"groups": {"g": []}}, "groups.g: tuple should have at least 1 item"),
        ({}, {"unknown": "ignore"}, "unknown: input should be 'error' or 'skip'"),
    ],
)
def test_configs_that_can_not_be(scores: dict, fields: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_with(scores, **fields)


def test_comparisons_are_of_the_rows(workspace: Workspace) -> None:
    found = {step: random_scores(seed) for seed, step in enumerate(("a", "b", "c", "d"))}
    for step, scores in found.items():
        make_scores(workspace, step, scores)
    body = evaluate(
        workspace,
        *found,
        groups={"ab": ("a", "b"), "cd": ("c", "d")},
        ensembles={"both": ("a", "b")},
        comparisons={"seeds": {"row": "ab", "over": "cd"}, "mean": {"row": "both", "over": "ab"}},
    )
    errors = {row["name"]: row["figures"]["top1_error"]["mean"] for row in body["rows"]}
    seeds, mean = body["comparisons"]
    assert seeds["by_pair"] == pytest.approx([errors["a"] - errors["c"], errors["b"] - errors["d"]], abs=1e-6)
    assert mean["by_pair"] == pytest.approx([errors["both"] - errors["a"], errors["both"] - errors["b"]], abs=1e-6)
    assert (seeds["images"], seeds["over"]) == (8, "cd")
