"""Plans of built-in recipes at round rates, for the tests of `sppnet plan`."""

from __future__ import annotations

from pathlib import Path

import yaml

from jobs.plan.corpus import Corpus, ImageSet
from jobs.plan.costs import Planner, StepCost
from jobs.plan.rates import Rates
from jobs.recipes import find_recipe
from pipelines.engine.recipe import Recipe, load_recipe

RATES = Rates(macs=1.2e11)


def steps(recipe: Recipe, rates: Rates = RATES, /, **images: int | ImageSet) -> dict[str, StepCost]:
    """Cost of each step by its name."""
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
