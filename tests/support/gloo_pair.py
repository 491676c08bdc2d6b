"""Processes joined by gloo without Ray: what a training on Ray Train must equal."""

from __future__ import annotations

import gc

import torch
from torch import nn


class PairWorker:
    """One of the processes, as the training loop sees it."""

    def __init__(self, rank: int, world_size: int = 2) -> None:
        self.rank, self.world_size, self.device = rank, world_size, torch.device("cpu")

    def wrap(self, model: nn.Module) -> nn.Module:
        return nn.parallel.DistributedDataParallel(model)

    def agree(self, value: float) -> float:
        told = torch.tensor([value], dtype=torch.float64)
        torch.distributed.broadcast(told, 0)
        return float(told)

    def mean(self, value: float) -> float:
        summed = torch.tensor([value / self.world_size], dtype=torch.float64)
        torch.distributed.all_reduce(summed)
        return float(summed)


def leave_group() -> None:
    """Ends a process group, which aborts now and then if what averages gradients holds it to the interpreter's end."""
    gc.collect()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
