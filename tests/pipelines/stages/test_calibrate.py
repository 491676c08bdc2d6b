"""calibrate: each category's line from held-out detections, what combine makes of it, and what is refused."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import pytest

from jobs.report.page.collect import collect
from jobs.report.page.render import render
from pipelines.artifacts.calibrations import Calibration
from pipelines.artifacts.detections import decode_detection_table
from pipelines.engine.codec import encode
from pipelines.engine.commits import Output
from sppnet.detection.calibration import fit_log_odds
from sppnet.errors import ConfigError
from tests.support.chain import CATEGORIES, Chain

FIT: dict[str, Any] = {"stage": "calibrate", "images": "images", "split": "val", "min_positives": 1}
COMBINE = {"stage": "combine", "images": "images"}
COPIED = ("images", "windows", "network", "maps", "svms", "regressors", "plain", "full")


@pytest.fixture(scope="module")
def calibrated(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The chain's two detectors, calibrated on the images that they are judged on, for there are no others."""
    copy = chain.copied(tmp_path_factory.mktemp("calibrated") / "ws", COPIED)
    steps = {
        **copy.steps,
        "fit-plain": {**FIT, "detections": "plain"},
        "fit-full": {**FIT, "detections": "full"},
        "alone": {**COMBINE, "detections": ["full"], "calibrations": ["fit-full"]},
        "both": {**COMBINE, "detections": ["plain", "full"], "calibrations": ["fit-full", "fit-plain"]},
        "nested": {**COMBINE, "detections": ["alone", "plain"], "calibrations": ["fit-plain"]},
        "metrics": {"stage": "evaluate", "images": "images", "detections": ["plain", "full", "alone"]},
    }
    made = Chain(copy.data, steps, copy.root)
    made.run()
    return made


def figures(chain: Chain) -> dict[str, dict[str, Any]]:
    body = json.loads(chain.artifact("metrics").read("metrics"))
    return {row["name"]: row for row in body["rows"]}


def test_what_is_right_is_what_evaluate_says(calibrated: Chain) -> None:
    """Of regressed boxes where there are any."""
    rows = figures(calibrated)
    for step, row in (("fit-plain", "plain"), ("fit-full", "full+bb")):
        found = Calibration.read(calibrated.artifact(step))
        assert found.split == "val"
        assert list(found.categories) == list(CATEGORIES)
        for category, line in found.categories.items():
            judged = rows[row]["categories"][category]
            assert line.right == judged["true_positives"]
            assert line.right + line.wrong == judged["detections"]
        assert sum(line.right for line in found.categories.values()) > 0


def test_each_category_has_its_line(calibrated: Chain) -> None:
    """Worked out again from the matching of one category, a detection at a time."""
    stage: Any = calibrated.stage("fit-full")
    judged = dict(stage._judged())
    found = Calibration.read(calibrated.artifact("fit-full"))
    together = fit_log_odds(*map(np.concatenate, zip(*judged.values(), strict=True)))
    for category, (scores, right) in judged.items():
        own = fit_log_odds(scores, right)
        expected = own if own.rises else together
        line = found.categories[category]
        assert (line.slope, line.offset, line.own) == (expected.slope, expected.offset, own.rises)
        assert line.slope > 0


def test_a_detector_alone_keeps_its_order(calibrated: Chain) -> None:
    """The same detections with log-odds for scores, and so the same average precision."""
    lines = Calibration.read(calibrated.artifact("fit-full")).categories
    for shard in calibrated.shards("val"):
        own, alone = (
            list(decode_detection_table(calibrated.artifact(step).read(shard), shard).rows())
            for step in ("full", "alone")
        )
        assert [(r.key, r.category, r.box, r.regressed) for r in own] == [
            (r.key, r.category, r.box, r.regressed) for r in alone
        ]
        odds = [lines[row.category].slope * row.score + lines[row.category].offset for row in own]
        np.testing.assert_allclose([row.score for row in alone], odds, rtol=1e-5, atol=1e-5)
    rows = figures(calibrated)
    for kind in ("", "+bb"):
        for figure in ("voc07_ap", "area_ap"):
            before, after = (
                [row["categories"][category][figure] for category in CATEGORIES]
                for row in (rows["full" + kind], rows["alone" + kind])
            )
            assert before == after


def test_the_report_has_the_lines(calibrated: Chain) -> None:
    report = collect(calibrated.engine)
    assert [(found.step, found.split) for found in report.calibrations] == [("fit-plain", "val"), ("fit-full", "val")]
    lines = Calibration.read(calibrated.artifact("fit-full")).categories
    assert [(row.category, row.slope) for row in report.calibrations[1].rows] == [
        (name, line.slope) for name, line in lines.items()
    ]
    assert "What scores mean: fit-full" in render(report)


