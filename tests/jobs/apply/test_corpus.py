"""A command's own small recipe on top of a run: which step is meant, what is ingested, whose folder it is."""

from __future__ import annotations

import json

import pytest

from jobs.apply.corpus import OWN_IMAGES, add_corpus, choose_step, claim, making, splits_of, steps_of, write_ledger
from pipelines.engine.recipe import Recipe, parse_recipe
from pipelines.engine.store import open_store
from pipelines.engine.workspace import Commit, Quarantined
from sppnet.errors import ConfigError
from tests.support.chain import Chain


@pytest.fixture
def base(chain: Chain) -> Recipe:
    return parse_recipe({"version": 1, "name": "chain", "steps": chain.steps}, "chain")


def test_steps_are_found_by_what_they_make(base: Recipe) -> None:
    assert making(base, "detections") == ["plain", "full"]
    assert making(base, "network") == ["network"]
    assert making(None, "network") == []
    assert steps_of(None) == {}


def test_the_only_step_is_chosen_and_of_several_the_named_one(base: Recipe) -> None:
    assert choose_step(base, "network", None, "--step") == "network"
    assert choose_step(base, "detections", "full", "--detector") == "full"


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("detections", None, "name the step by --by; these make detections: plain, full"),
        ("head", None, "name the step by --by; these make head: none"),
        ("detections", "svms", "--by svms: makes no detections; these do: plain, full"),
    ],
)
def test_a_step_that_can_not_be_meant(base: Recipe, kind: str, given: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_step(base, kind, given, "--by")


@pytest.mark.parametrize(
    ("corpus", "dataset"),
    [
        ("/photos", {"kind": "images", "root": "/photos"}),
        ("/x/part-{0..3}.tar", {"kind": "tars", "splits": {"all": ["/x/part-{0..3}.tar"]}, "labelled": False}),
    ],
)
def test_a_corpus_is_ingested_as_folder_or_as_tars(base: Recipe, corpus: str, dataset: dict) -> None:
    steps = steps_of(base)
    assert add_corpus(corpus, base, steps, 0.25) == OWN_IMAGES
    assert steps[OWN_IMAGES] == {"stage": "ingest", "dataset": dataset, "max_quarantined": 0.25}


def test_a_step_of_the_recipe_is_a_corpus_too(base: Recipe) -> None:
    steps = steps_of(base)
    assert add_corpus("step:images", base, steps, 0.25) == "images"
    assert OWN_IMAGES not in steps
    assert splits_of(steps, "images") == ["train", "val"]
    with pytest.raises(ConfigError, match="corpus step:maps: no such step ingests; these do: images"):
        add_corpus("step:maps", base, steps, 0.25)


def test_a_folder_belongs_to_one_artifact(tmp_path) -> None:
    store = open_store(str(tmp_path))
    claim(store, "out", {"labels": ["a"]}, "scores-1")
    claim(store, "out", {"labels": ["a"]}, "scores-1")
    assert json.loads((tmp_path / "output.json").read_text()) == {"artifact": "scores-1", "labels": ["a"]}
    with pytest.raises(ConfigError, match="--out out: holds the results of another command, model or corpus"):
        claim(store, "out", {"labels": ["a"]}, "scores-2")
    (tmp_path / "output.json").write_text("[]")
    with pytest.raises(ConfigError, match="--out out: holds the results of another"):
        claim(store, "out", {}, "scores-1")


def test_the_ledger_has_a_line_for_each_image_set_aside(tmp_path) -> None:
    aside = (Quarantined("k1", "truncated", "cut", "ingest"), Quarantined("k2", "truncated", "cut", "ingest"))
    commit = Commit("c0ffee", "a", None, 0, None, 0, 3, aside, 1.0, {}, "host", 1.0, {})
    assert write_ledger(open_store(str(tmp_path)), [commit], {"c0ffee": "all/000000"}.__getitem__) == {
        "quarantined": 2,
        "reasons": {"truncated": 2},
    }
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert [(line["shard"], line["key"], line["reason"], line["stage"]) for line in lines] == [
        ("all/000000", "k1", "truncated", "ingest"),
        ("all/000000", "k2", "truncated", "ingest"),
    ]
