from __future__ import annotations

import numpy as np
import pytest

from pipelines.drawing.shapes import DISTRACTORS, SUBCATEGORIES
from pipelines.drawing.sprites import SIDE, draw_sprite

KINDS = [(category, name) for category, kinds in SUBCATEGORIES.items() for name in kinds]


def test_six_categories_of_three() -> None:
    assert [len(kinds) for kinds in SUBCATEGORIES.values()] == [3] * 6
    assert len({name for _, name in KINDS}) == 18
    assert list(SUBCATEGORIES) == sorted(SUBCATEGORIES)


@pytest.mark.parametrize(("category", "name"), KINDS)
def test_sprites_are_large_and_varied(category: str, name: str) -> None:
    draw = SUBCATEGORIES[category][name]
    first, again, other = (draw_sprite(draw, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    solid = first[:, :, 3] > 127
    assert 0.04 < solid.mean() < 0.8
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) > 0.7 * SIDE
    # Inner structure, not one flat colour.
    assert first[solid][:, :3].std(0).max() > 10


def test_subcategories_differ_in_shape_not_colour_alone() -> None:
    for kinds in SUBCATEGORIES.values():
        shapes = [
            np.mean([draw_sprite(draw, np.random.default_rng(s))[:, :, 3] > 127 for s in range(6)], axis=0)
            for draw in kinds.values()
        ]
        for i in range(3):
            for j in range(i):
                union = np.maximum(shapes[i], shapes[j]).sum()
                assert np.minimum(shapes[i], shapes[j]).sum() / union < 0.9


@pytest.mark.parametrize("draw", DISTRACTORS)
def test_distractors_are_drawn(draw: object) -> None:
    sprite = draw_sprite(draw, np.random.default_rng(0))
    assert (sprite[:, :, 3] > 127).mean() > 0.03
