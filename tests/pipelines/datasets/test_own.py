"""Data sets that a user's own code reads: ingested, looked at again, and what it may do wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from pipelines.datasets import own
from pipelines.datasets.contents import Contents
from pipelines.datasets.kinds import parse_dataset
from pipelines.datasets.own import OwnDataset, OwnImages
from pipelines.engine.own_code import named_parts, parts_of
from pipelines.engine.recipe import load_recipe, parse_recipe
from pipelines.stages.ingest import IngestConfig
from sppnet import own_parts
from sppnet.errors import ConfigError, IncompleteError
from tests.support.chain import write_recipe
from tests.support.ingested import ingest, write_images

Write = Callable[..., str]
PHOTOS = """
from pathlib import Path

READ = []

class Photos:
    categories = ("cat", "dog")

    def __init__(self, root, *, splits=("train", "val")):
        self.root, self.splits = Path(root), splits

    def keys(self, split):
        return sorted(path.stem for path in (self.root / split).glob("*.png"))

    def image(self, split, key):
        READ.append(key)
        return (self.root / split / f"{key}.png").read_bytes()

    def objects(self, split, key):
        if key == "c":
            return [{"category": "dog"}]
        return [{"category": "cat", "box": [1, 2, 11, 12.5], "difficult": key == "b"}]
