"""propose: the windows are selective search's, seeded by the image's key."""

from __future__ import annotations

import numpy as np
import pytest
from chain import accounts, equal_bytes

from pipelines.schemas import decode_windows
from pipelines.tars import decode_images
from sppnet.errors import ConfigError
from sppnet.images import decode_image
from sppnet.seeds import derive_seed
from sppnet.selective_search import selective_search


def test_windows_are_those_of_selective_search(chain) -> None:
    for unit in ("train/000001", "val/000001"):
        rows = {row.key: row for row in decode_windows(chain.artifact("windows").read(unit), unit)}
        for record in decode_images(chain.artifact("images").read(unit), unit):
            image = decode_image(record.data)
            expected = selective_search(image, max_windows=150, seed=derive_seed(0, "propose", record.key))
            if record.key == "thin":
                assert record.key not in rows
                assert len(expected) == 0
                continue
            assert equal_bytes(rows[record.key].windows, expected)
            assert (rows[record.key].height, rows[record.key].width) == image.shape[:2]


def test_windows_lie_in_their_image_and_have_the_smallest_side(chain) -> None:
    for unit in chain.units("windows"):
        for row in decode_windows(chain.artifact("windows").read(unit), unit):
            low, high = row.windows[:, :2], row.windows[:, 2:]
            assert (low >= 0).all()
            assert (high <= [row.width, row.height]).all()
            assert ((high - low) >= 20).all()
            assert 0 < len(row.windows) <= 150


def test_every_key_is_done_or_quarantined(chain) -> None:
    rows = list(accounts(chain, "windows"))
    assert [found for _, found, _ in rows] == [wanted for _, _, wanted in rows] == [5, 5, 4, 5, 1]
    summary = chain.summaries["windows"]
    assert (summary.keys, summary.done, summary.own_quarantined) == (20, 18, 1)
    reasons = {(q.key, q.reason, q.stage) for q in summary.quarantined}
    assert reasons == {("broken", "truncated", "ingest"), ("thin", "no-windows", "propose")}


def test_the_seed_and_the_parameters_change_the_artifact(chain) -> None:
    name = chain.step("windows").spec.artifact
    assert chain.changed(windows={"min_side": 24}).step("windows").spec.artifact != name
    assert chain.changed(windows={"selective_search": {"k": [50]}}).step("windows").spec.artifact != name
    fewer = chain.only("images", "windows").changed(windows={"splits": ["train"]})
    assert fewer.step("windows").spec.artifact == name
    reseeded = chain.changed(seed=1)
    assert reseeded.step("windows").spec.artifact != name
    assert reseeded.step("images").spec.artifact == chain.step("images").spec.artifact


def test_other_seeds_reorder_windows_only(chain) -> None:
    """Priorities are random, the hierarchy is not: all windows together are the same set."""
    unit = "val/000001"
    (record,) = decode_images(chain.artifact("images").read(unit), unit)
    image = decode_image(record.data)
    one, other = (selective_search(image, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one, other)
    assert set(map(tuple, one.tolist())) == set(map(tuple, other.tolist()))


def test_adding_a_split_makes_only_its_units(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws", ("images",)).only("images", "windows")
    first = copy.changed(windows={"splits": ["val"]})
    first.run()
    before = {unit: first.artifact("windows").commit(unit) for unit in first.units("windows")}
    assert set(before) == {"val/000000", "val/000001"}
    both = copy.changed(windows={"splits": ["train", "val"]})
    both.run()
    assert both.step("windows").spec.artifact == first.step("windows").spec.artifact
    assert len(both.artifact("windows").committed()) == 5
    assert all(both.artifact("windows").commit(unit) == commit for unit, commit in before.items())


def test_a_split_that_is_not_ingested_is_refused(chain) -> None:
    with pytest.raises(ConfigError, match=r"steps.windows.splits: split test is not among .*: train, val"):
        chain.changed(windows={"splits": ["train", "test"]})
