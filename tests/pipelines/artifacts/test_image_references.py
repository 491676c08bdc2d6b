"""Shards that refer to images: they come back as they were, and damage is told."""

from __future__ import annotations

import pytest

from pipelines.artifacts.image_references import (
    ImageReference,
    ReferenceShard,
    decode_references,
    encode_references,
)
from sppnet.errors import ArtifactError

SHARD = ReferenceShard(
    {"kind": "images", "root": "s3://bucket/photos", "paths": ["a", "b"]},
    "all",
    "s3://bucket/photos/part-0.tar",
    (ImageReference("one/a", "jpg", 500, 375, "ab" * 32), ImageReference("two/b", "png", 20, 30, "cd" * 32)),
)


def test_a_shard_comes_back_as_it_was() -> None:
    data = encode_references(SHARD)
    assert decode_references(data, "images-x/0") == SHARD
    assert encode_references(SHARD) == data


@pytest.mark.parametrize(
    ("old", "new"), [(b'"width":500', b'"width":"500"'), (b'"split":"all"', b'"split":null'), (b"}", b"")]
)
def test_damage_is_told(old: bytes, new: bytes) -> None:
    data = encode_references(SHARD)
    assert old in data
    with pytest.raises(ArtifactError, match="images-x/0 is corrupt"):
        decode_references(data.replace(old, new, 1), "images-x/0")
