"""train-svms: what it refuses, and when."""

from __future__ import annotations

import pytest

from sppnet.errors import ConfigError

STEPS = ("images", "windows", "network", "maps", "svms")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"features": "fc7"}, "steps.svms.head: features fc7 need a head"),
        ({"scales": [160, 999]}, "steps.svms.scales: scale 999 is not among those of its input: 160, 240"),
        ({"split": "test"}, "steps.svms.windows: split test is not among those of its input: train, val"),
        ({"rounds": 10}, "steps.svms.rounds: input should be less than or equal to 9, got 10"),
        ({"categories": []}, "steps.svms.categories"),
        ({"c": 0}, "steps.svms.c: input should be greater than 0, got 0"),
    ],
)
def test_refused_when_the_recipe_is_read(chain, fields, message) -> None:
    with pytest.raises(ConfigError, match=message):
        chain.changed(svms=fields)


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (["car", "hose"], "step svms: categories: the images have no 'hose'; did you mean 'house'"),
        (["car", "xyz"], "step svms: categories: the images have no 'xyz'; they have: bottle, butterfly, car"),
        (["car", "house", "car"], "step svms: categories: 'car' comes twice"),
    ],
)
def test_refused_when_the_data_set_is_looked_at(chain, tmp_path, categories, message) -> None:
    """Before anything at all is computed."""
    with pytest.raises(ConfigError, match=message):
        chain.only(*STEPS).changed(svms={"categories": categories})


def test_a_category_without_objects_is_refused(chain, tmp_path) -> None:
    notes = [path.read_text() for path in (chain.data / "Annotations").glob("train_*.xml")]
    assert all("<difficult>1" in note for note in notes if "<name>flower" in note)
    copy = chain.copied(tmp_path / "ws").only(*STEPS).changed(svms={"categories": ["car", "flower"]})
    with pytest.raises(ConfigError, match="'flower' has no object in split 'train' but difficult ones; remove it"):
        copy.run()
