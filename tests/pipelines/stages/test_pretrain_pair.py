"""Pre-training by two processes that are killed and start again: the same bytes as an undisturbed run."""

from __future__ import annotations

import multiprocessing.process
import os
from pathlib import Path

import pytest
import torch

from pipelines.engine.stage import StageSpec
from pipelines.engine.workspace import Workspace
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.config import Rate
from pipelines.training.loop import train_unit
from tests.pipelines.stages.test_pretrain import pretrain_spec
from tests.support.gloo_pair import PairWorker, leave_group
from tests.support.tiny_workspace import make_workspace
from tests.support.waiting import PATIENCE, wait_for_step

pytestmark = pytest.mark.slow

STEPS = 400


def run_rank(rank: int, spec: StageSpec, meeting: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    train_unit(spec, "model", PairWorker(rank, 2))
    leave_group()


def start_pair(spec: StageSpec, meeting: Path) -> list[multiprocessing.process.BaseProcess]:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    context = torch.multiprocessing.get_context("spawn")
    ranks = [context.Process(target=run_rank, args=(rank, spec, str(meeting))) for rank in range(2)]
    for rank in ranks:
        rank.start()
    return ranks


def finish(ranks: list[multiprocessing.process.BaseProcess]) -> list[int | None]:
    for rank in ranks:
        rank.join(timeout=PATIENCE)
    return [rank.exitcode for rank in ranks]


def spec_of(workspace: Workspace, name: str) -> StageSpec:
    sizes = {"size": (64,), "random_size": (48, 64), "measure_every": 150, "checkpoint_every": 20}
    return pretrain_spec(workspace, name, workers=2, schedule=(Rate(lr=0.01, steps=STEPS),), batch=7, **sizes)


def test_killed_ranks_change_nothing(tmp_path: Path) -> None:
    """One rank is killed, then the other: each time the pair goes on from the last checkpoint."""
    workspace = make_workspace(tmp_path / "workspace", images=12, shard_size=12)  # one shard: fewer than workers
    reference = spec_of(workspace, "network-whole")
    assert finish(start_pair(reference, tmp_path / "meet-whole")) == [0, 0]
    spec = spec_of(workspace, "network-killed")
    artifact = workspace.artifact(spec.artifact)
    for victim, step in ((1, 60), (0, 140)):
        ranks = start_pair(spec, tmp_path / f"meet-{victim}")
        wait_for_step(spec, step)
        ranks[victim].kill()
        finish(ranks[victim : victim + 1])
        ranks[1 - victim].kill()  # as Ray Train ends the rest of a group
        finish(ranks)
        assert "model" not in artifact.committed()
        assert step <= Checkpoints(artifact).steps()[-1] < STEPS
    assert finish(start_pair(spec, tmp_path / "meet-last")) == [0, 0]
    assert artifact.read("model") == workspace.artifact("network-whole").read("model")
    assert workspace.store.list(f"{spec.artifact}/checkpoints") == []
