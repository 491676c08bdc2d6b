from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from jobs.plan.corpus import Corpus, ImageSet, listed_images, parse_images, parse_size
from jobs.plan.costs import Planner, StepCost
from jobs.plan.detecting import ridge_macs
from jobs.plan.measure import choose_rates, measure_rates
from jobs.plan.rates import NAMES, Rates, read_rates
from jobs.plan.table import check_budget, make_plan, plan_fields, plan_table
from jobs.plan.work import Work
from jobs.recipes import find_recipe
from pipelines.artifacts.manifest import Manifest
from pipelines.engine.recipe import Recipe, load_recipe
from pipelines.shards.reading import map_unit, read_images
from sppnet.errors import ConfigError
from sppnet.networks.costs import head_macs, map_cost
from tests.support.chain import BACKBONE, SCALES, Chain
from tests.support.measured_runs import CLAIMS, CLAIMS_SECONDS, PHOTOGRAPHS, TINY, VOC07

RATES = Rates(macs=1.2e11)


@pytest.fixture(scope="module")
def voc07() -> Recipe:
    return load_recipe(find_recipe("voc07"), ())


@pytest.fixture(scope="module")
def claims() -> Recipe:
    return load_recipe(find_recipe("claims-detection"), ())


def steps(recipe: Recipe, rates: Rates = RATES, /, **images: int | ImageSet) -> dict[str, StepCost]:
    sets = {name: ImageSet(found) if isinstance(found, int) else found for name, found in images.items()}
    return {cost.step: cost for cost in Planner(recipe, Corpus(sets), rates).steps()}


def written(tmp_path: Path, recipe: str, change: dict[str, dict[str, object]]) -> Recipe:
    """A built-in recipe with some fields of some steps replaced."""
    raw = yaml.safe_load(Path(find_recipe(recipe)).read_text())
    for step, fields in change.items():
        raw["steps"][step] = raw["steps"].get(step, {}) | fields
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(raw))
    return load_recipe(path, ())


@pytest.mark.parametrize(
    ("name", "measured", "images"), [("voc07", VOC07, PHOTOGRAPHS), ("claims-detection", CLAIMS, PHOTOGRAPHS | TINY)]
)
def test_plans_are_what_was_measured(
    name: str, measured: dict[str, tuple[int, float]], images: dict[str, ImageSet]
) -> None:
    """Bytes of every step within a factor of 1.5, its seconds within 2, sums within 1.5."""
    found = steps(load_recipe(find_recipe(name), ()), **images)
    for step, (stored, seconds) in measured.items():
        assert stored / 1.5 < found[step].written < stored * 1.5, step
        assert seconds / 2 < found[step].seconds < seconds * 2, step
    stored = sum(stored for stored, _ in measured.values())
    seconds = sum(seconds for _, seconds in measured.values())
    assert sum(found[step].written for step in measured) == pytest.approx(stored, rel=0.25)
    assert seconds / 1.5 < sum(found[step].seconds for step in measured) < seconds * 1.5


def test_seconds_of_steps_that_store_what_nobody_can_tell_before(claims: Recipe) -> None:
    found = steps(claims, **PHOTOGRAPHS, **TINY)
    for step, seconds in CLAIMS_SECONDS.items():
        assert seconds / 2 < found[step].seconds < seconds * 2, step


def test_every_rate_is_used(claims: Recipe) -> None:
    """A rate that changes nothing is a constant without a formula."""
    images = PHOTOGRAPHS | TINY | {"images.val": ImageSet(460)}  # one split whose bytes are not known
    usual = steps(claims, **images)
    for name in NAMES:
        changed = replace(RATES, **{name: getattr(RATES, name) / 2})
        found = steps(claims, changed, **images)
        assert [c.seconds for c in found.values()] != [c.seconds for c in usual.values()] or [
            c.written for c in found.values()
        ] != [c.written for c in usual.values()], name


def test_the_bytes_of_maps_are_those_that_extract_counts(chain: Chain) -> None:
    """The formula, beside what a real chain's commits say of the maps that it stored."""
    maps = chain.artifact("maps")
    for scale in SCALES:
        for shard in Manifest.read(chain.artifact("images")).units("val"):
            sizes = [(r.annotation.height, r.annotation.width) for r in read_images(chain.artifact("images"), shard)[0]]
            expected = sum(map_cost(BACKBONE, size, scale).bytes for size in sizes)
            assert maps.commit(map_unit(scale, shard)).metrics["raw_bytes"] == expected


