"""Types in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, JsonValue, TypeAdapter

from jobs.reference.types import type_words


class Part(BaseModel):
    size: int


TYPES = [
    (int, "integer"),
    (Annotated[int, Field(ge=1, le=9)], "integer from 1 to 9"),
    (Annotated[float, Field(gt=0, lt=0.5)], "number above 0 below 0.5"),
    (bool, "true or false"),
    (str, "text"),
    (Annotated[str, Field(pattern="^a+$")], "text of the form `^a+$`"),
    (Literal["a"], "`a`"),
    (Literal["a", "b", 3], "`a`, `b` or `3`"),
    (int | Literal["auto"] | None, "integer or `auto` or null"),
    (tuple[int, ...], "list of integer"),
    (Annotated[tuple[str, ...], Field(min_length=1)], "list of text, 1 at least"),
    (tuple[int, int], "list of 2: integer"),
    (tuple[int, str], "list of 2: integer, text"),
    (Mapping[str, tuple[str, ...]], "mapping of names to list of text"),
    (Mapping[str, Any], "mapping"),
    (Mapping[str, JsonValue], "mapping of names to any value"),
    (Part, "mapping"),
    (tuple[Part, ...], "list of mapping"),
]


@pytest.mark.parametrize(("kind", "words"), TYPES, ids=[words for _, words in TYPES])
def test_a_type_is_told_in_words(kind: Any, words: str) -> None:
    assert type_words(TypeAdapter(kind).json_schema()) == words
