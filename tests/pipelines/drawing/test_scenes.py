from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.voc import VocFolder
from pipelines.drawing import scenes
from pipelines.drawing.scenes import CATEGORIES, draw_dataset, draw_image
from pipelines.drawing.shapes import SUBCATEGORIES
from sppnet.errors import ConfigError
from sppnet.seeds import derive_seed


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def list(self, prefix: str = "") -> list:
        raise NotImplementedError(prefix)


def digests(root: Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "demo"
    draw_dataset(root, seed=5, train=6, val=3, size=(160, 200))
    return root


def test_is_a_voc_folder(drawn: Path) -> None:
    voc = VocFolder(Folder(drawn))
    assert voc.categories(Contents()) == CATEGORIES
    places = [place for split in ("train", "val") for place in voc.places(split)]
    assert [place.key for place in places] == [
        *(f"train_{i:05d}" for i in range(6)),
        *(f"val_{i:05d}" for i in range(3)),
    ]
    subcategories = {name for kinds in SUBCATEGORIES.values() for name in kinds}
    for place in places:
        image = voc.image(place)
        pixels = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)
        assert image.extension == "jpg"
        annotation = voc.annotation(place, 1, 1).checked(frozenset(CATEGORIES))
        annotation.check_size(pixels.shape[1], pixels.shape[0])
        assert {thing.subcategory for thing in annotation.objects} <= subcategories


def test_same_seed_same_bytes(drawn: Path, tmp_path: Path) -> None:
    draw_dataset(tmp_path / "again", seed=5, train=6, val=3, size=(160, 200))
    assert digests(tmp_path / "again") == digests(drawn)
    draw_dataset(tmp_path / "other", seed=6, train=6, val=3, size=(160, 200))
    other = digests(tmp_path / "other")
    assert all(other[name] != digest for name, digest in digests(drawn).items() if name.endswith(".jpg"))


def test_a_larger_data_set_begins_with_the_smaller(drawn: Path, tmp_path: Path) -> None:
    draw_dataset(tmp_path / "more", seed=5, train=7, val=3, size=(160, 200))
    more = digests(tmp_path / "more")
    images = {name: digest for name, digest in digests(drawn).items() if name.endswith((".jpg", ".xml"))}
    assert len(images) == 18
    assert images.items() <= more.items()


def test_a_finished_folder_is_left_alone(drawn: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in drawn.rglob("*")}
    draw_dataset(drawn, seed=5, train=6, val=3, size=(160, 200))
    assert {p: p.stat().st_mtime_ns for p in drawn.rglob("*")} == before


def test_another_data_set_is_never_overwritten(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="something else"):
        draw_dataset(drawn, seed=5, train=7, val=3, size=(160, 200))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something else"):
        draw_dataset(tmp_path, train=1, val=1, size=(64, 64))
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = scenes.draw_image

    def stop(key: str, *rest: object) -> tuple[bytes, ImageAnnotation]:
        if key == "val_00000":
            raise KeyboardInterrupt
        return real(key, *rest)

    monkeypatch.setattr(scenes, "draw_image", stop)
    with pytest.raises(KeyboardInterrupt):
        draw_dataset(tmp_path / "demo", train=1, val=1, size=(64, 80))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    draw_dataset(tmp_path / "demo", train=1, val=1, size=(64, 80))
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["train"] == 1


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    draw_dataset(tmp_path / "empty", train=1, val=1, size=(64, 80))
    draw_dataset(tmp_path / "a" / "b", train=1, val=1, size=(64, 80))
    assert digests(tmp_path / "empty") == digests(tmp_path / "a" / "b")


def test_a_place_that_cant_be_written_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't write"):
        draw_dataset(tmp_path / "file" / "demo", train=1, val=1, size=(64, 80))


@pytest.mark.parametrize("bad", [{"train": 0}, {"val": 0}, {"size": (63, 100)}, {"size": (200, 100)}])
def test_bad_numbers(tmp_path: Path, bad: dict) -> None:
    with pytest.raises(ConfigError, match="demo: train and val"):
        draw_dataset(tmp_path / "demo", **bad)


def test_boxes_are_tight_around_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a flat ground, no camera and one object, the box is that of the pixels that differ."""
    flat = 128
    monkeypatch.setattr(scenes, "background", lambda rng, h, w: np.full((h, w, 3), flat, np.uint8))
    monkeypatch.setattr(scenes, "_photograph", lambda rng, scene: np.round(scene).clip(0, 255).astype(np.uint8))
    arrange = scenes._arrange
    monkeypatch.setattr(scenes, "_arrange", lambda *a: [t for t in arrange(*a) if t.category][:1])
    lay = scenes._lay
    monkeypatch.setattr(
        scenes, "_lay", lambda scene, owner, thing, number, shadow: lay(scene, owner, thing, number, 0.0)
    )
    monkeypatch.setattr(cv2, "imencode", lambda _, image, __: (True, np.ascontiguousarray(image)))
    for seed in range(12):
        data, annotation = draw_image("k", seed)
        pixels = np.frombuffer(data, np.uint8).reshape(annotation.height, annotation.width, 3).astype(int)
        rows, columns = np.nonzero((pixels != flat).any(2))
        seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert len(annotation.objects) == 1
        # Antialiasing spreads an edge over a pixel or two.
        assert np.abs(np.array(annotation.objects[0].box) - seen).max() <= 3


def test_boxes_lie_inside_and_flags_follow_their_sizes() -> None:
    things = []
    for number in range(25):
        _, annotation = draw_image("k", derive_seed(0, "demo", "train", number))
        assert annotation.checked(frozenset(CATEGORIES)) == annotation
        things += annotation.objects
    assert {thing.category for thing in things} == set(CATEGORIES)
    small = [thing for thing in things if min(thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]) < 20]
    assert small
    assert all(thing.difficult for thing in small)
    assert any(thing.truncated for thing in things)
    assert 0 < sum(thing.difficult for thing in things) < len(things) / 4
    sides = np.array([max(thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]) for thing in things])
    assert sides.max() > 3 * sides.min()


def test_covered_objects_lose_their_hidden_part() -> None:
    square = np.full((40, 40, 4), 255, np.float32)
    below = scenes._Placed(square, 10, 10, "car", "van")
    owner = np.full((80, 80), -1, np.int16)
    scene = np.zeros((80, 80, 3), np.float32)
    scenes._lay(scene, owner, below, 0, 0.0)
    scenes._lay(scene, owner, scenes._Placed(square, 10, 30), 1, 0.0)
    assert scenes._annotate(below, owner == 0) == ObjectAnnotation(
        "car", (10, 10, 50, 30), "van", difficult=False, truncated=True
    )
    scenes._lay(scene, owner, scenes._Placed(square, 10, -14), 2, 0.0)
    assert scenes._annotate(below, owner == 0) is None


def test_an_object_past_the_border_is_truncated() -> None:
    thing = scenes._Placed(np.full((40, 40, 4), 255, np.float32), -25, 60, "car", "van")
    owner = np.full((100, 80), -1, np.int16)
    scenes._lay(np.zeros((100, 80, 3), np.float32), owner, thing, 0, 0.3)
    # 15 of 40 columns are left: less than 45 percent, so it is difficult too.
    assert scenes._annotate(thing, owner == 0) == ObjectAnnotation(
        "car", (0, 60, 15, 100), "van", difficult=True, truncated=True
    )
