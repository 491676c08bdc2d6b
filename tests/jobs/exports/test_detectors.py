"""What is known of a detector comes from what it was trained on, whatever images it is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.exports.detectors import detector_facts
from pipelines.artifacts.manifest import Manifest
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.runner import Engine
from sppnet.errors import ArtifactError
from tests.support.chain import CATEGORIES, Chain


def test_categories_and_numbers_of_a_detector(chain: Chain) -> None:
    steps = {step.name: step for step in chain.engine.steps}
    plain, full = (detector_facts(steps, name, chain.engine.workspace) for name in ("plain", "full"))
    assert plain.categories == CATEGORIES
    assert plain.numbers == {name: chain.manifest.categories.index(name) + 1 for name in chain.manifest.categories}
    assert (plain.regressors, full.regressors) == (False, True)
    assert plain.words == {}


def test_words_are_those_of_the_data_set(chain: Chain) -> None:
    store = chain.engine.workspace.store
    named = Manifest(chain.manifest.splits, chain.manifest.categories, {"car": "motor car"})
    named.hold(store)
    steps = {step.name: step for step in chain.engine.steps}
    steps["svms"] = replace(steps["svms"], spec=replace(steps["svms"].spec, manifest=named.digest))
    assert detector_facts(steps, "full", chain.engine.workspace).words == {"car": "motor car"}


def test_an_ensemble_has_regressors_if_a_member_has(chain: Chain) -> None:
    both = {"stage": "combine", "images": "images", "detections": ["plain", "full"]}
    again = {"stage": "combine", "images": "images", "detections": ["both"]}
    raw = {"version": 1, "name": "chain", "steps": {**chain.steps, "both": both, "again": again}}
    engine = Engine(parse_recipe(raw, "chain"), chain.engine.workspace, ())
    facts = detector_facts({step.name: step for step in engine.steps}, "again", engine.workspace)
    assert (facts.categories, facts.regressors) == (CATEGORIES, True)


def test_a_detector_that_is_not_there(chain: Chain, tmp_path: Path) -> None:
    bare = chain.copied(tmp_path / "workspace")
    with pytest.raises(ArtifactError, match=r"features.json does not exist"):
        detector_facts({step.name: step for step in bare.engine.steps}, "plain", bare.engine.workspace)
