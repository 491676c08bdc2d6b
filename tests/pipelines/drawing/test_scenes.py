from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.drawing import scenes
from pipelines.drawing.scenes import CATEGORIES, annotate_image, draw_image
from sppnet.seeds import derive_seed

SIZE = (280, 380)


def test_same_seed_same_scene() -> None:
    files = {seed: draw_image(seed, (160, 200)) for seed in range(4)}
    assert len(set(files.values())) == 4
    for seed, data in files.items():
        assert draw_image(seed, (160, 200)) == data
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        annotation = annotate_image("k", seed, (160, 200))
        assert (annotation.key, annotation.height, annotation.width) == ("k", *pixels.shape[:2])
        assert 160 <= max(pixels.shape[:2]) <= 200
    assert len({annotate_image("k", seed, (160, 200)) for seed in files}) == 4


def test_boxes_are_tight_around_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a flat ground, no camera and one object, the box is that of the pixels that differ."""
    flat = 128
    monkeypatch.setattr(scenes, "background", lambda rng, h, w: np.full((h, w, 3), flat, np.uint8))
    monkeypatch.setattr(scenes, "_photograph", lambda rng, scene: np.round(scene).clip(0, 255).astype(np.uint8))
    arrange = scenes._arrange
    monkeypatch.setattr(scenes, "_arrange", lambda *a: [t for t in arrange(*a) if t.category][:1])
    lay = scenes._lay
    monkeypatch.setattr(
        scenes, "_lay", lambda scene, owner, thing, number, shadow: lay(scene, owner, thing, number, 0.0)
    )
    monkeypatch.setattr(cv2, "imencode", lambda _, image, __: (True, np.ascontiguousarray(image)))
    for seed in range(12):
        annotation = annotate_image("k", seed, SIZE)
        pixels = (
            np.frombuffer(draw_image(seed, SIZE), np.uint8).reshape(annotation.height, annotation.width, 3).astype(int)
        )
        rows, columns = np.nonzero((pixels != flat).any(2))
        seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert len(annotation.objects) == 1
        # Antialiasing spreads an edge over a pixel or two.
        assert np.abs(np.array(annotation.objects[0].box) - seen).max() <= 3


def test_boxes_lie_inside_and_flags_follow_their_sizes() -> None:
    things = []
    for number in range(25):
        annotation = annotate_image("k", derive_seed(0, "demo", "train", number), SIZE)
        assert annotation.checked(frozenset(CATEGORIES)) == annotation
        things += annotation.objects
    assert {thing.category for thing in things} == set(CATEGORIES)
    small = [thing for thing in things if min(thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]) < 20]
    assert small
    assert all(thing.difficult for thing in small)
    assert any(thing.truncated for thing in things)
    assert 0 < sum(thing.difficult for thing in things) < len(things) / 4
    sides = np.array([max(thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]) for thing in things])
    assert sides.max() > 3 * sides.min()


def test_covered_objects_lose_their_hidden_part() -> None:
    square = np.full((40, 40, 4), 255, np.float32)
    below = scenes._Placed(square, 10, 10, "car", "van")
    owner = np.full((80, 80), -1, np.int16)
    scene = np.zeros((80, 80, 3), np.float32)
    scenes._lay(scene, owner, below, 0, 0.0)
    scenes._lay(scene, owner, scenes._Placed(square, 10, 30), 1, 0.0)
    assert scenes._annotate(below, owner == 0) == ObjectAnnotation(
        "car", (10, 10, 50, 30), "van", difficult=False, truncated=True
    )
    scenes._lay(scene, owner, scenes._Placed(square, 10, -14), 2, 0.0)
    assert scenes._annotate(below, owner == 0) is None


def test_an_object_past_the_border_is_truncated() -> None:
    thing = scenes._Placed(np.full((40, 40, 4), 255, np.float32), -25, 60, "car", "van")
    owner = np.full((100, 80), -1, np.int16)
    scenes._lay(np.zeros((100, 80, 3), np.float32), owner, thing, 0, 0.3)
    # 15 of 40 columns are left: less than 45 percent, so it is difficult too.
    assert scenes._annotate(thing, owner == 0) == ObjectAnnotation(
        "car", (0, 60, 15, 100), "van", difficult=True, truncated=True
    )
