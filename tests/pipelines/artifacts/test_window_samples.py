"""Samples in storage: block by block, and damage is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.artifacts.stepped_rows import from_steps, to_steps
from pipelines.artifacts.window_samples import (
    Block,
    Part,
    WindowSamples,
    blocks_of,
    encode_samples,
    read_block,
    told_blocks,
)
from pipelines.engine.commits import Commit, Output
from pipelines.engine.workspace import Artifact, Workspace
from sppnet.errors import ArtifactError

TOLD: list[tuple[Part, int]] = [("objects", 30), ("background", 40), ("objects", 3), ("held-out background", 2)]


def make_samples(count: int) -> WindowSamples:
    rng = np.random.default_rng(count)
    keys = np.empty(count, object)
    keys[:] = [f"im{number}" for number in range(count)]
    numbers = [rng.integers(0, 99, count).astype(np.int32) for _ in range(3)]
    vectors = (rng.random((count, 9000)) * (rng.random((count, 9000)) < 0.2)).astype(np.float16)
    return WindowSamples(keys, *numbers, rng.random(count) < 0.5, vectors)


@pytest.fixture
def artifact(tmp_path) -> Artifact:
    made = Workspace.open(str(tmp_path)).artifact("head-x")
    data = encode_samples(make_samples(rows) for _, rows in TOLD)
    made.publish("sample/train/000000", Output(data, ".parquet", 75, 1, metrics=told_blocks(TOLD)), 0)
    return made


@pytest.fixture
def commit(artifact: Artifact) -> Commit:
    return artifact.commit("sample/train/000000")


def test_a_commit_tells_its_blocks(commit: Commit) -> None:
    found = blocks_of([commit, commit])
    unit = "sample/train/000000"
    assert found["objects"] == [Block(unit, 0, 30), Block(unit, 2, 3)] * 2
    assert found["held-out background"] == [Block(unit, 3, 2)] * 2
    assert found["held-out objects"] == []
    assert (commit.metrics["objects"], commit.metrics["held_out_background"]) == (33, 2)
    for wrong in ({}, {"blocks": 3}, {"blocks": [[9, 1]]}, {"blocks": [["objects", 1]]}):
        with pytest.raises(ArtifactError, match="commit sample/train/000000 does not tell its blocks"):
            blocks_of([replace(commit, metrics=wrong)])


def test_a_block_is_read_as_it_was(artifact: Artifact, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    for block, (_, rows) in zip(
        (Block(commit.unit, number, n) for number, (_, n) in enumerate(TOLD)), TOLD, strict=True
    ):
        found, made = read_block(artifact, commit, block), make_samples(rows)
        for name in ("keys", "windows", "labels", "scales", "flipped"):
            assert np.array_equal(getattr(found, name), getattr(made, name)), name
            assert getattr(found, name).dtype == getattr(made, name).dtype, name
        assert found.vectors.dtype == np.float16
        assert np.array_equal(found.vectors, from_steps(*to_steps(made.vectors)))
    sizes: list[int] = []
    read_range = type(artifact.store).read_range
    monkeypatch.setattr(
        type(artifact.store), "read_range", lambda s, name, a, n: sizes.append(n) or read_range(s, name, a, n)
    )
    read_block(artifact, commit, Block(commit.unit, 2, 3))
    assert sum(sizes) < commit.size / 2


def test_damage_is_told(artifact: Artifact, commit: Commit) -> None:
    with pytest.raises(ArtifactError, match="head-x/sample/train/000000: has no block 0 of 31 rows"):
        read_block(artifact, commit, Block(commit.unit, 0, 31))
    with pytest.raises(ArtifactError, match="has no block 4 of 1 rows"):
        read_block(artifact, commit, Block(commit.unit, 4, 1))
    with pytest.raises(ArtifactError, match="head-x/sample/train/000000 has no data"):
        read_block(artifact, replace(commit, data=None), Block(commit.unit, 0, 30))
    path = artifact.store.root / artifact.name / commit.data
    data = bytearray(path.read_bytes())
    data[len(data) // 5] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="its pages can't be read"):
        read_block(artifact, commit, Block(commit.unit, 0, 30))
    path.write_bytes(data[:-20])
    with pytest.raises(ArtifactError, match=r"bytes instead of \d+ from byte \d+ on"):
        read_block(artifact, commit, Block(commit.unit, 0, 30))
