"""evaluate: the published figures are `evaluate_voc`'s, called directly on what the files hold."""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from jobs.exports.detections import export_detections, export_options
from jobs.run.results import RunResult
from pipelines.artifacts.annotations import encode_annotations
from pipelines.artifacts.detections import DetectionRow, decode_detections
from pipelines.artifacts.metrics import CURVE_POINTS, curve_points
from pipelines.datasets.voc_xml import parse_voc_xml
from pipelines.detecting.ground_truth import read_truth
from pipelines.engine.commits import Output, Quarantined
from pipelines.engine.workspace import Artifact
from sppnet.boxes import nms
from sppnet.errors import ArtifactError, ConfigError
from sppnet.evaluation.coco import FIGURES
from sppnet.evaluation.curves import Detections, GroundTruth
from sppnet.evaluation.det import evaluate_det
from sppnet.evaluation.voc import evaluate_voc
from tests.support.chain import CATEGORIES, VAL
from tests.support.stored_rows import encode_detections


def body(chain) -> dict:
    return json.loads(chain.artifact("metrics").read("metrics"))


def republish(artifact: Artifact, unit: str, data: bytes, suffix: str, aside: tuple[Quarantined, ...] = ()) -> None:
    """Puts other data in place of a unit's, with keys set aside."""
    keys = artifact.commit(unit).keys
    artifact.store.delete(f"{artifact.name}/_commits/{unit}.json")
    artifact.publish(unit, Output(data, suffix, keys - len(aside), keys - len(aside), aside), 0)