def test_units_are_those_of_the_run(voc07: Recipe) -> None:
    """Shards are cut from each split by itself: 482 and 460 images make 16 and 15 shards of 32."""
    found = steps(voc07, **PHOTOGRAPHS)
    units = {name: cost.units for name, cost in found.items()}
    assert units | {"images": 31, "windows": 31, "maps": 155, "head": 1, "svms-pool5-1s": 42} == units
    assert units | {"regressors": 21, "pool5-1s": 15, "metrics": 1} == units


def test_each_stage_is_counted_from_its_config(voc07: Recipe) -> None:
    found = steps(voc07, train=482, val=460)
    maps = voc07.steps["maps"]
    costs = [map_cost(voc07.steps["backbone"].spec(), (375, 500), scale) for scale in maps.scales]  # type: ignore[attr-defined]
    assert found["maps"].macs == 942 * sum(cost.macs for cost in costs)
    assert found["maps"].written == 942 * sum(cost.bytes for cost in costs) * RATES.compression
    pooled = 460 * 2000 * 25_600 * 5
    kept = 460 * 5 * RATES.pool5_detections
    assert found["pool5-1s"].macs == pooled
    assert found["pool5-5s"].macs == pooled + kept * 25_600 * 4
    assert found["pool5-1s"].read == 460 * costs[2].bytes
    assert found["fc7-5s"].macs == pytest.approx(
        460 * 2000 * (head_macs((25_600, 1024, 1024)) + 5 * 1024) + 460 * 5 * RATES.fc_detections * 25_600 * 4
    )


def test_pre_training_is_counted_from_its_config(claims: Recipe) -> None:
    found = steps(claims, **PHOTOGRAPHS, **TINY)["zf5"]
    samples = 2000 * 64
    crop = map_cost(claims.steps["zf5"].spec(), (112, 112)).macs  # type: ignore[attr-defined]
    assert found.images == samples
    assert found.macs == 3 * samples * (crop + head_macs((3200, 512, 512, 1000)))
    assert found.parts["decode"] == pytest.approx(samples * 64 * 64 / RATES.decode)
    assert found.units == math.ceil(9130 / 256) + 1


def test_fine_tuning_has_no_gradient_below_fc6(voc07: Recipe) -> None:
    found = steps(voc07, train=482, val=460)["head"]
    assert found.macs == 2000 * 128 * (3 * head_macs((25_600, 1024, 1024, 6)) - 25_600 * 1024)
    assert found.images == 40 * 64  # chunks of 50 steps, each of two shards of 32


def test_fine_tuning_reads_no_more_images_than_there_are(voc07: Recipe) -> None:
    assert steps(voc07, train=40, val=460)["head"].images == 40 * 40


def test_rcnns_way_convolves_every_window_and_others_fewer(claims: Recipe) -> None:
    found = steps(claims, **PHOTOGRAPHS, **TINY)
    crop = map_cost(claims.steps["squeezenet"].spec(), (227, 227)).macs  # type: ignore[attr-defined]
    assert found["few-rcnn"].macs == 460 * 100 * (crop + 25_600 * 5)
    assert found["few-spp"].macs == 460 * 100 * 25_600 * 5
    assert found["few-rcnn"].read == 0
    assert found["crops"].written == found["crops"].seconds == 0
    assert found["maps"].images == 942
    assert found["tiny"].images == 11_205


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
    assert again.parts["float32"] == 2 * found["ft-fc6-5s"].parts["float32"]


def test_a_step_that_scores_nothing_costs_nothing(tmp_path: Path) -> None:
    recipe = written(tmp_path, "voc07", {"pool5-1s": {"splits": []}, "metrics": {"detections": ["fc7-5s"]}})
    found = steps(recipe, **PHOTOGRAPHS)["pool5-1s"]
    assert (found.units, found.images, found.seconds, found.written) == (0, 0, 0, 0)


def test_imported_fully_connected_layers_are_stored_too(tmp_path: Path, voc07: Recipe) -> None:
    whole = written(tmp_path, "voc07", {"backbone": {"head": {"levels": [4, 2], "labels": ["a", "b", "c"]}}})
    more = steps(whole, **PHOTOGRAPHS)["backbone"].written - steps(voc07, **PHOTOGRAPHS)["backbone"].written
    sizes = (20 * 512, 4096, 4096, 3)
    assert more == 4 * (head_macs(sizes) + sum(sizes[1:]))


