"""What is to be written is checked before there is anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.artifacts.manifest import Manifest
from pipelines.outputs.ids import Numbers
from pipelines.outputs.plan import DetectorFacts, ExportOptions, ExportPlan, check_format, plan_export
from sppnet.errors import ConfigError
from tests.support.tiny_workspace import plain_manifest

DETECTOR = DetectorFacts(("dog", "car"), {"car": 1, "cat": 2, "dog": 3}, {"dog": "hound"}, regressors=True)
KEYS = ("a", "b", "c/d e")


@pytest.fixture
def manifest() -> Manifest:
    return plain_manifest({"all": KEYS}, (), 2)


def planned(manifest: Manifest, options: ExportOptions, **more: object) -> ExportPlan:
    fields: dict = {"known": dict, "count": True, **more}
    return plan_export(options, DETECTOR, manifest, "all", **fields)


@pytest.mark.parametrize("name", ["coco", "det"])
def test_new_images_are_counted_and_categories_are_the_detectors(manifest: Manifest, name: str) -> None:
    plan = planned(manifest, ExportOptions(name))
    assert plan.numbers == Numbers({"a": 1, "b": 2, "c/d e": 3}, {"dog": 3, "car": 1})
    assert list(plan.numbers.categories) == ["dog", "car"]


def test_numbers_that_are_known_or_given_come_first(manifest: Manifest) -> None:
    known = {key: number for number, key in enumerate(KEYS, 10)}
    given = Numbers({**{key: number for number, key in enumerate(KEYS, 20)}, "other": 1}, {})
    assert planned(manifest, ExportOptions("det"), known=lambda: known).numbers.images == known
    plan = planned(manifest, ExportOptions("coco", numbers=given), known=lambda: known)
    assert plan.numbers == Numbers({"a": 20, "b": 21, "c/d e": 22}, {"dog": 3, "car": 1})
    both = replace(given, categories={"dog": 7, "car": 8})
    assert planned(manifest, ExportOptions("coco", numbers=both)).numbers.categories == {"dog": 7, "car": 8}


def test_formats_without_numbers_ask_for_none(manifest: Manifest) -> None:
    def known() -> dict[str, int]:
        raise AssertionError("asked")

    assert planned(manifest, ExportOptions("parquet"), known=known).numbers == Numbers({}, {})


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        (
            ExportOptions("det"),
            {"count": False},
            "the images of split all have no numbers; name the list that has them",
        ),
        (ExportOptions("coco", numbers=Numbers({"a": 1}, {})), {}, "image 'b' has no number; name a file that gives"),
        (ExportOptions("det", numbers=Numbers({}, {"dog": 1})), {}, "category 'car' has no number"),
        (ExportOptions("parquet", top_per_set="x"), {}, "neither a number such as 30000"),
    ],
)
def test_what_can_not_be_written(manifest: Manifest, options: ExportOptions, more: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(manifest, options, **more)


def test_images_whose_numbers_are_lost_are_left_out_and_told(
    manifest: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    plan = planned(manifest, ExportOptions("coco"), known=lambda: {"a": 70, "c/d e": 9})
    assert plan.numbers.images == {"a": 70, "c/d e": 9}
    assert "the detections of 1 images are left out, the first b: ingest set their annotations aside" in caplog.text


def test_boxes_of_a_detector_without_regressors(manifest: Manifest) -> None:
    bare = replace(DETECTOR, regressors=False)
    with pytest.raises(ConfigError, match="made without box regressors; take windows"):
        plan_export(ExportOptions("coco", boxes="regressed"), bare, manifest, "all", known=dict, count=True)
    assert plan_export(ExportOptions("coco"), bare, manifest, "all", known=dict, count=True).boxes == "windows"
    assert planned(manifest, ExportOptions("coco")).boxes == "regressed"
    assert planned(manifest, ExportOptions("parquet")).boxes == "both"


def test_formats() -> None:
    with pytest.raises(
        ConfigError, match="'xml' is not one of coco, voc, det, parquet, csv, yolo, yolo-labels, fiftyone, huggingface"
    ):
        check_format("xml")
    shards = {name: ExportOptions(check_format(name)).by_shard for name in ("coco", "voc", "det", "parquet", "csv")}
    assert shards == {"coco": True, "voc": False, "det": False, "parquet": True, "csv": True}
    assert not ExportOptions("parquet", top_per_set=3).by_shard


def test_options_are_told_by_content() -> None:
    one, other = (ExportOptions("det", numbers=Numbers({"a": n}, {})).to_json() for n in (1, 2))
    assert one == {**other, "numbers": one["numbers"]}
    assert one["numbers"] != other["numbers"]