def test_a_combination_within_another_keeps_its_calibrations(calibrated: Chain) -> None:
    """`nested` names one of its two detectors' calibrations; the other's comes with the combination."""
    for shard in calibrated.shards("val"):
        both, nested = (
            list(decode_detection_table(calibrated.artifact(step).read(shard), shard).rows())
            for step in ("both", "nested")
        )
        assert {(r.key, r.category, r.box, r.score) for r in both} == {
            (r.key, r.category, r.box, r.score) for r in nested
        }


def test_categories_with_too_few_take_the_line_of_all(calibrated: Chain, caplog: pytest.LogCaptureFixture) -> None:
    counts = {name: line.right for name, line in Calibration.read(calibrated.artifact("fit-full")).categories.items()}
    least = max(counts.values())
    few = [name for name in CATEGORIES if counts[name] < least]
    assert few
    chain = calibrated.changed(**{"fit-full": {"min_positives": least}})
    with caplog.at_level(logging.WARNING):
        body = json.loads(chain.stage("fit-full").run("calibration").data)
    assert [name for name in CATEGORIES if not body["categories"][name]["own"]] == few
    assert len({body["categories"][name]["slope"] for name in few}) == 1
    for name in few:
        assert f"category={name}: {counts[name]} of " in caplog.text
    more = calibrated.changed(**{"fit-full": {"min_positives": 1000}})
    message = rf"step fit-full: of \d+ detections in 'val' {sum(counts.values())} are right, fewer than min_positives"
    with pytest.raises(ConfigError, match=message):
        more.stage("fit-full").run("calibration")


def test_judging_what_was_calibrated_on_is_said(calibrated: Chain, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        calibrated.stage("metrics").prepare()
    (said,) = [record.getMessage() for record in caplog.records]
    assert "detections=alone: were calibrated on split val too" in said


def test_calibrations_must_be_of_what_is_combined(calibrated: Chain) -> None:
    for fields, message in (
        ({"calibrations": ["fit-full"]}, "none was fitted to the detector of 'plain', and log-odds can't be compared"),
        ({"detections": ["full"]}, r"'fit-plain' was fitted to another detector \(svms-\w+\) than those of full"),
        (
            {"calibrations": ["fit-full", "fit-plain", "fit-full"]},
            "'fit-full' and 'fit-full' were both fitted to the detector of 'full'; name one",
        ),
    ):
        with pytest.raises(ConfigError, match=f"step both: calibrations: {message}"):
            calibrated.changed(both=fields).stage("both").prepare()


def test_calibrations_must_be_of_the_same_categories(calibrated: Chain) -> None:
    known = Calibration.read(calibrated.artifact("fit-plain"))
    few = Calibration(known.detector, known.split, {"car": known.categories["car"]})
    stage: Any = calibrated.stage("both")
    (source,) = [source for step, source in stage._sources() if step == "plain"]
    artifact = calibrated.engine.workspace.artifact("calibration-few")
    artifact.publish("calibration", Output(encode(few), ".json", 1, 0), 0)
    with pytest.raises(ConfigError, match=r"calibration-few was fitted to other categories .*: not to bottle, house"):
        _ = source.calibrated([artifact]).calibration


def test_images_that_were_trained_on_are_none_to_calibrate_on(calibrated: Chain) -> None:
    chain = calibrated.changed(full={"splits": ["train", "val"]}, **{"fit-full": {"split": "train"}})
    with pytest.raises(ConfigError, match=r"fit-full: split: svms-\w+ was trained on images of 'train' \('train'\)"):
        chain.stage("fit-full").prepare()


def test_what_can_not_be_calibrated(calibrated: Chain) -> None:
    for fields, message in (
        ({"detections": "alone"}, "'alone' stands for several detectors; calibrate each step that it combines"),
        ({"split": "train"}, "split: split train is not among those of its input: val"),
        ({"protocol": "det", "iou": 0.6}, "iou: the protocol det has overlaps of its own"),
        ({"detections": "svms"}, "makes svms"),
    ):
        with pytest.raises(ConfigError, match=message):
            calibrated.changed(**{"fit-plain": fields})
    with pytest.raises(ConfigError, match=r"both.calibrations.*makes detections"):
        calibrated.changed(both={"calibrations": ["plain"]})


def test_without_calibrations_a_combination_is_called_as_it_was(chain: Chain) -> None:
    """So that what was made before there were any is found."""
    steps = {**chain.steps, "both": {**COMBINE, "detections": ["plain", "full"]}}
    assert sorted(Chain(chain.data, steps, chain.root).step("both").preimage["inputs"]) == ["detections", "images"]