def test_limits_bound_what_svms_store(tmp_path: Path, voc07: Recipe) -> None:
    """Twice the images: twice the hard negatives until the shards' limits, random negatives up to theirs."""
    small, large, huge = (steps(voc07, train=n, val=10)["svms-pool5-1s"].written for n in (500_000, 10**6, 2 * 10**6))
    objects = 25_600 * 2 * RATES.pool5_compression * RATES.objects
    assert huge - large == pytest.approx(2 * (large - small))
    assert large - small == pytest.approx(500_000 * objects, rel=1e-3)
    fewer = written(tmp_path, "voc07", {"svms-pool5-1s": {"hard_per_image": 3}})
    usual = steps(voc07, train=482, val=10)["svms-pool5-1s"].written
    less = usual - steps(fewer, train=482, val=10)["svms-pool5-1s"].written
    assert less == pytest.approx(482 * 5 * (RATES.pool5_hard - 3) * 25_600 * 2 * RATES.pool5_compression)


def test_more_rounds_mine_more(tmp_path: Path, voc07: Recipe) -> None:
    one = steps(voc07, train=482, val=10)["svms-fc7-5s"]
    three = steps(written(tmp_path, "voc07", {"svms-fc7-5s": {"rounds": 3}}), train=482, val=10)["svms-fc7-5s"]
    assert three.images == 482 * 4
    assert three.units == 16 * 4 + 5 * 4
    assert 2.5 < three.seconds / one.seconds < 3.5


@given(examples=st.floats(10, 1e6), length=st.integers(10, 50_000))
def test_ridge_regression_takes_the_smaller_gram_matrix(examples: float, length: int) -> None:
    found = ridge_macs(examples, length)
    assert found <= examples**2 * length / 2 + examples**3 / 6
    assert found <= examples * length**2 / 2 + length**3 / 6
    assert found >= min(examples, length) ** 2 * max(examples, length) / 2


def test_ten_times_the_images_cost_ten_times_the_maps(voc07: Recipe) -> None:
    small, large = steps(voc07, train=100, val=100), steps(voc07, train=1000, val=1000)
    for step in ("windows", "maps", "pool5-5s"):
        assert large[step].seconds == pytest.approx(10 * small[step].seconds)


def test_mirrored_images_are_convolved_and_read_too(tmp_path: Path, voc07: Recipe) -> None:
    flips = written(tmp_path, "voc07", {"maps": {"flips": True}, "head": {"flips": True}})
    plain, found = steps(voc07, **PHOTOGRAPHS), steps(flips, **PHOTOGRAPHS)
    assert (found["maps"].units, found["maps"].macs) == (2 * plain["maps"].units, 2 * plain["maps"].macs)
    assert found["maps"].written == pytest.approx(2 * plain["maps"].written)
    assert found["head"].read == pytest.approx(2 * plain["head"].read)
    assert found["head"].macs == plain["head"].macs


def test_every_recipe_can_be_planned() -> None:
    for path in sorted(Path(find_recipe("demo")).parent.glob("*.yaml")):
        recipe = load_recipe(path, ())
        sets = [config.dataset for config in recipe.steps.values() if hasattr(config, "dataset")]
        parts = [part for one in sets for part in getattr(one, "parts", (one,))]
        named = [getattr(part, "splits", None) or () for part in parts]
        images = {name: ImageSet(1000) for splits in [*named, ("train", "val", "all")] for name in splits}
        costs = Planner(recipe, Corpus(images), RATES).steps()
        assert [cost.step for cost in costs] == list(recipe.steps)
        assert all(math.isfinite(cost.seconds) and cost.seconds >= 0 for cost in costs)
        assert plan_table(costs, RATES).row_count == len(costs)


def test_stages_without_a_formula_say_so() -> None:
    costs = Planner(load_recipe(find_recipe("caltech101"), ()), Corpus({"all": ImageSet(9144)}), RATES).steps()
    assert {cost.stage: cost.counted for cost in costs} | {"ingest": True, "classify": False, "transfer": False} == {
        cost.stage: cost.counted for cost in costs
    }
    assert "not counted" in list(plan_table(costs, RATES).columns[-1].cells)


