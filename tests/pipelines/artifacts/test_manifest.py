"""Manifests: how keys are cut into shards, and reading them back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.artifacts.manifest import Manifest
from pipelines.engine.workspace import Workspace
from sppnet.errors import ArtifactError, ConfigError


@given(
    st.dictionaries(st.sampled_from(["train", "val", "test"]), st.lists(st.text(min_size=1), max_size=20, unique=True)),
    st.integers(1, 7),
)
def test_cutting_keeps_every_key_in_order(splits: dict[str, list[str]], size: int) -> None:
    manifest = Manifest.cut(splits, ("car",), size)
    for split, keys in splits.items():
        units = manifest.units(split)
        assert [key for unit in units for key in manifest.keys(unit)] == keys
        assert manifest.count(split) == len(keys)
        assert all(len(manifest.keys(unit)) == size for unit in units[:-1])


def test_units_are_named_by_split_and_number() -> None:
    manifest = Manifest.cut({"train": list("abcde"), "val": []}, ("car",), 2)
    assert manifest.units("train") == ("train/000000", "train/000001", "train/000002")
    assert manifest.keys("train/000001") == ("c", "d")
    assert manifest.keys("train/000002") == ("e",)
    assert manifest.units("val") == ()


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ConfigError, match="split 'test' is not in the images; they hold: train, val"):
        Manifest.cut({"train": ["a"], "val": ["b"]}, (), 1).units("test")


def test_round_trip_through_a_workspace(tmp_path) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("images-0")
    manifest = Manifest.cut({"val": ["x"], "train": ["a", "b", "c"]}, ("dog", "cat"), 2)
    manifest.write(artifact)
    assert Manifest.read(artifact) == manifest
    Manifest.cut({"val": ["other"]}, ("dog",), 2).write(artifact)  # the first one stands
    assert Manifest.read(artifact) == manifest


def test_a_missing_manifest(tmp_path) -> None:
    with pytest.raises(ArtifactError, match=r"images-0/manifest.json does not exist"):
        Manifest.read(Workspace.open(str(tmp_path)).artifact("images-0"))


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"splits": 3, "categories": []}', b'{"splits": {}}', b"null"])
def test_a_corrupt_manifest(tmp_path, body: bytes) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("images-0")
    artifact.store.put("images-0/manifest.json", body)
    with pytest.raises(ArtifactError, match=r"manifest.json is corrupt"):
        Manifest.read(artifact)


def test_the_chain_manifest_is_that_of_its_lists(chain) -> None:
    artifact = chain.artifact("images")
    manifest = Manifest.read(artifact)
    for split in ("train", "val"):
        keys = (chain.data / "ImageSets" / "Main" / f"{split}.txt").read_text().split()
        assert [key for unit in manifest.units(split) for key in manifest.keys(unit)] == keys
    assert list(manifest.categories) == (chain.data / "categories.txt").read_text().split()
    body = json.loads(artifact.store.read(f"{artifact.name}/manifest.json"))
    assert set(body) == {"splits", "categories"}


def test_names_of_categories_are_kept(tmp_path) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("images-0")
    manifest = Manifest({"val": (("x",),)}, ("n02672831",), {"n02672831": "accordion"})
    manifest.write(artifact)
    assert Manifest.read(artifact) == manifest


def test_words_tell_categories_apart() -> None:
    manifest = Manifest({}, ("n1", "n2", "n3", "n4"), {"n1": "crane", "n2": "dog", "n3": "crane"})
    assert manifest.words() == {"n1": "crane (n1)", "n2": "dog", "n3": "crane (n3)", "n4": "n4"}
