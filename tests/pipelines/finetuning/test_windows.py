"""Which windows of an image train, and the sample that is drawn of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.finetuning.config import FinetuneConfig
from pipelines.finetuning.windows import Candidates, draw_windows, label_image
from tests.support.tiny_finetune import make_config

THINGS = (
    ObjectAnnotation("disc", (0, 0, 100, 100)),
    ObjectAnnotation("ring", (200, 0, 300, 100), difficult=True),
    ObjectAnnotation("tree", (0, 200, 100, 300)),
)
WINDOWS = np.array(
    [
        [0, 0, 100, 60],  # IoU 0.6 with the disc
        [0, 0, 100, 50],  # exactly 0.5
        [0, 0, 100, 30],  # 0.3
        [0, 0, 100, 9],  # 0.09: never used
        [200, 0, 300, 80],  # on a difficult object
        [0, 200, 100, 300],  # on an object of no category here
        [60, 0, 240, 100],  # 0.17 with the disc, 0.17 with the difficult ring
    ],
    np.float32,
)
ANNOTATION = ImageAnnotation("a", 400, 300, THINGS)


def test_windows_are_sorted_by_their_overlap_with_objects() -> None:
    found = label_image(ANNOTATION, WINDOWS, make_config().rule(0, 12))
    assert found.boxes[found.objects].tolist() == [[0, 0, 100, 60], [0, 0, 100, 50], [0, 0, 100, 100]]
    assert found.numbers[found.objects].tolist() == [0, 1, -1]
    assert found.labels.tolist() == [1, 1, 1]
    assert found.boxes[found.background].tolist() == [[0, 0, 100, 30], [60, 0, 240, 100]]
    wider = label_image(ANNOTATION, WINDOWS, make_config(difficult=True).rule(0, 12))
    assert wider.labels.tolist() == [1, 1, 2, 1, 2]
    assert wider.numbers[wider.objects].tolist() == [0, 1, 4, -1, -2]


def candidates(objects: int, background: int) -> Candidates:
    count = objects + background
    order = np.random.default_rng(count).permutation(count)
    boxes = np.zeros((count, 4), np.float32)
    return Candidates(boxes, np.arange(count), order[:objects], np.ones(objects, np.int64), order[objects:])


@given(st.integers(0, 30), st.integers(0, 60), st.booleans(), st.booleans(), st.booleans())
def test_all_objects_and_some_background_are_drawn(
    objects: int, background: int, gives_background: bool, flips: bool, random_scale: bool
) -> None:
    rule = make_config(negatives_per_image=20, random_scale=random_scale, scales=(1, 2, 3)).rule(7, 12)
    found = candidates(objects, background)
    drawn = draw_windows("im", found, rule, background=gives_background, flips=flips)
    shown = drawn.labels > 0
    ways = [drawn.rows[shown & (drawn.flipped == way)].tolist() for way in (False, True)]
    assert ways == [found.objects.tolist(), found.objects.tolist() if flips else []]
    kept = drawn.rows[~shown]
    assert len(set(kept.tolist())) == len(kept) == (min(20, background) if gives_background else 0)
    assert set(kept.tolist()) <= set(found.background.tolist())
    assert set(drawn.scales.tolist()) <= ({1, 2, 3} if random_scale else {0})


def test_a_draw_is_the_keys_and_the_seeds() -> None:
    found, rule = candidates(5, 400), make_config(negatives_per_image=100, random_scale=True, scales=(1, 2)).rule(7, 12)

    def drawn(key: str, seed: int) -> tuple[list[int], list[int], float]:
        one = draw_windows(key, found, make_config_rule(seed), background=True, flips=True)
        return one.rows.tolist(), one.scales.tolist(), float(one.flipped[10:].mean())

    def make_config_rule(seed: int):
        return make_config(negatives_per_image=100, random_scale=True, scales=(1, 2)).rule(seed, 12)

    assert drawn("a", 7) == drawn("a", 7)
    assert drawn("a", 7)[0] != drawn("b", 7)[0] != drawn("a", 8)[0]
    assert 0.35 < drawn("a", 7)[2] < 0.65
    assert 0.35 < np.mean(draw_windows("a", found, rule, background=True, flips=False).scales == 1) < 0.65


def test_as_much_background_is_drawn_as_batches_take() -> None:
    config = make_config(negatives_per_image="auto")  # 120 steps of 16
    assert [config.rule(0, images).negatives_per_image for images in (1, 12, 1919, 1921, 10**6)] == [1920, 160, 2, 1, 1]
    assert make_config(negatives_per_image=7).rule(0, 12).negatives_per_image == 7
    assert FinetuneConfig.model_fields["negatives_per_image"].default == "auto"