def test_totals_and_the_budget(voc07: Recipe) -> None:
    costs = Planner(voc07, Corpus({"train": ImageSet(482), "val": ImageSet(460)}), RATES).steps()
    fields = plan_fields(costs, workers=4, price=3.0)
    assert fields["worker_hours"] == pytest.approx(sum(cost.seconds for cost in costs) / 3600, abs=1e-4)
    assert fields["hours"] == pytest.approx(fields["worker_hours"] / 4, abs=1e-4)
    for cost in costs:
        assert sum(cost.parts.values()) == pytest.approx(cost.seconds)
    check_budget(fields, None)
    check_budget(fields, fields["cost"])
    with pytest.raises(ConfigError, match=r"more than the budget of 0\.01"):
        check_budget(fields, 0.01)


def test_a_split_of_unknown_size_is_named(voc07: Recipe) -> None:
    with pytest.raises(ConfigError, match=r"the size of split 'val' is not known \(known: train\); .* --images val=N"):
        steps(voc07, train=10)


@pytest.mark.parametrize("text", ["train", "train=", "=5", "train=x", "train=0"])
def test_images_that_can_not_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="expected SPLIT=N"):
        parse_images([text])


@pytest.mark.parametrize("text", ["500", "500x", "0x3", "axb"])
def test_sizes_that_can_not_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="expected WIDTHxHEIGHT"):
        parse_size(text)


def test_options_that_can_be_read() -> None:
    assert parse_images(["train=5", "val=7"]) == {"train": ImageSet(5), "val": ImageSet(7)}
    assert parse_size("640x480") == (640, 480)


def test_rates_are_replaced_by_name() -> None:
    found = read_rates(["macs=2e14", "pooling=1e12", "pooling=2e12"], RATES)
    assert found == replace(RATES, macs=2e14, pooling=2e12)
    assert read_rates([], RATES) == RATES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poling=1", "no rate 'poling'; did you mean 'pooling'"),
        ("zzz=1", "no rate 'zzz'; there are: macs, read"),
        ("where=1", "no rate 'where'"),
        ("macs", "positive number, such as macs=1e12"),
        ("macs=0", "positive number"),
        ("macs=nan", "positive number"),
        ("macs=inf", "positive number"),
    ],
)
def test_rates_that_can_not_be_read(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_rates([text], RATES)


@given(first=st.floats(0, 1e9), second=st.floats(0, 1e9), times=st.floats(0, 100))
def test_work_adds_up(first: float, second: float, times: float) -> None:
    one, other = (
        Work.of(3.0, macs=first, read=second),
        Work.of(1.0, read=first, start=1) + Work.product(second, "float32"),
    )
    both = (one + other) * times
    assert both.written == pytest.approx(4.0 * times)
    assert both.macs == pytest.approx(times * (first + second))
    apart = sum(one.seconds(RATES).values()) + sum(other.seconds(RATES).values())
    assert sum(both.seconds(RATES).values()) == pytest.approx(times * apart)


def test_rates_that_are_given_are_not_measured() -> None:
    assert choose_rates(1.2e11, None, ()) == RATES
    assert choose_rates(1e9, 2e9, ["macs=1.2e11", "pooling=1e12"]) == replace(RATES, read=2e9, pooling=1e12)
    assert choose_rates(None, None, ["macs=1.2e11"]) == RATES
    with pytest.raises(ConfigError, match="no rate 'speed'"):
        choose_rates(None, None, ["speed=1"])


def test_measured_rates_are_of_this_machine(voc07: Recipe) -> None:
    """The two that are timed differ from any default, and all else stays; given rates are not measured again."""
    found = measure_rates(seconds=0.01)
    assert found.macs > 1e8
    assert found.pooling > 1e6
    assert replace(found, macs=1.2e11, pooling=RATES.pooling, where="given") == RATES
    corpus = Corpus({"train": ImageSet(1), "val": ImageSet(1)})
    assert make_plan(voc07, corpus, RATES)[1] is RATES


def test_images_are_counted_from_the_data_sets_lists(shared: Path) -> None:
    root = shared / "data/voc07/VOCdevkit/VOC2007"
    found = listed_images(load_recipe(find_recipe("voc07"), [f"images.dataset.root={root}"]))
    assert {name: images.count for name, images in found.items()} == {"images.train": 482, "images.val": 460}
    sizes = [path.stat().st_size for path in (root / "JPEGImages").iterdir()]
    for images in found.values():
        assert images.mean_bytes == pytest.approx(sum(sizes) / len(sizes), rel=0.25)
        assert images.mean_pixels == pytest.approx(500 * 375, rel=0.2)