"""


@pytest.fixture
def photos(own_module: Write, tmp_path: Path) -> dict[str, Any]:
    """A data set of three images of 40 x 30 pixels, which may be read."""
    write_images(tmp_path / "data", "train/a.png", "train/b.png", "val/c.png")
    return allowed(own_module, tmp_path, PHOTOS)


def allowed(own_module: Write, tmp_path: Path, text: str) -> dict[str, Any]:
    own_module(text)
    own_parts.allow("their_parts:Photos")
    return {"kind": "their_parts:Photos", "root": str(tmp_path / "data")}


def opened(dataset: dict[str, Any]) -> OwnImages:
    found = parse_dataset(dataset).open()
    assert isinstance(found, OwnImages)
    return found


def test_is_ingested_like_any_other(photos: dict[str, Any], tmp_path: Path) -> None:
    found = ingest(photos, tmp_path / "workspace")
    assert sorted(found.done) == ["a", "b", "c"]
    assert not found.aside
    (thing,) = found.done["b"].objects
    assert (thing.category, thing.box, thing.difficult) == ("cat", (1.0, 2.0, 11.0, 12.5), True)
    assert found.done["c"].objects[0].box == (0.0, 0.0, 40.0, 30.0)  # no box: all of the image
    assert found.chain.manifest.categories == ("cat", "dog")


def test_an_edited_source_that_reads_the_same_makes_nothing_anew(
    photos: dict[str, Any], own_module: Write, tmp_path: Path
) -> None:
    first = ingest(photos, tmp_path / "workspace").chain.artifact("images").name
    allowed(own_module, tmp_path, PHOTOS + "\n# edited\n")
    assert ingest(photos, tmp_path / "workspace").chain.artifact("images").name == first
    config = IngestConfig(stage="ingest", dataset=photos)
    assert list(named_parts(config)) == [("dataset.kind", "their_parts:Photos")]
    assert [part.path for part in parts_of([config])] == ["their_parts:Photos"]  # workers must have the same
    assert parts_of([config], followed=True) == ()


def test_images_with_a_known_stamp_are_not_read_again(own_module: Write, tmp_path: Path) -> None:
    write_images(tmp_path / "data", "train/a.png", "train/b.png", "val/c.png")
    stamped = PHOTOS + "\n    def stamp(self, split, key):\n        return key\n"
    for text, read in ((PHOTOS, ["a", "b"]), (stamped, [])):
        dataset = allowed(own_module, tmp_path, text)
        contents = Contents()
        before = opened(dataset).items("train", contents)
        log = sys.modules["their_parts"].READ
        log.clear()
        again = Contents.decode(contents.encode(), "contents")
        assert opened(dataset).items("train", again) == before
        assert sorted(log) == read


def test_options_and_splits_are_the_recipes(photos: dict[str, Any]) -> None:
    assert opened(photos).splits == ("train", "val")
    assert opened({**photos, "options": {"splits": ["val"]}}).splits == ("val",)
    assert opened({**photos, "splits": ["val"]}).splits == ("val",)
    with pytest.raises(ConfigError, match="no split 'test' in the data set; it has: train, val"):
        assert opened({**photos, "splits": ["test"]}).splits
    with pytest.raises(ConfigError, match=r"the factory raised TypeError: .*'colour'"):
        assert opened({**photos, "options": {"colour": 1}}).splits


def test_parts_of_joined_data_sets_are_named_by_their_place() -> None:
    parts = [{"kind": "images", "root": "x"}, {"kind": "their_parts:Photos"}]
    config = IngestConfig(stage="ingest", dataset={"kind": "joined", "parts": parts})
    assert list(named_parts(config)) == [("dataset.parts.1.kind", "their_parts:Photos")]


def test_only_the_recipe_that_is_run_may_name_code(own_module: Write, tmp_path: Path) -> None:
    own_module(PHOTOS)
    write_images(tmp_path / "data", "train/a.png")
    steps = {"images": {"stage": "ingest", "dataset": {"kind": "their_parts:Photos", "root": str(tmp_path / "data")}}}
    with pytest.raises(ConfigError, match=r"steps.images.dataset.kind: their_parts:Photos names code, which is run"):
        parse_recipe({"version": 1, "name": "recorded", "steps": steps}, "recorded")
    assert "their_parts" not in sys.modules
    load_recipe(write_recipe(tmp_path / "own.yaml", steps))
    assert "their_parts" in sys.modules


def test_names_of_entry_points_become_import_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("photos", "their_parts:Photos", "sppnet.datasets")
    monkeypatch.setattr(own_parts, "entry_points", EntryPoints([point]).select)
    assert parse_dataset({"kind": "photos"}) == OwnDataset(kind="their_parts:Photos")
    twice = EntryPoints([point, EntryPoint("photos", "other:Photos", "sppnet.datasets")])
    monkeypatch.setattr(own_parts, "entry_points", twice.select)
    with pytest.raises(PydanticCustomError, match="entry point of several packages"):
        parse_dataset({"kind": "photos"})


READ = 'return (self.root / split / f"{key}.png").read_bytes()'
BOX, CAT, FLAG = '"box": [1, 2, 11, 12.5]', '"category": "cat"', '"difficult": key == "b"'


@pytest.mark.parametrize(
    ("was", "becomes", "reason", "detail"),
    [
        (READ, "return 1 / 0", "own-dataset", "image of 'a' raised ZeroDivisionError: division by zero"),
        (READ, "return 'x'", "own-dataset", "image of 'a' is a str, expected bytes"),
        ("return [{" + CAT, "return 1 / 0, [{" + CAT, "own-dataset", "objects of 'a' raised ZeroDivisionError"),
        ("return [{" + CAT, "return ['x', {" + CAT, "bad-annotation", "an object is 'x', expected a mapping"),
        (BOX, '"box": [1, 2, "x"]', "bad-annotation", "an object's numbers: ValueError"),
        (BOX, '"box": [1, 2, 90, 9]', "box-outside-image", "leaves the image of 40 x 30"),
        (CAT, '"category": 3', "bad-annotation", "an object's category is 3, subcategory None"),
        (CAT, '"category": "cow"', "unknown-category", "'cow' is not a category of this data set"),
        (READ, "return None", "own-dataset", "image of 'a' is a NoneType, expected bytes"),
        (READ, "return b''", "not-an-image", "0 bytes"),
        (FLAG, '"colour": 1', "bad-annotation", "an object has 'colour', known are category, box"),
    ],
)
def test_what_goes_wrong_with_an_image_sets_it_aside(
    own_module: Write, tmp_path: Path, was: str, becomes: str, reason: str, detail: str
) -> None:
    write_images(tmp_path / "data", "train/a.png", "val/c.png")
    assert was in PHOTOS
    found = ingest(allowed(own_module, tmp_path, PHOTOS.replace(was, becomes)), tmp_path / "workspace")
    assert found.aside["a"] == reason
    assert detail in found.details["a"]


@pytest.mark.parametrize(
    ("was", "becomes", "expected"),
    [
        ("def keys(self", "def names(self", "gave a Photos without keys"),
        ('categories = ("cat", "dog")', 'categories = "cat"', "categories raised TypeError: expected several texts"),
        ('categories = ("cat", "dog")', 'categories = ("cat", "cat")', "names the category 'cat' twice"),
        ("return sorted(path.stem", "return [] and sorted(path.stem", "split 'train' has no images"),
        ("return sorted(path.stem", "return 2 * sorted(path.stem", "split 'train' lists 'a' twice"),
        ("return sorted(path.stem", "return 1 / 0, sorted(path.stem", r"keys\('train'\) raised ZeroDivisionError"),
        ("return sorted(path.stem", "return None and sorted(path.stem", "NoneType' object is not iterable"),
        ("return sorted(path.stem", "yield ''; return sorted(path.stem", "a key of split 'train' is empty"),
        ("return sorted(path.stem", "yield 'a'; 1 / 0; (path.stem", r"keys\('train'\) raised ZeroDivisionError"),
        (
            'return sorted(path.stem for path in (self.root / split).glob("*.png"))',
            'return ["a"]',
            "is another image in",
        ),
        (
            'splits=("train", "val")',
            'splits=("train", "train")',
            "split 'train': expected a name without '/', each once",
        ),
        ('splits=("train", "val")', 'splits=("../train",)', "split '../train': expected a name without '/'"),
        ('categories = ("cat", "dog")', 'categories = ("cat", "")', "names the category ''"),
        ("def keys(self", "def stamp(self, split, key): pass\n    def keys(self", "a text or a number, got None"),
        (READ, "raise OSError(28, 'no space', '/cache')", "can't write /cache: the disk is full"),
        ("return sorted(path.stem", 'return ["e\u0301"] + sorted(path.stem', "composed form"),
    ],
)
def test_what_a_run_can_not_do_without_ends_it(
    own_module: Write, tmp_path: Path, was: str, becomes: str, expected: str
) -> None:
    write_images(tmp_path / "data", "train/a.png", "val/c.png")
    assert was in PHOTOS
    with pytest.raises(ConfigError, match=expected) as caught:
        ingest(allowed(own_module, tmp_path, PHOTOS.replace(was, becomes)), tmp_path / "workspace")
    assert "\n" not in str(caught.value)
    assert "their_parts:Photos" in str(caught.value) or "disk" in expected


COUNTED = "CALLS = iter(range(99))\n" + PHOTOS


@pytest.mark.parametrize(
    ("was", "becomes", "what"),
    [
        (READ, f"{READ} + bytes([next(CALLS)])", "train/000000"),
        (BOX, '"box": [1, 2, 11, 20 + next(CALLS) % 7]', "annotations of train/000000"),
    ],
)
def test_a_source_that_gives_something_else_at_each_call_ends_the_run(
    own_module: Write, tmp_path: Path, was: str, becomes: str, what: str
) -> None:
    write_images(tmp_path / "data", "train/a.png", "train/b.png")
    dataset = allowed(own_module, tmp_path, COUNTED.replace(was, becomes)) | {"splits": ["train"]}
    with pytest.raises(ConfigError, match=f"{what}: .*; their_parts:Photos must give the same bytes and objects at"):
        ingest(dataset, tmp_path / "workspace")


def test_objects_that_can_be_had_once_are_not_lost(own_module: Write, tmp_path: Path) -> None:
    """What an annotation's label was made from is the annotation, though the source has nothing left."""
    write_images(tmp_path / "data", "train/a.png", "val/c.png")
    begin = "def objects(self, split, key):"
    once = PHOTOS.replace(
        begin, f"{begin}\n        if vars(self).setdefault(key, 0): return []\n        vars(self)[key] = 1"
    )
    found = ingest(allowed(own_module, tmp_path, once), tmp_path / "workspace")
    assert [len(found.done[key].objects) for key in "ac"] == [1, 1]


@pytest.mark.parametrize("what", ["image", "objects"])
def test_a_connection_that_fails_sets_no_image_aside(own_module: Write, tmp_path: Path, what: str) -> None:
    write_images(tmp_path / "data", "train/a.png", "val/c.png")
    begin = f"def {what}(self, split, key):"
    text = PHOTOS.replace(begin, f"{begin}\n        raise TimeoutError('slow')")
    with pytest.raises(IncompleteError, match=f"^their_parts:Photos: {what} of 'a' raised TimeoutError: slow$"):
        ingest(allowed(own_module, tmp_path, text), tmp_path / "workspace")


def test_a_long_list_of_images_is_told_of_while_it_is_made(
    photos: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own, "_TOLD_EVERY_SECONDS", -1.0)
    assert opened(photos).count("train") == 2
    assert "their_parts:Photos: listing split train: 2 images so far" in caplog.messages
