"""What a cluster has, what it can grow by, and whether that is enough for what units ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipelines.engine.phases import Needs, Resources
from sppnet.errors import ConfigError

Amounts = Mapping[str, float]
"""Amounts by what Ray calls them: `CPU`, `GPU`, `memory` in bytes."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Nodes of one shape that an autoscaler may add.

    Attributes:
        amounts: What one of them has.
        most: How many there may be in all.
    """

    amounts: Amounts
    most: int


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a cluster has.

    Attributes:
        nodes: What each node that is up has.
        growth: What its autoscaler may add; empty for a cluster that stays as it is.
        where: What it is called in messages.
        local: Whether it is this machine alone: units that ask for more CPUs or memory then take what there is.
    """

    nodes: Sequence[Amounts]
    growth: Sequence[Growth] = ()
    where: str = "the cluster"
    local: bool = False

    def total(self, name: str) -> float:
        """Return how much there is now, over all nodes."""
        return sum(node.get(name, 0.0) for node in self.nodes)

    def largest(self, name: str) -> float:
        """Return the most that one node has, or one that may be added."""
        shapes = (*self.nodes, *(growth.amounts for growth in self.growth))
        return max((shape.get(name, 0.0) for shape in shapes), default=0.0)

    def slots(self, amounts: Amounts) -> int:
        """Return how many times amounts fit on the nodes that are up."""
        return sum(_times(node, amounts) for node in self.nodes)

    def settle(self, wanted: Resources) -> Resources:
        """Settle what is left to the cluster: `auto` GPUs, and on one machine CPUs and memory that it does not have."""
        gpus = wanted.gpus if wanted.gpus != "auto" else min(1.0, self.largest("GPU"))
        cpus, memory = wanted.cpus, wanted.memory_bytes
        if self.local:
            cpus = min(cpus, self.largest("CPU") or cpus)
        if memory:  # an estimate: the largest node must do
            memory = min(memory, int(self.largest("memory")))
        return replace(wanted, gpus=gpus, cpus=cpus, memory_bytes=memory)

    def check(self, needs: Needs) -> None:
        """Raise `ConfigError` if what a step asks for can't be had, instead of waiting for it."""
        wanted = amounts_of(self.settle(needs.resources))
        places = self.slots(wanted) + sum(growth.most * _times(growth.amounts, wanted) for growth in self.growth)
        shared = self.local and not wanted.get("GPU")  # workers on one machine share its CPUs
        if places >= max(1, needs.workers) or (shared and places):
            return
        asked = " and ".join(_shown(name, amount) for name, amount in wanted.items())
        asks = f"{needs.workers} workers ask for {asked} each" if needs.workers > 1 else f"a unit asks for {asked}"
        raise ConfigError(
            f"step {needs.step}: {asks}, {self.where} has {self.describe()}; {self._advice(needs.step, wanted)}"
        )

    def _advice(self, step: str, wanted: Amounts) -> str:
        if wanted.get("GPU", 0) > self.largest("GPU"):
            return "give --gpus 0, or join a cluster that has them"
        return f"lower {step}.cpus, {step}.gpus or {step}.workers, or join a larger cluster"

    def describe(self) -> str:
        """Say in a few words what there is: nodes, CPUs and GPUs."""
        count = len(self.nodes)
        nodes = "" if self.local else f" on {count} node{'s' * (count != 1)}"
        grows = sum(growth.most for growth in self.growth)
        more = f" (may grow to {grows} nodes)" if self.growth else ""
        return f"{self.total('CPU'):g} CPUs and {self.total('GPU'):g} GPUs{nodes}{more}"


def amounts_of(settled: Resources) -> dict[str, float]:
    """Return settled resources by what Ray calls them, without those of which nothing is needed."""
    gpus = 0.0 if settled.gpus == "auto" else settled.gpus
    found = {"CPU": settled.cpus, "GPU": gpus, "memory": float(settled.memory_bytes)}
    return {name: amount for name, amount in found.items() if amount}


def _times(node: Amounts, amounts: Amounts) -> int:
    """Return how many times amounts fit on a node."""
    ratios = [node.get(name, 0.0) / amount for name, amount in amounts.items() if amount > 0]
    # Fractions such as 0.1 GPUs must fit ten times.
    return math.floor(min(ratios) + 1e-6) if ratios else 0


def _shown(name: str, amount: float) -> str:
    return f"{amount / 2**30:.3g} GiB" if name == "memory" else f"{amount:g} {name}{'s' * (amount != 1)}"
