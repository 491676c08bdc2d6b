"""Categories that are filled in from a data set, and those that it does not have."""

from __future__ import annotations

import pytest

from pipelines.artifacts.manifest import Manifest
from pipelines.engine.store import open_store
from pipelines.finetuning.config import FinetuneConfig
from pipelines.shards.categories import ALL_CATEGORIES, fill_in
from pipelines.stages.score import ScoreConfig
from sppnet.errors import ConfigError

COMMON = {"images": "images", "windows": "windows", "maps": "maps"}


def finetune(categories: object) -> FinetuneConfig:
    return FinetuneConfig.model_validate({"stage": "finetune", **COMMON, "categories": categories})


def test_all_are_those_of_the_data_set_in_its_order() -> None:
    store, manifest = open_store("memory://categories"), Manifest({}, ("zebra", "ant"))
    manifest.write(store)
    asked = finetune("all")
    assert asked.categories == ALL_CATEGORIES
    assert fill_in(asked, store, manifest.digest) == finetune(["zebra", "ant"])


def test_what_does_not_ask_for_all_stays_as_it_is() -> None:
    store = open_store("memory://categories")
    named = finetune(["ant"])
    scores = ScoreConfig.model_validate({"stage": "score", **COMMON, "svms": "svms"})
    assert fill_in(named, store, "no such manifest") is named
    assert fill_in(scores, store, "no such manifest") is scores


def test_none_are_not_all() -> None:
    store, manifest = open_store("memory://categories"), Manifest({}, ())
    manifest.write(store)
    with pytest.raises(ConfigError, match="categories: all: the data set has none"):
        fill_in(finetune("all"), store, manifest.digest)


@pytest.mark.parametrize("wrong", ["cats", [], 3, None])
def test_a_config_takes_a_list_or_all(wrong: object) -> None:
    with pytest.raises(ValueError, match="categories"):
        finetune(wrong)
