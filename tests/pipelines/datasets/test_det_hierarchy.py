"""The DET hierarchy, from the devkit's own files."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from pipelines.datasets.det_hierarchy import DetHierarchy, Leaf, Synset, count_listed, parse_synsets
from sppnet.errors import ConfigError


@pytest.fixture(scope="module")
def devkit(shared: Path) -> Path:
    return shared / "data/ilsvrc_det"


@pytest.fixture(scope="module")
def hierarchy(devkit: Path) -> DetHierarchy:
    lists = [(path.name, path.read_bytes()) for path in devkit.glob("det_lists/train_p*/*.txt")]
    return DetHierarchy.build(parse_synsets((devkit / "meta_det.mat").read_bytes(), "meta"), count_listed(lists))


def test_the_devkit_gives_the_499_leaves(devkit: Path, hierarchy: DetHierarchy) -> None:
    wanted = json.loads((devkit / "hierarchy.json").read_text())

    def row(leaf: Leaf) -> tuple:
        return (
            *(leaf.synset.number, leaf.synset.wnid, leaf.synset.name),
            *(leaf.category.number, leaf.category.name, leaf.images, round(leaf.purity, 4)),
        )

    names = ("id", "wnid", "name", "det_category_id", "det_category", "train_pos_images", "purity")
    leaves = sorted(wanted["leaves"], key=lambda leaf: leaf["id"])
    assert [row(leaf) for leaf in hierarchy.leaves] == [tuple(leaf[name] for name in names) for leaf in leaves]
    assert len(hierarchy.leaves) == 499
    categories = [(c["det_id"], c["wnid"], c["name"], tuple(c["children"])) for c in wanted["categories"]]
    assert [(c.number, c.wnid, c.name, c.children) for c in hierarchy.categories] == categories


def test_all_815_synsets(devkit: Path) -> None:
    wanted = json.loads((devkit / "hierarchy.json").read_text())["synsets"]
    found = parse_synsets((devkit / "meta_det.mat").read_bytes(), "meta")
    assert [(s.number, s.wnid, s.name, s.children) for s in found] == [
        (s["id"], s["wnid"], s["name"], tuple(s["children"])) for s in wanted
    ]


def test_257_are_linked_and_242_are_tied_by_lists(devkit: Path) -> None:
    synsets = parse_synsets((devkit / "meta_det.mat").read_bytes(), "meta")
    assert len(DetHierarchy.build(synsets, {}).leaves) == 257


def test_the_leaf_of_an_object(hierarchy: DetHierarchy) -> None:
    cat, tabby = "n02121808", "n02123045"
    assert hierarchy.category_of[tabby] == cat
    assert hierarchy.leaf_of(cat, tabby, "ILSVRC2014_train_0000/x") == tabby
    assert hierarchy.leaf_of(cat, None, f"{tabby}/{tabby}_1") == tabby
    assert hierarchy.leaf_of(cat, None, f"ILSVRC2013_train/{tabby}/{tabby}_1") == tabby
    assert hierarchy.leaf_of(cat, None, "ILSVRC2014_train_0000/x") is None
    accordion = "n02672831"
    assert hierarchy.leaf_of(accordion, None, f"{tabby}/{tabby}_1") == accordion  # another object of a cat's image
    assert hierarchy.leaf_of(cat, accordion, "x") is None


def test_a_later_devkit_without_the_hierarchy(devkit: Path, hierarchy: DetHierarchy) -> None:
    synsets = parse_synsets((devkit / "map_det.txt").read_bytes(), "map")
    assert len(synsets) == 200
    assert (synsets[1].wnid, synsets[1].name) == ("n02691156", "airplane")
    lists = [(path.name, path.read_bytes()) for path in devkit.glob("det_lists/train_p*/*.txt")]
    found = DetHierarchy.build(synsets, count_listed(lists))
    agree = [
        hierarchy.category_of[wnid] == category
        for wnid, category in found.category_of.items()
        if wnid in hierarchy.category_of
    ]
    assert len(agree) == 499
    assert all(agree)


def test_lists_with_marks_count_positive_and_partial_images() -> None:
    text = b"ILSVRC2013_train/n00000001/a 1\nn00000001/b 0\nn00000001/c -1\nILSVRC2014_train_0000/d 1\n"
    assert count_listed([("train_7.txt", text)]) == {"n00000001": Counter({7: 2})}
    with pytest.raises(ConfigError, match=r"train.txt: expected a category's number"):
        count_listed([("train.txt", text)])


def test_ties_go_to_the_smaller_number_and_purity_is_the_share() -> None:
    synsets = [Synset(n, f"n{n:08d}", str(n), (201,) if n == 1 else ()) for n in range(1, 203)]
    built = DetHierarchy.build(synsets, {"n00000202": Counter({9: 3, 4: 3, 5: 2})})
    last = built.leaves[-1]
    assert (last.synset.number, last.category.number, last.images, last.purity) == (202, 4, 3, 0.375)
    assert built.category_of["n00000201"] == "n00000001"
    assert "n00000001" not in built.category_of


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_meta_det_is_told(devkit: Path, seed: int) -> None:
    """A byte changed in the compressed stream, or its end missing."""
    data, rng = bytearray((devkit / "meta_det.mat").read_bytes()), np.random.default_rng(seed)
    place = int(rng.integers(200, len(data) - 200))
    damaged = bytes(data[:place]) if seed % 3 == 0 else bytes([*data[:place], data[place] ^ 0xFF, *data[place + 1 :]])
    with pytest.raises(ConfigError, match=r"meta: not the devkit's meta_det.mat: not a MATLAB file"):
        parse_synsets(damaged, "meta")


def mat(**fields: object) -> bytes:
    sink = io.BytesIO()
    savemat(sink, fields)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected ILSVRC DET's synsets"),
        (b"n02672831 1 accordion\n", "expected ILSVRC DET's synsets"),
        (b"MATLAB 5.0 MAT-file" + bytes(200), "not the devkit's meta_det.mat"),
        (mat(other=np.zeros(3)), "not the devkit's meta_det.mat"),
        (mat(synsets=np.zeros(3)), "not the devkit's meta_det.mat"),
    ],
)
def test_files_that_are_none(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=f"here: {message}"):
        parse_synsets(data, "here")
