"""The statistics of a split: a unit a shard, joined; the same bits however the work is spread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts.image_tars import encode_images
from pipelines.artifacts.statistics import read_statistics
from pipelines.engine.commits import Output
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.shards.reading import decode_record, read_images
from pipelines.stages.statistics import Statistics, StatisticsConfig
from sppnet.errors import ArtifactError, ConfigError
from sppnet.images.statistics import PixelSums
from sppnet.networks.weights import read_metadata, read_safetensors
from tests.support.tiny_workspace import SIZE, make_spec, make_workspace
from tests.support.unit_list import run_units


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("statistics"), images=12, shard_size=3)


def make_config(**changes: object) -> StatisticsConfig:
    return StatisticsConfig(**{"stage": "statistics", "images": "images", "short_side": 60, "size": 48, **changes})


def make_one(workspace: Workspace, name: str, images: str = "images-tiny", reverse: bool = False) -> StageSpec:
    spec = make_spec(workspace, make_config(), name, images=images)
    for phase in build_stage(spec).phases():
        for unit in reversed(phase.units) if reverse else phase.units:
            run_unit(spec, unit)
    return spec


def test_it_is_the_statistics_of_all_images(workspace: Workspace) -> None:
    spec = make_one(workspace, "statistics-all")
    sums = PixelSums(60, 48)
    for number in range(4):
        for record in read_images(workspace.artifact("images-tiny"), f"train/{number:06d}")[0]:
            sums.add(decode_record(record))
    expected, found = sums.statistics(), read_statistics(workspace.artifact(spec.artifact))
    np.testing.assert_array_equal(found.mean_image, expected.mean_image)
    np.testing.assert_array_equal(found.covariance, expected.covariance)
    assert (found.images, found.pixels) == (12, 12 * 60 * 80)
    data = workspace.artifact(spec.artifact).read("statistics")
    tensors = read_safetensors(data)
    assert {name: (list(tensor.shape), str(tensor.dtype)) for name, tensor in tensors.items()} == {
        "mean_image": ([3, 48, 48], "torch.float32"),
        "covariance": ([3, 3], "torch.float64"),
        "eigenvalues": ([3], "torch.float64"),
        "eigenvectors": ([3, 3], "torch.float64"),
    }
    assert read_metadata(data) == {"counts": '{"images":12,"pixels":57600}'}
    np.testing.assert_array_equal(tensors["eigenvalues"].numpy(), found.colours().eigenvalues)


def test_the_order_of_units_and_the_cut_into_shards_change_nothing(tmp_path: Path, workspace: Workspace) -> None:
    one = workspace.artifact(make_one(workspace, "statistics-forth").artifact).read("statistics")
    other = workspace.artifact(make_one(workspace, "statistics-back", reverse=True).artifact).read("statistics")
    assert one == other
    recut = make_workspace(tmp_path, images=12, shard_size=5)
    assert recut.artifact(make_one(recut, "statistics-recut").artifact).read("statistics") == one


def test_a_broken_image_is_set_aside_and_counted(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, images=4, shard_size=4)
    records = list(read_images(workspace.artifact("images-tiny"), "train/000000")[0])
    records[1] = replace(records[1], data=records[1].data[:200])
    workspace.artifact("images-broken").publish("train/000000", Output(encode_images(records), ".tar", 4, 4), 0)
    spec = make_one(workspace, "statistics-broken", images="images-broken")
    commit = workspace.artifact(spec.artifact).commit("sums/train/000000")
    assert (commit.done, [(q.key, q.reason, q.stage) for q in commit.quarantined]) == (
        3,
        [("im001", "truncated", "statistics")],
    )
    assert read_statistics(workspace.artifact(spec.artifact)).images == 3


def test_an_image_that_grows_too_large_is_set_aside(workspace: Workspace) -> None:
    spec = make_spec(workspace, make_config(max_pixels=60 * 80 - 1), "statistics-limit", images="images-tiny")
    commit = run_unit(spec, "sums/train/000000")
    assert {(q.reason, q.detail) for q in commit.quarantined} == {
        ("too-large", "80 x 60 pixels at scale 60, the limit is 4799 pixels")
    }
    for number in range(1, 4):
        run_unit(spec, f"sums/train/{number:06d}")
    with pytest.raises(ConfigError, match="step statistics: split 'train': statistics need at least 2 pixels"):
        run_unit(spec, "statistics")


def test_what_is_no_statistics_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ArtifactError, match="statistics-none"):
        read_statistics(workspace.artifact("statistics-none"))
    workspace.artifact("statistics-odd").publish("statistics", Output(b"odd", ".safetensors", 1, 0), 0)
    with pytest.raises(ArtifactError, match="statistics-odd/statistics: not a data set's statistics"):
        read_statistics(workspace.artifact("statistics-odd"))
    assert SIZE == (160, 120)


def test_the_config_is_checked() -> None:
    with pytest.raises(ConfigError, match="size: 64 is larger than short_side 60"):
        Statistics.check(make_config(size=64), {})
    Statistics.check(make_config(), {})


def test_the_executor_runs_its_phases_in_turn(workspace: Workspace) -> None:
    spec = make_spec(workspace, make_config(size=32), "statistics-run", images="images-tiny")
    stage, executor = build_stage(spec), LocalExecutor()
    done = [commit.unit for phase in stage.phases() for commit in run_units(executor, spec, phase, phase.units)]
    assert done == [f"sums/train/{number:06d}" for number in range(4)] + ["statistics"]
    assert [phase.keyed for phase in stage.phases()] == [True, False]
