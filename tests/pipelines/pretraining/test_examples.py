"""Which examples an image offers, and in which order an epoch takes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.pretraining.examples import CropExample, EpochOrder, decode_index, encode_index, examples_of
from sppnet.errors import ArtifactError


def test_an_image_offers_its_objects_or_its_one_class() -> None:
    disc, ring = ObjectAnnotation("disc", (1, 2, 30, 40), "disc-1"), ObjectAnnotation("ring", (5, 5, 50, 50))
    hard = ObjectAnnotation("bar", (5, 5, 9, 9), difficult=True)
    both, one = ImageAnnotation("a", 100, 80, (disc, ring, hard)), ImageAnnotation("b", 100, 80, (disc, disc, hard))
    assert examples_of(both, "crop", difficult=False) == [("disc-1", (1, 2, 30, 40)), ("ring", (5, 5, 50, 50))]
    by_category = examples_of(both, "crop", difficult=False, classes="category")
    assert [label for label, _ in by_category] == ["disc", "ring"]
    only = examples_of(both, "crop", difficult=False, classes="subcategory-only")
    assert only == [("disc-1", (1, 2, 30, 40))]
    assert examples_of(both, "object", difficult=True)[2] == ("bar", (5, 5, 9, 9))
    assert examples_of(both, "image", difficult=False) == []
    assert examples_of(one, "image", difficult=False) == [("disc-1", (0, 0, 100, 80))]
    assert examples_of(one, "image", difficult=True) == []


def test_an_epoch_takes_every_example_once_and_shards_in_groups() -> None:
    examples = [CropExample(f"train/{n % 6:06d}", f"k{n}", "a", (0, 0, 1, 1)) for n in range(60)]
    order = EpochOrder(examples, group=2, seed=5)
    first, second = order.take(0, 60), order.take(60, 60)
    assert Counter(first) == Counter(second) == Counter(examples)
    assert first != second
    assert order.take(50, 20) == first[50:] + second[:10]
    assert [len({example.unit for example in first[at : at + 20]}) for at in (0, 20, 40)] == [2, 2, 2]
    assert len({example.unit for example in first[:6]}) == 2
    assert EpochOrder(list(reversed(examples)), 2, 5).size == 60
    assert EpochOrder(examples, 2, 6).take(0, 60) != first


def test_the_order_does_not_depend_on_what_shards_are_called() -> None:
    """Shards are named by digests, and come in the order of the manifest."""
    called = {name: [CropExample(f"{name}{n // 4}", f"k{n}", "a", (0, 0, 1, 1)) for n in range(24)] for name in "ab"}
    called["b"] = [replace(example, unit=f"{9 - int(example.unit[1:])}") for example in called["b"]]
    orders = [[example.key for example in EpochOrder(found, 2, 5).take(0, 48)] for found in called.values()]
    assert orders[0] == orders[1]


@settings(max_examples=30)
@given(count=st.integers(1, 40), shards=st.integers(1, 7), group=st.integers(1, 9), batch=st.integers(1, 17))
def test_batches_of_any_size_go_through_whole_epochs(count: int, shards: int, group: int, batch: int) -> None:
    examples = [CropExample(f"train/{n % shards:06d}", f"k{n}", "a", (0, 0, 1, 1)) for n in range(count)]
    order = EpochOrder(examples, group, seed=0)
    taken = [example for start in range(0, 2 * count, batch) for example in order.take(start, batch)]
    assert Counter(taken[:count]) == Counter(taken[count : 2 * count]) == Counter(examples)


def test_an_index_comes_back_and_other_bytes_are_refused() -> None:
    examples = [
        CropExample("train/000003", "a", "disc", (0.5, 1, 20, 30)),
        CropExample("train/000003", "b", "x", (0, 0, 1, 1)),
    ]
    assert decode_index(encode_index("train/000003", examples), "x") == examples
    for body in (b"[]", b"{", b'{"unit": "u", "examples": [["k"]]}'):
        with pytest.raises(ArtifactError, match="somewhere is corrupt: "):
            decode_index(body, "somewhere")
