"""Manifests: shards named by their content, and reading them back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.artifacts.manifest import Manifest, Shard, name_annotations, name_images
from pipelines.engine.store import open_store
from sppnet.errors import ArtifactError, ConfigError

TRAIN = (Shard("aaa", "l-aaa", ("b", "a")), Shard("bbb", "l-bbb", ("c",), "some.tar"))
VAL = (Shard("ccc", "l-ccc", ("x", "y")),)


def make(**changes: object) -> Manifest:
    return Manifest({"train": TRAIN, "val": VAL, **changes}, ("dog", "cat"), {"dog": "hound"})


def test_shards_are_found_by_split_and_by_unit() -> None:
    manifest = make()
    assert manifest.units("train") == ("aaa", "bbb")
    assert manifest.keys("bbb") == ("c",)
    assert manifest.count("train") == 3
    assert manifest.place("bbb") == ("train", 1, TRAIN[1])
    assert [manifest.title(unit) for unit in ("aaa", "bbb", "ccc")] == ["train/000000", "train/000001", "val/000000"]
    assert manifest.annotations("ccc") == "annotations/l-ccc"


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="split 'test' is not in the images; they hold: train, val"):
        make().units("test")
    with pytest.raises(ArtifactError, match="shard zzz is not in the manifest"):
        make().keys("zzz")


def test_a_shard_of_two_splits_is_one() -> None:
    manifest = make(all=(*TRAIN, *VAL))
    assert manifest.title("ccc") == "val/000000"
    assert manifest.annotations("ccc") == "annotations/l-ccc"
    unlike = make(again=(Shard("ccc", "l-other", ("x", "y")),))
    with pytest.raises(ConfigError, match="val/000000 are in two splits with unlike annotations"):
        unlike.annotations("ccc")
    assert unlike.annotations("aaa") == "annotations/l-aaa"


def test_the_identity_of_a_split_follows_its_own_shards_only() -> None:
    before = make().identity("train")
    assert make(val=()).identity("train") == before
    relabelled = make(train=(TRAIN[0], Shard("bbb", "l-new", ("c",)))).identity("train")
    assert relabelled["images"] == before["images"]
    assert relabelled["annotations"] != before["annotations"]
    replaced = make(train=(TRAIN[0], Shard("new", "l-new", ("c",)))).identity("train")
    assert replaced["images"] != before["images"]
    assert make(train=TRAIN[::-1]).identity("train")["images"] != before["images"]
    others = Manifest({"train": TRAIN}, ("dog",)).identity("train")
    assert others["images"] == before["images"]
    assert others["annotations"] != before["annotations"]


TEXTS = st.text(min_size=1, max_size=5)


@given(st.lists(st.tuples(TEXTS, st.none() | TEXTS), min_size=1, max_size=4), st.integers(0, 3))
def test_names_follow_every_key_and_every_image(content: list[tuple[str, str | None]], place: int) -> None:
    name = name_images(content)
    assert name == name_images(list(content))
    place %= len(content)
    key, image = content[place]
    for changed in ((key + "x", image), (key, (image or "") + "x")):
        assert name_images([*content[:place], changed, *content[place + 1 :]]) != name
    assert name_images([*content, ("more", None)]) != name


def test_names_of_annotations_follow_images_labels_and_categories() -> None:
    names = {
        name_annotations("a", ("l", "m"), ("dog",)),
        name_annotations("b", ("l", "m"), ("dog",)),
        name_annotations("a", ("m", "l"), ("dog",)),
        name_annotations("a", ("l", "m"), ("dog", "cat")),
    }
    assert len(names) == 4


def test_round_trip_through_a_workspace(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    manifest = make()
    manifest.write(store)
    assert manifest.digest == make().digest
    found = Manifest.read(store, manifest.digest)
    assert found == manifest
    assert list(found.splits) == ["train", "val"]
    assert Manifest({"val": VAL, "train": TRAIN}, ("dog", "cat"), {"dog": "hound"}).digest != manifest.digest


def test_a_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"manifests/abc.json does not exist"):
        Manifest.read(open_store(str(tmp_path)), "abc")


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"splits": 3, "categories": []}', b'{"splits": {}}', b"null"])
def test_a_corrupt_manifest(tmp_path: Path, body: bytes) -> None:
    store = open_store(str(tmp_path))
    store.put("manifests/abc.json", body)
    with pytest.raises(ArtifactError, match=r"manifests/abc.json is corrupt"):
        Manifest.read(store, "abc")


def test_a_manifest_under_a_wrong_name(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    make().write(store)
    digest = make().digest
    body = json.loads(store.read(f"manifests/{digest}.json"))
    body["splits"]["val"][0][2] = ["x"]
    store.put(f"manifests/{digest}.json", json.dumps(body).encode())
    with pytest.raises(ArtifactError, match=r"is corrupt: its content is not what its name says"):
        Manifest.read(store, digest)


def test_words_of_categories() -> None:
    manifest = Manifest({}, ("n1", "n2", "n3"), {"n1": "crane", "n2": "crane"})
    assert manifest.words() == {"n1": "crane (n1)", "n2": "crane (n2)", "n3": "n3"}


def test_a_manifest_that_is_held_is_read_by_this_process_until_it_is_recorded(tmp_path: Path) -> None:
    store, other = open_store(str(tmp_path / "one")), open_store(str(tmp_path / "other"))
    manifest = make()
    manifest.hold(store)
    assert Manifest.read(store, manifest.digest) is manifest
    assert store.list() == []
    with pytest.raises(ArtifactError, match="does not exist"):
        Manifest.read(other, manifest.digest)
    manifest.write(store)
    found = Manifest.read(store, manifest.digest)
    assert found == manifest
    assert found is not manifest
