"""Maps made on the spot: those of `extract`, a few decoded ahead, made when they are asked for and not before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.artifacts.windows_and_maps import decode_maps
from pipelines.shards import convolving, made_maps
from pipelines.shards.made_maps import MadeMaps
from sppnet.errors import ArtifactError, DataError
from tests.support.chain import SCALES, Chain


def source(chain: Chain, **fields: object) -> MadeMaps:
    return replace(MadeMaps(chain.artifact("images"), chain.artifact("maps"), SCALES), **fields)  # type: ignore[arg-type]


def keys(chain: Chain, unit: str) -> list[str]:
    return [record.key for record in chain.records(unit)]


def stored(chain: Chain, unit: str, scale: int) -> dict[str, np.ndarray]:
    name = f"s{scale:04d}/{unit}"
    return {row.key: row.map for row in decode_maps(chain.artifact("maps").read(name), name)}


@pytest.mark.parametrize("batch", [1, 2])
def test_they_are_those_that_extract_stores(chain: Chain, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = chain.unit("train/000000")
    real = made_maps._map_maker

    def maker(*given):
        found = real(*given)
        monkeypatch.setattr(found, "batch", batch)
        return found

    monkeypatch.setattr(made_maps, "_map_maker", maker)
    read = source(chain).open(unit, (), frozenset())
    expected = {scale: stored(chain, unit, scale) for scale in SCALES}
    for key in keys(chain, unit):
        maps = read(key)
        assert list(maps) == list(SCALES)
        assert len(maps) == len(SCALES)
        for scale in SCALES:
            found = np.asarray(maps[scale])
            assert found.dtype == np.float16
            assert found.tobytes() == expected[scale][key].tobytes()


def test_only_images_whose_maps_are_asked_for_are_convolved(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = chain.unit("train/000000")
    convolved: list[int] = []
    real = made_maps._map_maker

    def maker(*given):
        made = real(*given)

        class Counting:
            batch, device = 1, made.device

            def __call__(self, images, scales, *, flipped=False):
                convolved.append(len(images))
                return made(images, scales, flipped=flipped)

        return Counting()

    monkeypatch.setattr(made_maps, "_map_maker", maker)
    read = source(chain).open(unit, (), frozenset())
    first, *rest = keys(chain, unit)
    maps = read(first)
    assert convolved == []
    assert np.asarray(maps[SCALES[0]]).any()
    assert np.asarray(maps[SCALES[1]]).any()
    assert convolved == [1]
    read(rest[-1])  # those in between are passed over
    assert convolved == [1]


def test_mirrored_maps_are_those_of_mirrored_images(chain: Chain) -> None:
    unit = chain.unit("train/000000")
    (key, *_) = keys(chain, unit)
    plain, mirrored = (source(chain, flipped=way).open(unit, (), frozenset())(key) for way in (False, True))
    assert torch.as_tensor(plain[SCALES[0]]).shape == torch.as_tensor(mirrored[SCALES[0]]).shape
    assert np.asarray(plain[SCALES[0]]).tobytes() != np.asarray(mirrored[SCALES[0]]).tobytes()


def test_an_image_that_can_not_be_convolved_sets_itself_aside_only(chain: Chain, monkeypatch) -> None:
    unit = chain.unit("train/000000")
    first, second, *_ = keys(chain, unit)

    def check(size, scale, most):
        if not calls:
            calls.append(1)
            raise DataError("too-large", "as told")

    calls: list[int] = []
    monkeypatch.setattr(convolving, "check_scale", check)
    read = source(chain).open(unit, (), frozenset())
    broken, good = read(first), read(second)
    for _ in range(2):
        with pytest.raises(DataError, match="as told"):
            broken[SCALES[0]]
    assert np.asarray(good[SCALES[0]]).tobytes() == stored(chain, unit, SCALES[0])[second].tobytes()


def test_an_image_that_is_not_there_is_told(chain: Chain) -> None:
    unit = chain.unit("train/000000")
    with pytest.raises(ArtifactError, match="has no image nothing where its maps are wanted"):
        source(chain).open(unit, (), frozenset())("nothing")
