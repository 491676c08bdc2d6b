"""Costs of stages that train detectors, score and judge, from their configs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.plan.detecting import ridge_macs
from jobs.recipes import find_recipe
from pipelines.engine.recipe import Recipe, load_recipe
from sppnet.networks.costs import map_cost
from sppnet.sizes import Size
from tests.support.measured_runs import PHOTOGRAPHS, TINY
from tests.support.plans import RATES, steps, written


def test_rcnns_way_convolves_every_window_and_others_fewer(claims: Recipe) -> None:
    found = steps(claims, **PHOTOGRAPHS, **TINY)
    crop = map_cost(claims.steps["squeezenet"].spec(), Size.square(227)).macs  # type: ignore[attr-defined]
    assert found["few-rcnn"].macs == 460 * 100 * (crop + 25_600 * 5)
    assert found["few-spp"].macs == 460 * 100 * 25_600 * 5
    assert found["few-rcnn"].read == 0
    assert found["crops"].written == found["crops"].seconds == 0
    assert found["maps"].images == 942
    assert found["tiny"].images == 11_205


def test_fine_tuning_on_crops_convolves_each_of_its_windows(tmp_path: Path) -> None:
    """What it costs more than on maps is the convolutions of its samples."""
    recipe = written(tmp_path, "claims-rcnn", {})
    found = steps(recipe, **PHOTOGRAPHS)
    crop = map_cost(recipe.steps["squeezenet"].spec(), Size.square(227)).macs  # type: ignore[attr-defined]
    windows = (found["head-rcnn"].macs - found["head-1s"].macs) / crop
    assert 482 * 5 < windows < 482 * 50
    assert found["head-rcnn"].read < found["head-1s"].read


def test_detectors_together_cost_their_parts_but_what_they_share(claims: Recipe, tmp_path: Path) -> None:
    """Two detectors on one network's maps read those once; one that is named twice computes its features once."""
    found = steps(claims, **PHOTOGRAPHS, **TINY)
    parts = [found["ft-fc7-5s"], found["zf5-ft-fc7-5s"]]
    assert found["two-networks"].read == sum(part.read for part in parts)
    assert found["two-networks"].macs == pytest.approx(sum(part.macs for part in parts), rel=1e-3)
    same = written(tmp_path, "claims-detection", {"two-networks": {"detections": ["pool5-5s", "ft-fc7-5s"]}})
    shared = steps(same, **PHOTOGRAPHS, **TINY)["two-networks"]
    assert shared.read == found["ft-fc7-5s"].read
    twice = written(tmp_path, "claims-detection", {"two-networks": {"detections": ["ft-fc6-5s", "ft-fc6-5s"]}})
    again = steps(twice, **PHOTOGRAPHS, **TINY)["two-networks"]
    assert again.parts["macs"] == found["ft-fc6-5s"].parts["macs"]
    assert again.parts["scoring"] == 2 * found["ft-fc6-5s"].parts["scoring"]


def test_calibrating_judges_what_is_held_out() -> None:
    recipe = load_recipe(find_recipe("voc07-two-networks"))
    found = steps(recipe, **{"images.fit": 320, "images.held-out": 162, "images.val": 460})
    judged = found["metrics"].parts["judged"] / 8  # of four rows, twice each
    assert found["odds-first"].parts["judged"] == pytest.approx(judged * 162 / 460)
    assert found["by-log-odds"].seconds == found["by-scores"].seconds


def test_a_step_that_scores_nothing_costs_nothing(tmp_path: Path) -> None:
    recipe = written(tmp_path, "voc07", {"pool5-1s": {"splits": []}, "metrics": {"detections": ["fc7-5s"]}})
    found = steps(recipe, **PHOTOGRAPHS)["pool5-1s"]
    assert (found.units, found.images, found.seconds, found.written) == (0, 0, 0, 0)


def test_limits_bound_what_svms_store(tmp_path: Path, voc07: Recipe) -> None:
    """Twice the images: twice the hard negatives until the shards' limits, random negatives up to theirs."""
    small, large, huge = (steps(voc07, train=n, val=10)["svms-pool5-1s"].written for n in (500_000, 10**6, 2 * 10**6))
    objects = 25_600 * 2 * RATES.pool5_compression * RATES.pool5_stepped * RATES.objects
    assert huge - large == pytest.approx(2 * (large - small))
    assert large - small == pytest.approx(500_000 * objects, rel=1e-3)
    fewer = written(tmp_path, "voc07", {"svms-pool5-1s": {"hard_per_image": 3}})
    usual = steps(voc07, train=482, val=10)["svms-pool5-1s"].written
    less = usual - steps(fewer, train=482, val=10)["svms-pool5-1s"].written
    assert less == pytest.approx(
        482 * 5 * (RATES.pool5_hard - 3) * 25_600 * 2 * RATES.pool5_compression * RATES.pool5_stepped
    )


def test_more_rounds_mine_more(tmp_path: Path, voc07: Recipe) -> None:
    one = steps(voc07, train=482, val=10)["svms-fc7-5s"]
    three = steps(written(tmp_path, "voc07", {"svms-fc7-5s": {"rounds": 3}}), train=482, val=10)["svms-fc7-5s"]
    assert three.images == 482 * 4
    assert three.units == 16 * 4 + 5 * 4
    assert 2.5 < three.seconds / one.seconds < 3.5


def test_rows_of_every_bit_take_more_than_rows_in_steps(tmp_path: Path, voc07: Recipe) -> None:
    exact = steps(written(tmp_path, "voc07", {"svms-fc7-5s": {"rows": "float16"}}), **PHOTOGRAPHS)["svms-fc7-5s"]
    stepped = steps(voc07, **PHOTOGRAPHS)["svms-fc7-5s"]
    weights = 2 * 5 * 4 * 1025
    assert stepped.written - weights == pytest.approx((exact.written - weights) * RATES.fc_stepped)
    assert stepped.seconds == exact.seconds


@given(examples=st.floats(10, 1e6), length=st.integers(10, 50_000))
def test_ridge_regression_takes_the_smaller_gram_matrix(examples: float, length: int) -> None:
    found = ridge_macs(examples, length)
    assert found <= examples**2 * length / 2 + examples**3 / 6
    assert found <= examples * length**2 / 2 + length**3 / 6
    assert found >= min(examples, length) ** 2 * max(examples, length) / 2
