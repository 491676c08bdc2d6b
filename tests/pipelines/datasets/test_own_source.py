"""What is told of a user's own code that raises something: of the image, or of the machine."""

from __future__ import annotations

import errno

import pytest

from pipelines.datasets.own_source import AskedSource, named, stamp_text, texts
from pipelines.engine.memory_faults import MemoryRanOutError
from sppnet.errors import ConfigError, DataError, IncompleteError, SppError


class Source:
    splits = categories = ()

    def keys(self) -> None: ...

    def image(self) -> None: ...

    def objects(self) -> None: ...


def asked() -> AskedSource:
    source = AskedSource("their_parts:f", "", {})
    source.__dict__["source"] = Source()
    return source


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ValueError("x"), DataError),
        (SystemExit(2), DataError),
        (FileNotFoundError("x"), DataError),
        (OSError(errno.ENOSPC, "full", "/cache"), ConfigError),
        (ConnectionResetError("x"), IncompleteError),
        (MemoryError(), MemoryRanOutError),
    ],
)
def test_an_image_is_to_blame_or_the_machine(raised: BaseException, kind: type[SppError]) -> None:
    def question(_: object) -> None:
        raise raised

    with pytest.raises(SppError) as caught:
        asked().ask_image("image", "a", question)
    assert type(caught.value) is kind


def test_names_are_texts_one_by_one() -> None:
    assert texts(iter(["a", "b"])) == ("a", "b")
    for wrong in ("ab", [1]):
        with pytest.raises(TypeError, match="expected several texts"):
            texts(wrong)  # type: ignore[arg-type]
    assert next(named(f"key{number}" for number in iter(int, 1))) == "key0"  # an endless list is read as it comes


def test_a_stamp_is_a_text_or_a_number() -> None:
    assert [stamp_text(lambda split, key, found=found: found, "train", "a") for found in ("x", 1.5)] == ["x", "1.5"]
    for wrong in (None, "", b"x"):
        with pytest.raises(TypeError, match="expected a text or a number"):
            stamp_text(lambda split, key, found=wrong: found, "train", "a")
