"""Training a category needs a detector that is there: nothing else is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.change.categories import add_category
from jobs.change.making import known_recipe, training_engine
from pipelines.engine.recipe import parse_recipe
from sppnet.errors import ConfigError
from tests.support.chain import Chain


def test_only_new_steps_have_units_to_make(chain: Chain, tmp_path: Path) -> None:
    base = parse_recipe({"version": 1, "name": "chain", "steps": chain.steps}, "chain")
    added = add_category(base, "fish", "full", None)
    engine = training_engine(added.recipe, added.trained, set(base.steps), str(chain.root))
    missing = {status.step.name for status in engine.status() if status.committed != status.total}
    assert missing == {"svms-fish", "regressors-fish"}
    assert "full" not in {step.name for step in engine.steps}
    bare = chain.copied(tmp_path / "ws", ("images", "windows", "network"))
    with pytest.raises(ConfigError, match=r"step maps has not been run in .* to its end; run the recipe first"):
        training_engine(added.recipe, added.trained, set(base.steps), str(bare.root))


def test_all_categories_are_those_of_the_data_set(chain: Chain) -> None:
    """So that one more is one more, whatever the extended data set has."""
    every = chain.changed(svms={"categories": "all"}, regressors={"categories": "all"})
    base = known_recipe(every.engine)
    assert base.steps["svms"].categories == chain.manifest.categories
    with pytest.raises(ConfigError, match="has category 'fish' already"):
        add_category(base, "fish", "full", None)
