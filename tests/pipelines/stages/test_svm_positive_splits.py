"""Splits that give SVMs their positives only, as ILSVRC DET's train does (section 4.5)."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.artifacts.detectors import FeatureInfo
from pipelines.artifacts.stepped_rows import from_steps, to_steps
from pipelines.detecting.gathering import SHARED
from sppnet.errors import ConfigError
from tests.support.chain import CATEGORIES, Chain, Silent, accounts, equal_bytes
from tests.support.stored_rows import decode_examples
from tests.support.svm_checks import (
    STEPS,
    assemble,
    check_going_on,
    check_svm,
    data_of,
    examples,
    rows,
    windowed,
)
from tests.support.unit_list import Backwards


@pytest.fixture(scope="module")
def both(chain, tmp_path_factory) -> Chain:
    """The chain up to its SVMs, with val's objects as positives and nothing else of val."""
    copy = chain.copied(tmp_path_factory.mktemp("both") / "ws").only(*STEPS).changed(svms={"positive_splits": ["val"]})
    copy.run()
    return copy


def val_objects(both: Chain, category: str) -> list[tuple[str, int, np.ndarray, np.ndarray, float]]:
    """Rows as `rows` gives them, of val's objects of a category, pooled from its maps here."""
    features = FeatureInfo.read(both.artifact("svms")).extractor(both.artifact("maps"), both.engine.workspace)
    found = []
    for image in (image for shard in both.shards("val") for image in windowed(both, shard)):
        things = [thing for thing in image.annotation.objects if thing.category in CATEGORIES]
        for place, thing in enumerate(things):
            if thing.category == category:
                box = np.array(thing.box, np.float32)
                feature = from_steps(*to_steps(features(image.maps, image.image_wh, box[None]).numpy()))[0]
                found.append((image.key, -1 - place, box, feature, float(not thing.difficult)))
    return found


class TestPositiveSplits:
    """Section 4.5: of a split whose annotations are not exhaustive only the objects are used, as positives."""

    def test_what_train_gives_stays_the_same(self, chain, both) -> None:
        for shard in chain.shards("train"):
            unit = f"gather/{shard}"
            assert both.artifact("svms").read(unit) == chain.artifact("svms").read(unit)

    def test_val_gives_its_objects(self, both) -> None:
        for category in CATEGORIES:
            found = rows(examples(both, "gather", category, both.shards("val")))
            wanted = val_objects(both, category)
            assert [(key, window, score) for key, window, _, _, score in found] == [
                (key, window, score) for key, window, _, _, score in wanted
            ]
            assert all(equal_bytes(f[3], w[3]) and equal_bytes(f[2], w[2]) for f, w in zip(found, wanted, strict=True))

    def test_no_negative_is_vals(self, both) -> None:
        """Neither random nor hard in any round: its images are in no file but those of its own objects."""
        train, val = both.shards("train"), both.shards("val")
        keys = {key for shard in val for key in both.manifest.keys(shard)}
        assert [unit for unit in both.units("svms") if unit.endswith(tuple(val))] == [f"gather/{v}" for v in val]
        assert not rows(examples(both, "gather", SHARED, val))
        units = [unit for unit in both.units("svms") if unit.endswith(tuple(train))]
        assert len(units) == 3 * len(train)
        for unit in units:
            data = both.artifact("svms").read(unit)
            for category in (*CATEGORIES, SHARED):
                assert keys.isdisjoint(decode_examples(data, unit, category).keys)

    @pytest.mark.parametrize("number", [0, 1, 2])
    @pytest.mark.parametrize("category", CATEGORIES)
    def test_each_svm_is_train_svm_of_both_splits_examples(self, chain, both, number: int, category: str) -> None:
        more = val_objects(both, category)
        positives, negatives = assemble(both, number, category, more)
        alone, others = assemble(chain, number, category)
        assert len(positives) == len(alone) + sum(row[4] > 0 for row in more) > len(alone)
        if number == 0:
            assert equal_bytes(negatives, others)
        check_svm(both, number, category, positives, negatives)

    def test_every_key_is_done_or_quarantined(self, both) -> None:
        found = list(accounts(both, "svms"))
        assert len(found) == 3 * len(both.shards("train")) + len(both.shards("val"))
        assert [have for _, have, _ in found] == [want for _, _, want in found]
        manifest, summary = both.manifest, both.summaries["svms"]
        assert summary.keys == manifest.count("train") + manifest.count("val")  # each once, whatever the phases
        assert summary.done + len(summary.quarantined) == summary.keys

    def test_the_order_of_units_does_not_matter(self, both, tmp_path) -> None:
        copy = both.copied(tmp_path / "ws").only(*STEPS)
        copy.engine.run(Backwards(), Silent())
        assert data_of(copy, "svms") == data_of(both, "svms")

    def test_a_run_goes_on_where_it_stopped(self, both, tmp_path) -> None:
        gone = {both.unit("gather/val/000000"), both.unit("mine-1/train/000001"), "solve-2/car"}
        check_going_on(both, tmp_path / "ws", gone)

    def test_a_split_that_windows_or_maps_lack_is_refused(self, chain) -> None:
        message = "steps.svms.windows: split test is not among those of its input: train, val"
        with pytest.raises(ConfigError, match=message):
            chain.changed(svms={"positive_splits": ["val", "test"]})
        with pytest.raises(ConfigError, match=r"steps\.svms\.maps: split val is not among those of its input: train"):
            chain.only(*STEPS).changed(svms={"positive_splits": ["val"]}, maps={"splits": ["train"]})

    def test_a_split_in_two_roles_is_refused(self, chain) -> None:
        with pytest.raises(ConfigError, match=r"steps\.svms\.positive_splits: 'train' comes twice"):
            chain.changed(svms={"positive_splits": ["val", "train"]})

    def test_other_positives_are_other_svms(self, chain, both) -> None:
        assert both.step("svms").spec.artifact != chain.step("svms").spec.artifact
