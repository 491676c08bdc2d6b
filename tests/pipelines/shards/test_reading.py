"""Names of maps, and the shards of several splits."""

from __future__ import annotations

import pytest

from pipelines.artifacts.manifest import Manifest, Shard
from pipelines.shards.reading import map_unit, parse_map_unit, splits_units
from sppnet.errors import ConfigError


@pytest.mark.parametrize(
    ("scale", "flipped", "name"), [(688, False, "s0688/abc"), (688, True, "s0688f/abc"), (1200, False, "s1200/abc")]
)
def test_names_of_maps(scale: int, flipped: bool, name: str) -> None:
    assert map_unit(scale, "abc", flipped=flipped) == name
    assert parse_map_unit(name) == (scale, "abc", flipped)


def test_shards_of_several_splits_come_once() -> None:
    one, two, both = (Shard(name, f"{name}-labels", (name,)) for name in ("one", "two", "both"))
    manifest = Manifest({"train": (one, both), "val": (both, two), "test": ()}, ("car",))
    assert splits_units(manifest, ("train", "val")) == ("one", "both", "two")
    assert splits_units(manifest, ("val", "train")) == ("both", "two", "one")
    assert splits_units(manifest, ()) == splits_units(manifest, ("test",)) == ()
    with pytest.raises(ConfigError, match="'trian'"):
        splits_units(manifest, ("train", "trian"))
