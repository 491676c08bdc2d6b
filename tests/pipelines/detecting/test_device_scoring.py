"""Scoring on a device from end to end, here on the CPU: what the image-by-image way finds, and sets aside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.artifacts.detections import DetectionTable, decode_detection_table
from pipelines.detecting.detector_sources import DetectorSource
from pipelines.detecting.device_scoring import DeviceScorer
from pipelines.detecting.scoring import ShardScorer
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Artifact
from pipelines.shards.keys import ShardWork
from sppnet.detection.ensemble import Rules
from tests.support.chain import Chain

RULES = Rules()


def source(chain: Chain, step: str) -> DetectorSource:
    (found,) = DetectorSource.of_detections(chain.artifact(step), {chain.artifact("maps").name})
    return found


def score(chain: Chain, step: str, unit: str, *devices: str) -> Output:
    scorer = ShardScorer(chain.artifact("images"), (source(chain, step),), RULES, devices)
    return scorer.run(unit, lambda shard, aside: ShardWork("score", shard, chain.manifest.keys(shard), aside))


def table(output: Output) -> DetectionTable:
    assert output.data is not None
    return decode_detection_table(output.data, "here")


@pytest.mark.parametrize("step", ["plain", "full"])
@pytest.mark.parametrize("title", ["train/000002", "val/000000", "val/000001"])
def test_it_finds_what_the_other_way_finds(chain: Chain, step: str, title: str) -> None:
    unit = chain.unit(title)
    batched, single = score(chain, step, unit, "cpu"), score(chain, step, unit)
    assert "maps_seconds" in single.metrics
    assert "maps_seconds" not in batched.metrics
    assert batched.quarantined == single.quarantined
    assert (batched.done, batched.rows) == (single.done, single.rows)
    assert {name: batched.metrics[name] for name in ("images", "windows")} == {
        name: single.metrics[name] for name in ("images", "windows")
    }
    ours, theirs = table(batched), table(single)
    assert ours.keys == theirs.keys
    for name in ("image", "category", "boxes"):
        assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes()
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.regressed, theirs.regressed, rtol=1e-4, atol=1e-3)


def test_images_without_a_window_that_can_be_scored_are_set_aside(chain: Chain) -> None:
    unit = chain.unit("train/000001")
    keys = [record.key for record in chain.records(unit)]
    flat = np.array([[3, 3, 3, 9]], np.float32)
    broken = np.array([[0, 0, np.nan, 9]], np.float32)
    good = np.array([[0, 0, 60, 60]], np.float32)
    given = dict(zip(keys, [flat, good, broken, good, np.zeros((0, 4), np.float32)], strict=True))
    scorer = DeviceScorer(source(chain, "full"), replace(RULES, threshold=-100.0))
    found = list(scorer.detect(chain.artifact("images"), unit, given))
    assert [image.key for image in found] == keys
    told = [getattr(image.found, "reason", None) for image in found]
    assert told == ["no-windows", None, "bad-windows", None, None]
    categories = source(chain, "full").info.categories
    assert [len(found[place].table(tuple(keys), categories)) for place in (1, 3, 4)] == [3, 3, 0]


def test_detectors_that_it_is_not_for(chain: Chain) -> None:
    full = source(chain, "full")
    assert DeviceScorer.fits(full)
    stored = replace(full, maps=Artifact(full.maps.store, full.maps.name))
    assert not DeviceScorer.fits(stored)
    few = source(chain, "full")
    del few.detector.regressors[few.info.categories[0]]  # type: ignore[attr-defined]
    assert not DeviceScorer.fits(few)
