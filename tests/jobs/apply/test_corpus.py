"""A command's own small recipe on top of a run: which step is meant, what is ingested, whose folder it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.apply.corpus import OWN_IMAGES, add_corpus, choose_step, making, splits_of, steps_of
from pipelines.engine.recipe import Recipe, parse_recipe
from pipelines.engine.store import Store, open_store
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


@pytest.fixture
def workspace(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "workspace"))


@pytest.mark.parametrize(
    ("corpus", "dataset"),
    [
        (["/photos"], {"root": "/photos"}),
        (["/photos/"], {"root": "/photos"}),
        (["s3://bucket/photos"], {"root": "s3://bucket/photos"}),
        (["/x/part-{0..3}.tar"], {"root": "/x", "paths": ["/x/part-{0..3}.tar"]}),
        (["/x/a", "/x/b/**/*.jpg"], {"root": "/x", "paths": ["/x/a", "/x/b/**/*.jpg"]}),
        (["/x/a", "s3://b/c"], {"root": "", "paths": ["/x/a", "s3://b/c"]}),
    ],
)
def test_a_corpus_is_ingested_without_labels(base: Recipe, workspace: Store, corpus: list[str], dataset: dict) -> None:
    steps = steps_of(base)
    assert add_corpus(corpus, base, steps, 0.25, workspace) == OWN_IMAGES
    common = {"annotations": False, "by_reference": True, "max_quarantined": 0.25}
    assert steps[OWN_IMAGES] == {"stage": "ingest", "dataset": {"kind": "images", **dataset}, **common}


def test_what_is_typed_holds_everywhere(
    base: Recipe, workspace: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list.txt").write_text("photos/a.jpg\nphotos/b.jpg\n")
    monkeypatch.chdir(tmp_path)
    for corpus, dataset in (
        (["photos"], {"root": f"{tmp_path}/photos"}),
        (["@list.txt"], {"root": f"{tmp_path}/photos", "paths": [f"@{tmp_path}/list.txt"]}),
    ):
        steps = steps_of(base)
        add_corpus(corpus, base, steps, 0.25, workspace)
        assert steps[OWN_IMAGES]["dataset"] == {"kind": "images", **dataset}


def test_what_a_shell_made_of_a_glob_travels_as_a_list(base: Recipe, workspace: Store) -> None:
    """Each unit's spec carries the config: thousands of paths would go with every task."""
    paths = [f"/photos/{number:03d}.jpg" for number in range(101)]
    steps = steps_of(base)
    add_corpus(paths, base, steps, 0.25, workspace)
    (listed,) = steps[OWN_IMAGES]["dataset"]["paths"]
    (entry,) = workspace.list("lists")
    assert listed == f"@{workspace.uri}/{entry.name}"
    assert workspace.read(entry.name).decode().split() == paths
    assert steps[OWN_IMAGES]["dataset"]["root"] == "/photos"


def test_a_step_of_the_recipe_is_a_corpus_too(base: Recipe, workspace: Store) -> None:
    steps = steps_of(base)
    assert add_corpus(["step:images"], base, steps, 0.25, workspace) == "images"
    assert OWN_IMAGES not in steps
    assert splits_of(steps, "images") == ["train", "val"]
    assert (steps["images"]["annotations"], steps["images"]["max_quarantined"]) == (False, 0.25)
    with pytest.raises(ConfigError, match="corpus step:maps: no such step ingests; these do: images"):
        add_corpus(["step:maps"], base, steps, 0.25, workspace)
    with pytest.raises(ConfigError, match="corpus step:images: a step of the recipe stands alone"):
        add_corpus(["/photos", "step:images"], base, steps, 0.25, workspace)


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        (["s3:/bucket/x"], "^s3:/bucket/x: two slashes are needed: s3://bucket/x$"),
        (["/x/t-{0..a}.tar"], r"is neither a range such as"),
        (["@/nowhere/list.txt"], r"^list /nowhere/list.txt can't be read: No such file or directory$"),
    ],
)
def test_paths_that_can_not_be_one(base: Recipe, workspace: Store, corpus: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        add_corpus(corpus, base, steps_of(base), 0.25, workspace)
