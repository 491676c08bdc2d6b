"""score: every detection can be computed again by hand, and none is missing."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from pipelines.artifacts.detections import DetectionRow, decode_detections
from pipelines.artifacts.detectors import read_detector
from pipelines.artifacts.windows_and_maps import decode_maps, encode_maps
from pipelines.engine.commits import Output
from pipelines.shards.windowed import ShardInputs
from sppnet.boxes import iou_matrix
from sppnet.errors import ConfigError
from tests.support.chain import CATEGORIES, SCALES, accounts
from tests.support.stored_rows import regressed

STEPS = ("images", "windows", "network", "maps", "svms", "regressors")


def windowed(chain, shard: str):
    parts = [chain.artifact(name) for name in ("images", "windows", "maps")]
    return ShardInputs(*parts, SCALES).open(shard)[0]


def detections(chain, step: str, shard: str) -> dict[tuple[str, str], list[DetectionRow]]:
    found = defaultdict(list)
    for row in decode_detections(chain.artifact(step).read(shard), shard):
        found[row.key, row.category].append(row)
    return found


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Greedy suppression, written out."""
    left = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if iou_matrix(boxes[best][None], boxes[i][None])[0, 0] <= threshold]
    return kept


@pytest.mark.parametrize("step", ["plain", "full"])
@pytest.mark.parametrize("title", ["val/000000", "val/000001"])
def test_detections_are_the_suppressed_windows(chain, step: str, title: str) -> None:
    shard = chain.unit(title)
    regressors = [chain.artifact("regressors")] if step == "full" else []
    detector = read_detector([chain.artifact("svms")], regressors, chain.artifact("maps"))
    found = detections(chain, step, shard)
    for image in windowed(chain, shard):
        scores = detector.svms.scores(detector.features(image.maps, image.image_wh, image.windows)).numpy()
        for k, category in enumerate(CATEGORIES):
            above = np.flatnonzero(scores[:, k] > -1.5)
            kept = above[suppress(image.windows[above], scores[above, k], 0.3)]
            rows = found.pop((image.key, category), [])
            assert [row.box for row in rows] == [tuple(image.windows[window]) for window in kept]
            np.testing.assert_allclose([row.score for row in rows], scores[kept, k], atol=1e-6)
            moved = regressed(detector, category, image, image.windows[kept])
            if step == "plain":
                assert moved is None
                assert all(row.regressed is None for row in rows)
            else:
                np.testing.assert_allclose([row.regressed for row in rows], moved, rtol=1e-5)
    assert found == {}


def test_thresholds_and_limits(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws", STEPS).only(*STEPS, "plain")
    for fields in ({"threshold": -0.9}, {"per_image": 3}, {"nms_iou": 0.05}):
        other = copy.changed(plain=fields)
        other.run()
        assert other.step("plain").spec.artifact != chain.step("plain").spec.artifact
        fewer = 0
        for shard in chain.shards("val"):
            every, found = detections(chain, "plain", shard), detections(other, "plain", shard)
            for name, rows in every.items():
                mine = [(row.box, row.score) for row in found.get(name, [])]
                fewer += len(mine) < len(rows)
                if "threshold" in fields:
                    assert mine == [(row.box, row.score) for row in rows if row.score > -0.9]
                elif "per_image" in fields:
                    assert mine == [(row.box, row.score) for row in rows][:3]
                else:
                    boxes = np.array([box for box, _ in mine])
                    assert iou_matrix(boxes, boxes)[~np.eye(len(boxes), dtype=bool)].max(initial=0) <= 0.05
        assert fewer > 0


def test_every_key_is_done_or_quarantined(chain) -> None:
    for step in ("plain", "full"):
        assert [(have, want) for _, have, want in accounts(chain, step)] == [(5, 5), (1, 1)]


def test_the_parts_of_the_time_are_told(chain) -> None:
    for commit in chain.artifact("full").commits(chain.shards("val")):
        parts = {name for name in commit.metrics if name.endswith("_seconds")}
        assert parts == {f"{name}_seconds" for name in ("maps", "features", "svm", "suppression", "regression")}
        # the figures are rounded to the millisecond
        assert 0 < sum(commit.metrics[name] for name in parts) <= commit.seconds + 0.002


def test_the_training_split_can_be_scored_too(chain, tmp_path) -> None:
    """Its quarantined keys are carried through, and the units scored before are not touched."""
    copy = chain.copied(tmp_path / "ws", (*STEPS, "plain")).only(*STEPS, "plain")
    before = {shard: copy.artifact("plain").commit(shard) for shard in chain.shards("val")}
    more = copy.changed(plain={"splits": ["val", "train"]})
    summary = more.run()["plain"]
    assert (summary.keys, summary.done, summary.own_quarantined) == (20, 18, 0)
    assert {(q.key, q.stage) for q in summary.quarantined} == {("broken", "ingest"), ("thin", "propose")}
    assert {shard: more.artifact("plain").commit(shard) for shard in chain.shards("val")} == before


def test_a_map_with_nan_is_quarantined_and_the_rest_goes_on(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws", STEPS).only(*STEPS, "plain").changed(plain={"max_quarantined": 0.5})
    shard = copy.unit("val/000000")
    unit = f"s0160/{shard}"
    maps = copy.artifact("maps")
    commit = maps.commit(unit)
    rows = list(decode_maps(maps.read(unit), unit))
    broken = rows[2].map.copy()
    broken[:] = np.nan
    rows[2] = type(rows[2])(rows[2].key, rows[2].scale, rows[2].image_wh, broken)
    maps.store.delete(f"{maps.name}/_commits/{unit}.json")
    maps.publish(unit, Output(encode_maps(rows), ".parquet", commit.rows, commit.done, commit.quarantined), 0)
    summary = copy.run()["plain"]
    assert [(q.key, q.reason, q.stage) for q in summary.quarantined] == [(rows[2].key, "nan-features", "score")]
    assert summary.done == 5
    before, after = detections(chain, "plain", shard), detections(copy, "plain", shard)
    assert {key for key, _ in after} == {key for key, _ in before} - {rows[2].key}
    for name, found in after.items():
        assert [(row.box, row.score) for row in found] == [(row.box, row.score) for row in before[name]]


def test_the_same_unit_gives_the_same_bytes(chain) -> None:
    for shard in chain.shards("val"):
        assert chain.stage("full").run(shard).data == chain.artifact("full").read(shard)


def test_scales_and_splits_that_are_not_there(chain) -> None:
    with pytest.raises(
        ConfigError, match=r"steps.plain.windows: split test is not among those of its input: train, val"
    ):
        chain.changed(plain={"splits": ["test"]})
    steps = {**chain.steps, "coarse": {**chain.steps["maps"], "scales": [160]}}
    steps["plain"] = {**steps["plain"], "maps": "coarse"}
    with pytest.raises(ConfigError, match=r"steps.plain.scales: scale 240 is not among those of its input: 160"):
        type(chain)(chain.data, steps, chain.root)


def test_windows_of_other_images(chain) -> None:
    steps = {**chain.steps, "more": chain.steps["images"], "others": {**chain.steps["windows"], "images": "more"}}
    steps["plain"] = {**steps["plain"], "windows": "others"}
    with pytest.raises(
        ConfigError,
        match=r"steps.plain.windows: 'others' is made from .* 'more', not from .* 'images'",
    ):
        type(chain)(chain.data, steps, chain.root)
