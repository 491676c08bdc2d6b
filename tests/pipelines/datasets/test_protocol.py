from __future__ import annotations

import pytest

from pipelines.datasets.protocol import ImageFile, as_tuple, label_of


@pytest.mark.parametrize(
    ("given", "taken"), [("train", ("train",)), (["a", "b"], ["a", "b"]), (("a",), ("a",)), (None, None)]
)
def test_one_or_several(given: object, taken: object) -> None:
    assert as_tuple(given) == taken


def test_an_image_is_known_by_its_bytes_or_by_what_it_is_made_from() -> None:
    assert ImageFile(b"abc", "jpg").digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert ImageFile(b"abc", "jpg", made_from="f" * 64).digest == "f" * 64


def test_a_label_is_of_all_that_the_annotation_is_made_from() -> None:
    label = label_of("voc", annotation="ab", bad_boxes="drop")
    assert label == label_of("voc", bad_boxes="drop", annotation="ab")
    others = {
        label_of("det", annotation="ab", bad_boxes="drop"),
        label_of("voc", annotation="abc", bad_boxes="drop"),
        label_of("voc", annotation="ab", bad_boxes="error"),
        label_of("voc", annotation="ab"),
    }
    assert len(others | {label}) == 5
