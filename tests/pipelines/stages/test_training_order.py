"""SVMs and regressors don't depend on how many workers make them, in which order, or how images are cut into shards.

Equal to the last bit, workers having one BLAS thread each: pool5 features are maxima and the solver is one thread's,
but scores are sums by BLAS, whose order may change with its number of threads (seen here only in the last bits).
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch

from pipelines.engine.stage import StageSpec
from pipelines.engine.work import run_unit
from pipelines.engine.workspace import Workspace
from tests.support.tiny_training import make_training_workspace, regressors_spec, svms_spec, train, trained
from tests.support.waiting import PATIENCE

ROUNDS = 2
LIMITS = {"max_positives": 9, "max_random_negatives": 60, "max_object_negatives": 12, "max_hard_negatives": 40}
LIMITS["hard_share"] = 4  # a shard's own limit follows how images are cut into shards


def work(spec: StageSpec, unit: str) -> int:
    torch.set_num_threads(1)
    run_unit(spec, unit)
    return os.getpid()


def shuffled(seed: int):
    return lambda units: random.Random(seed).sample(units, len(units))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_training_workspace(tmp_path_factory.mktemp("order"), images=20, shard_size=4)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def data_of(workspace: Workspace, artifact: str) -> dict[str, bytes]:
    found = workspace.artifact(artifact)
    return {unit: found.read(unit) for unit in found.committed()}


@pytest.fixture(scope="module")
def alone(workspace: Workspace) -> dict[str, tuple[dict[str, bytes], dict[str, bytes]]]:
    """What one worker makes of all shards in their order, with and without limits."""
    found = {}
    for name, limits in (("all", {}), ("limited", LIMITS)):
        train(svms_spec(workspace, f"svms-{name}", rounds=ROUNDS, **limits))
        train(regressors_spec(workspace, f"regressors-{name}", max_examples=40 if limits else 1000))
        found[name] = data_of(workspace, f"svms-{name}"), data_of(workspace, f"regressors-{name}")
    return found


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_two_and_four_workers_give_the_bytes_of_one(workspace: Workspace, alone, workers: int) -> None:
    """Stateless units in processes of their own, from a shuffled queue."""
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        processes: set[int] = set()

        def run(spec: StageSpec, units: list[str]) -> None:
            processes.update(pool.map(work, [spec] * len(units), units, timeout=PATIENCE))

        for name, limits in (("all", {}), ("limited", LIMITS)):
            svms, regressors = f"svms-{name}{workers}", f"regressors-{name}{workers}"
            train(svms_spec(workspace, svms, rounds=ROUNDS, **limits), shuffled(workers), run)
            train(regressors_spec(workspace, regressors, max_examples=40 if limits else 1000), shuffled(3), run)
            assert data_of(workspace, svms) == alone[name][0]
            assert data_of(workspace, regressors) == alone[name][1]
        assert len(processes) > 1


@pytest.mark.parametrize("limits", [{}, LIMITS], ids=["all", "limited"])
def test_shards_may_be_cut_otherwise(workspace: Workspace, tmp_path, limits) -> None:
    other = make_training_workspace(tmp_path, images=20, shard_size=7)
    here = trained(train(svms_spec(workspace, f"svms-here{len(limits)}", **limits)))
    there = trained(train(svms_spec(other, **limits)))
    # The mean norm is summed shard by shard: its last bit may differ.
    assert here.feature_scale == pytest.approx(there.feature_scale, rel=1e-12)
    np.testing.assert_allclose(here.weights, there.weights, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(here.biases, there.biases, rtol=1e-4)


def test_the_number_of_threads_changes_last_bits_at_most(workspace: Workspace) -> None:
    one = trained(train(svms_spec(workspace, "svms-one-thread")))
    torch.set_num_threads(2)
    two = trained(train(svms_spec(workspace, "svms-two-threads")))
    np.testing.assert_allclose(two.weights, one.weights, rtol=1e-3, atol=1e-6)
