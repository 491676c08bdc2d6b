"""What is said of categories that training images don't show."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.detecting.category_objects import check_shown, no_object_error
from pipelines.engine.stage import StageSpec
from pipelines.engine.workspace import Workspace
from pipelines.shards.writing import AnnotatedImage, write_images
from sppnet.errors import ConfigError

CATEGORIES = ("cat", "cow", "dog", "hen")


def image(key: str, *things: ObjectAnnotation) -> AnnotatedImage:
    return AnnotatedImage("jpg", b"not looked at", ImageAnnotation(key, 50, 50, things))


def thing(category: str, *, difficult: bool = False) -> ObjectAnnotation:
    return ObjectAnnotation(category, (0.0, 0.0, 10.0, 10.0), difficult=difficult)


@pytest.fixture
def spec(tmp_path: Path) -> StageSpec:
    """Two shards to train on, a cat and a difficult cow in the first, a dog in the second; a hen is elsewhere."""
    workspace = Workspace.open(str(tmp_path / "ws"))
    train = [image("a", thing("cat"), thing("cow", difficult=True)), image("b", thing("dog"))]
    splits = {"train": train, "val": [image("c", thing("hen"))]}
    manifest = write_images(workspace.artifact("images-some"), splits, CATEGORIES, 1)
    inputs = (("images", ("images-some",)),)
    return StageSpec(workspace.store.uri, "svms", "svms-some", "{}", inputs, 0, manifest.digest)


def test_all_that_are_missing_are_named_at_once(spec: StageSpec) -> None:
    check_shown(spec, ("train",), ("cat", "dog"), difficult=False)
    check_shown(spec, ("train", "val"), CATEGORIES, difficult=True)
    with pytest.raises(ConfigError) as caught:
        check_shown(spec, ("train",), CATEGORIES, difficult=False)
    assert str(caught.value) == (
        "step svms: categories 'cow', 'hen' have no object in split 'train' but difficult ones of 'cow'; "
        "remove them from categories, or set difficult: true"
    )
    with pytest.raises(ConfigError, match=r"category 'hen' has no object in split 'train'; remove it from categories$"):
        check_shown(spec, ("train",), CATEGORIES, difficult=True)


def test_a_damaged_shard_is_left_to_the_unit_that_needs_it(spec: StageSpec) -> None:
    images = Workspace.open(spec.workspace).artifact("images-some")
    for entry in images.store.list("images-some/annotations"):
        images.store.delete(entry.name)
    check_shown(spec, ("train",), ("hen",), difficult=True)


def test_no_more_shards_are_read_than_it_takes(spec: StageSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = Workspace.open(spec.workspace).artifact("images-some")
    original = type(whole).read_commit

    def counted(artifact, commit):
        read.append(commit.unit)
        return original(artifact, commit)

    monkeypatch.setattr(type(whole), "read_commit", counted)
    check_shown(spec, ("train", "val"), ("cat",), difficult=False)
    assert len(read) == 1


def test_splits_and_categories_are_told_in_one_line() -> None:
    error = no_object_error("svms", {"hen": False}, ("val1", "train"))
    assert str(error) == "step svms: category 'hen' has no object in split 'val1' or 'train'; remove it from categories"