def ground_truth(chain, category: str, without: str = "") -> GroundTruth:
    """Read from the data set's own files, one image left out if it is named."""
    rows = []
    for key in (chain.data / "ImageSets" / "Main" / "val.txt").read_text().split():
        if key == without:
            continue
        note = parse_voc_xml((chain.data / "Annotations" / f"{key}.xml").read_bytes(), key)
        rows += [(key, thing.box, thing.difficult) for thing in note.objects if thing.category == category]
    return GroundTruth.of([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


def detected(chain, step: str, category: str) -> list[DetectionRow]:
    artifact = chain.artifact(step)
    rows = (row for unit in chain.shards("val") for row in decode_detections(artifact.read(unit), unit))
    return [row for row in rows if row.category == category]


def expected(chain, name: str, category: str, iou: float = 0.5):
    rows = detected(chain, name.removesuffix("+bb"), category)
    if name.endswith("+bb"):
        kept = []
        for key in sorted({row.key for row in rows}):
            own = [row for row in rows if row.key == key]
            chosen = nms([row.regressed for row in own], [row.score for row in own], 0.3)
            kept += [(key, own[i].regressed, own[i].score) for i in sorted(chosen)]
    else:
        kept = [(row.key, row.box, row.score) for row in rows]
    found = Detections.of([k for k, _, _ in kept], [b for _, b, _ in kept], [s for *_, s in kept])
    return evaluate_voc(ground_truth(chain, category), found, iou)


@pytest.mark.parametrize("name", ["plain", "full", "full+bb"])
def test_figures_are_those_of_evaluate_voc(chain, name: str) -> None:
    (row,) = [row for row in body(chain)["rows"] if row["name"] == name]
    assert list(row["categories"]) == sorted(CATEGORIES)
    for category, figures in row["categories"].items():
        result = expected(chain, name, category)
        assert figures["voc07_ap"] == pytest.approx(result.voc07_ap, abs=1e-6)
        assert figures["area_ap"] == pytest.approx(result.area_ap, abs=1e-6)
        counted = (figures["positives"], figures["detections"], figures["true_positives"])
        assert counted == (result.positives, result.detections, result.true_positives)
        assert figures["positives"] > 0
        rises = np.flatnonzero(np.diff(result.recall, prepend=0.0) > 0)  # far fewer than CURVE_POINTS here
        np.testing.assert_allclose(figures["recall"], result.recall[rises], atol=1e-5)
        np.testing.assert_allclose(figures["precision"], result.precision[rises], atol=1e-5)
    for mean, ap in (("voc07_map", "voc07_ap"), ("area_map", "area_ap")):
        assert row[mean] == pytest.approx(np.mean([f[ap] for f in row["categories"].values()]), abs=1e-6)


def test_rows_are_in_the_order_of_the_recipe(chain) -> None:
    rows = body(chain)["rows"]
    assert [(row["name"], row["boxes"]) for row in rows] == [
        ("plain", "windows"),
        ("full", "windows"),
        ("full+bb", "regressed"),
    ]
    assert [row["detections"] for row in rows] == [chain.artifact(step).name for step in ("plain", "full", "full")]
    assert rows[0]["categories"] == rows[1]["categories"]  # the same SVMs
    assert rows[1]["categories"] != rows[2]["categories"]


def test_comparisons_are_of_the_rows(chain) -> None:
    comparisons = {"boxes": {"row": "full+bb", "over": "full"}, "none": {"row": "full", "over": "plain", "draws": 100}}
    changed = chain.changed(metrics={"comparisons": comparisons})
    found = json.loads(changed.stage("metrics").run("metrics").data)
    rows = {row["name"]: row for row in found["rows"]}
    boxes, none = found["comparisons"]
    for mean in ("voc07_map", "area_map"):
        gain = boxes[mean]
        assert gain["difference"] == pytest.approx(rows["full+bb"][mean] - rows["full"][mean], abs=2e-6)
        assert gain["low"] <= gain["difference"] <= gain["high"]
        assert gain["low"] < gain["high"]
        assert none[mean] == {"difference": 0, "low": 0, "high": 0}  # the same SVMs
    assert (boxes["draws"], none["draws"], boxes["images"]) == (1000, 100, VAL)


def test_comparisons_that_can_not_be(chain) -> None:
    with pytest.raises(ConfigError, match=r"comparisons.a: step gone is not among those of its input: plain, full"):
        chain.changed(metrics={"comparisons": {"a": {"row": "gone+bb", "over": "full"}}})
    with pytest.raises(ConfigError, match=r"comparisons: there are none by the protocol coco"):
        chain.changed(metrics={"protocol": "coco", "comparisons": {"a": {"row": "full", "over": "plain"}}})
    missing = chain.changed(metrics={"comparisons": {"a": {"row": "plain+bb", "over": "full"}}})
    with pytest.raises(ConfigError, match=r"comparisons.a: 'plain\+bb' is no row; there are full"):
        missing.stage("metrics").run("metrics")


def test_the_operating_point_has_the_best_f1(chain) -> None:
    for row in body(chain)["rows"]:
        for category, figures in row["categories"].items():
            result = expected(chain, row["name"], category)
            if not result.true_positives:
                assert figures["operating_score"] is None
                continue
            total = np.maximum(result.precision + result.recall, 1e-12)
            best = int((2 * result.precision * result.recall / total).argmax())
            assert figures["operating_score"] == pytest.approx(result.scores[best], abs=1e-5)


def test_a_stricter_overlap(chain) -> None:
    output = chain.changed(metrics={"iou": 0.75}).stage("metrics").run("metrics")
    (row,) = [row for row in json.loads(output.data)["rows"] if row["name"] == "plain"]
    for category in CATEGORIES:
        assert row["categories"][category]["true_positives"] == expected(chain, "plain", category, 0.75).true_positives


def test_dets_protocol_leaves_out_what_images_do_not_judge(chain, tmp_path) -> None:
    """The blacklist travels with the annotations; difficult objects count like any other."""
    copy = chain.copied(tmp_path / "ws", ("images", "svms", "plain"))
    ignored = defaultdict(set)
    for shard in copy.shards("val"):
        notes = list(copy.annotations(shard).values())
        for n, note in enumerate(notes):
            aside = CATEGORIES[: n % 3] if n < 3 else ()
            notes[n] = replace(note, ignored=aside)
            for category in aside:
                ignored[category].add(note.key)
        republish(copy.artifact("images"), copy.manifest.annotations(shard), encode_annotations(notes), ".json")
    assert ignored["bottle"]
    assert not ignored["house"]
    stage = copy.changed(metrics={"detections": ["plain"], "protocol": "det"}).stage("metrics")
    result = json.loads(stage.run("metrics").data)
    assert result["protocol"] == "det"
    (row,) = result["rows"]
    assert row["voc07_map"] is None
    for category in CATEGORIES:
        truth = ground_truth(chain, category)
        rows = detected(chain, "plain", category)
        found = Detections.of([r.key for r in rows], [r.box for r in rows], [r.score for r in rows])
        expected_one = evaluate_det(truth, found, ignored[category])
        figures = row["categories"][category]
        area = pytest.approx(expected_one.area_ap, abs=1e-6) if expected_one.positives else None
        assert figures["area_ap"] == area
        counted = (figures["positives"], figures["detections"], figures["true_positives"])
        assert counted == (expected_one.positives, expected_one.detections, expected_one.true_positives)
        assert figures["voc07_ap"] is None
    with pytest.raises(ConfigError, match="iou: the protocol det has overlaps of its own"):
        copy.changed(metrics={"protocol": "det", "iou": 0.6})


def coco_number(place: int) -> int:
    return 1000 - 7 * place


def with_coco_annotations(copy) -> list[dict]:
    """Gives the split's images numbers of their own, in falling order, crowds and outlines; returns COCO's rows."""
    rows = []
    for shard in copy.shards("val"):
        notes = []
        for n, note in enumerate(copy.annotations(shard).values()):
            number = 1000 - 7 * int(note.key[-5:])
            things = [replace(thing, area=900.0 + 400.0 * i) for i, thing in enumerate(note.objects)]
            things[0] = replace(things[0], crowd=n % 2 == 0, difficult=n % 2 == 0)
            notes.append(replace(note, index=number, objects=tuple(things)))
            for thing in (thing for thing in things if thing.category in CATEGORIES):
                (x0, y0, x1, y1), category = thing.box, 3 + CATEGORIES.index(thing.category)
                own = {"image_id": number, "category_id": category, "bbox": [x0, y0, x1 - x0, y1 - y0]}
                rows.append({**own, "area": thing.area, "iscrowd": int(thing.crowd), "ignore": int(thing.difficult)})
        republish(copy.artifact("images"), copy.manifest.annotations(shard), encode_annotations(notes), ".json")
    return rows


def pycocotools_figures(truth_rows: list[dict], found: list[dict]) -> dict[str, float | None]:
    truth = COCO()
    truth.dataset = {
        "images": [{"id": number} for number in map(coco_number, range(VAL))],
        "categories": [{"id": 3 + number, "name": name} for number, name in enumerate(CATEGORIES)],
        "annotations": [{**row, "id": number} for number, row in enumerate(truth_rows, 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(found), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {name: None if value < 0 else float(value) for name, value in zip(FIGURES, judge.stats, strict=True)}


def test_cocos_protocol_gives_what_pycocotools_gives_on_the_exported_results(chain, tmp_path) -> None:
    """Crowds, outlines' areas, the images' own numbers; the results name images and categories by their numbers."""
    copy = chain.copied(tmp_path / "ws", ("images", "svms", "regressors", "plain", "full"))
    rows = [row for row in with_coco_annotations(copy) if row["iscrowd"] or not row["ignore"]]
    copy = copy.changed(metrics={"protocol": "coco"})
    body = json.loads(copy.stage("metrics").run("metrics").data)
    assert body["protocol"] == "coco"
    numbers = tmp_path / "numbers.json"
    places = {note.key: note.index for shard in copy.shards("val") for note in copy.annotations(shard).values()}
    own = {name: 3 + number for number, name in enumerate(CATEGORIES)}
    numbers.write_text(json.dumps({"images": places, "categories": own}))
    for step, boxes, place in (("plain", "windows", 0), ("full", "regressed", 2)):
        options = export_options("coco", boxes, None, None, str(numbers))
        export_detections(copy.engine, step, str(tmp_path / boxes), options)
        found = json.loads((tmp_path / boxes / "coco_val.json").read_text())
        expected = pycocotools_figures(rows, found)
        figures = body["rows"][place]["coco"]
        assert figures == {name: pytest.approx(value, abs=1e-6) for name, value in expected.items()}
        assert 0 < figures["AP"] < figures["AP50"]
        for name in CATEGORIES:
            category = [row for row in rows if row["category_id"] == own[name]]
            alone = pycocotools_figures(category, [row for row in found if row["category_id"] == own[name]])
            entry = body["rows"][place]["categories"][name]
            assert entry["coco"] == {title: pytest.approx(value, abs=1e-6) for title, value in alone.items()}
            assert entry["positives"] == sum(not row["iscrowd"] for row in category)
            assert (entry["voc07_ap"], entry["area_ap"]) == (None, None)
    with pytest.raises(ConfigError, match="iou: the protocol coco has overlaps of its own"):
        copy.changed(metrics={"protocol": "coco", "iou": 0.6})


def test_cocos_protocol_leaves_out_what_images_do_not_judge(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws", ("images", "svms", "plain"))
    for shard in copy.shards("val"):
        notes = [replace(note, ignored=("car",)) for note in copy.annotations(shard).values()]
        republish(copy.artifact("images"), copy.manifest.annotations(shard), encode_annotations(notes), ".json")
    stage = copy.changed(metrics={"detections": ["plain"], "protocol": "coco"}).stage("metrics")
    (row,) = json.loads(stage.run("metrics").data)["rows"]
    assert set(row["categories"]["car"]["coco"].values()) == {None}
    assert row["categories"]["car"]["detections"] == 0
    rest = [row["categories"][category]["coco"]["AP"] for category in ("bottle", "house")]
    assert row["coco"]["AP"] == pytest.approx(np.mean(rest), abs=1e-6)


@pytest.mark.parametrize(("top", "limit"), [(7, 7), ("2/image", 12)])
def test_only_the_best_of_a_set_count(chain, top, limit: int) -> None:
    output = chain.changed(metrics={"top_per_set": top}).stage("metrics").run("metrics")
    rows = {row["name"]: row for row in json.loads(output.data)["rows"]}
    for category in CATEGORIES:
        every = sorted(detected(chain, "plain", category), key=lambda r: (-r.score, r.key, r.box))
        assert len(every) > limit
        best = every[:limit]
        found = Detections.of([r.key for r in best], [r.box for r in best], [r.score for r in best])
        result = evaluate_voc(ground_truth(chain, category), found)
        figures = rows["plain"]["categories"][category]
        assert figures["area_ap"] == pytest.approx(result.area_ap, abs=1e-6)
        assert figures["detections"] == result.detections
    for wrong in (0, "5/images", "all"):
        with pytest.raises(ConfigError, match="top_per_set"):
            chain.changed(metrics={"top_per_set": wrong})


def test_detections_of_images_that_are_not_the_shards(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws", ("images", "svms", "plain")).changed(metrics={"detections": ["plain"]})
    artifact, (first, last) = copy.artifact("plain"), copy.shards("val")
    rows = decode_detections(artifact.read(first), first)
    republish(artifact, last, encode_detections(rows), ".parquet")
    with pytest.raises(ArtifactError, match=rf"{last}: image 'val_00000' does not belong to it"):
        copy.stage("metrics").run("metrics")
    strange = [replace(row, key="val_00005", category="zebra") for row in rows[:1]]
    republish(artifact, last, encode_detections(strange), ".parquet")
    with pytest.raises(ArtifactError, match="category 'zebra' does not belong to it"):
        copy.stage("metrics").run("metrics")


@pytest.mark.parametrize("top", [None, "5/image"])
def test_an_image_whose_annotation_was_set_aside_is_not_judged(chain, tmp_path, top) -> None:
    """It was scored like any other, but nobody knows what is in it: what is found there is neither right nor wrong."""
    copy = chain.copied(tmp_path / "ws", ("images", "svms", "plain"))
    copy = copy.changed(metrics={"detections": ["plain"], "top_per_set": top})
    shard = copy.unit("val/000000")
    gone, *rest = copy.annotations(shard).values()
    aside = (Quarantined(gone.key, "bad-box", "a test", "ingest"),)
    name = copy.manifest.annotations(shard)
    republish(copy.artifact("images"), name, encode_annotations(rest), ".json", aside)
    (row,) = json.loads(copy.stage("metrics").run("metrics").data)["rows"]
    found_there = 0
    for category in CATEGORIES:
        every = detected(chain, "plain", category)
        judged = [r for r in every if r.key != gone.key]
        found_there += len(every) - len(judged)
        best = sorted(judged, key=lambda r: (-r.score, r.key, r.box))[: None if top is None else 5 * VAL]
        found = Detections.of([r.key for r in best], [r.box for r in best], [r.score for r in best])
        result = evaluate_voc(ground_truth(chain, category, without=gone.key), found)
        figures = row["categories"][category]
        counted = (figures["positives"], figures["detections"], figures["true_positives"])
        assert counted == (result.positives, result.detections, result.true_positives)
        assert figures["area_ap"] == (pytest.approx(result.area_ap, abs=1e-6) if result.positives else None)
    assert found_there > 0


def test_categories_without_detections_and_without_objects(chain, tmp_path, monkeypatch) -> None:
    """Nothing found is 0; nothing to be found has no average precision and does not enter the mean."""
    copy = chain.copied(tmp_path / "ws", ("images", "svms", "plain")).changed(metrics={"detections": ["plain"]})
    artifact = copy.artifact("plain")
    for shard in copy.shards("val"):
        rows = [row for row in decode_detections(artifact.read(shard), shard) if row.category != "house"]
        republish(artifact, shard, encode_detections(rows), ".parquet")
    stage = copy.stage("metrics")
    (row,) = json.loads(stage.run("metrics").data)["rows"]
    house = row["categories"]["house"]
    assert (house["voc07_ap"], house["area_ap"], house["detections"]) == (0, 0, 0)
    assert (house["recall"], house["operating_score"]) == ([], None)
    truth = read_truth(copy.ingested, "val")
    del truth.categories["car"]
    monkeypatch.setattr("pipelines.stages.evaluate.read_truth", lambda *_: truth)
    (row,) = json.loads(stage.run("metrics").data)["rows"]
    assert row["categories"]["car"]["voc07_ap"] is None
    assert row["categories"]["car"]["positives"] == 0
    assert row["categories"]["car"]["detections"] > 0
    assert (row["categories"]["car"]["recall"], row["categories"]["car"]["operating_score"]) == ([], None)
    rest = [row["categories"][category]["voc07_ap"] for category in ("bottle", "house")]
    assert row["voc07_map"] == pytest.approx(np.mean(rest), abs=1e-6)


def test_the_commands_result_tells_the_same(chain) -> None:
    result = RunResult.of(chain.engine, list(chain.summaries.values())).to_json()
    rows = {row["name"]: row for row in body(chain)["rows"]}
    assert list(result["steps"]) == ["plain", "full", "full+bb"]
    for name, step in result["steps"].items():
        assert step["voc07_map"] == rows[name]["voc07_map"]
        assert set(step["categories"]) == set(CATEGORIES)
    assert result["voc07_map"] == rows["full+bb"]["voc07_map"]
    assert result["stages"]["images"]["quarantined"] == 1
    assert result["stages"]["maps"]["units"] == 10
    json.dumps(result)


def test_two_evaluations_of_the_same_detections(chain, tmp_path) -> None:
    """Neither hides the other's figures; rows of one evaluation only keep their short names."""
    copy = chain.copied(tmp_path / "ws", tuple(chain.steps))
    strict = {**chain.steps["metrics"], "detections": ["plain"], "iou": 0.75}
    both = type(chain)(copy.data, {**chain.steps, "strict": strict}, copy.root)
    result = RunResult.of(both.engine, list(both.run().values())).to_json()["steps"]
    assert set(result) == {"metrics/plain", "strict/plain", "full", "full+bb"}
    rows = {row["name"]: row for row in body(chain)["rows"]}
    assert result["metrics/plain"]["area_map"] == rows["plain"]["area_map"]
    assert result["strict/plain"]["area_map"] < rows["plain"]["area_map"]


def test_splits_and_images_must_fit(chain) -> None:
    with pytest.raises(ConfigError, match=r"steps.metrics.split: split train is not among those of its input: val"):
        chain.changed(metrics={"split": "train"})
    steps = {**chain.steps, "more": chain.steps["images"], "metrics": {**chain.steps["metrics"], "images": "more"}}
    with pytest.raises(
        ConfigError, match="detections: 'plain' is made from the images of step 'images', not from those of 'more'"
    ):
        type(chain)(chain.data, steps, chain.root)


def test_a_long_curve_is_thinned_evenly_over_the_objects() -> None:
    recall = np.repeat(np.arange(1, 1001) / 1000, 7)
    shown = curve_points(recall)
    assert len(shown) == CURVE_POINTS
    assert shown[0] == 0
    assert recall[shown[-1]] == 1.0
    assert np.diff(recall[shown]).max() < 2.5 / CURVE_POINTS
