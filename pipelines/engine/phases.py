"""Phases of a step: units that are independent of one another, what they cost, and what one asks of a machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import repeat
from typing import Literal


@dataclass(frozen=True, slots=True)
class Resources:
    """What one unit needs of a machine.

    Attributes:
        cpus: Logical CPUs.
        gpus: GPUs, a fraction is allowed; `auto`: one where there are any.
        memory_bytes: Expected peak memory, 0 if unknown.
        deadline_seconds: After this long at most a unit counts as lost and is issued again; an executor may find its
            first try late before, from what others took.
    """

    cpus: float = 1
    gpus: float | Literal["auto"] = 0
    memory_bytes: int = 0
    deadline_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Needs:
    """What a step asks for.

    Attributes:
        step: The step's name.
        resources: What one unit needs, or each worker of a training.
        workers: How many workers of a training must run side by side; 0 where units are independent.
    """

    step: str
    resources: Resources = field(default_factory=Resources)
    workers: int = 0

    def describe(self) -> str:
        """Say in a few words what is asked for."""
        wanted = self.resources
        gpus = "" if wanted.gpus == 0 else " + GPU if any" if wanted.gpus == "auto" else f" + {wanted.gpus:g} GPU"
        each = f"{wanted.cpus:g} CPU{gpus}"
        return f"{self.workers} x ({each})" if self.workers > 1 else each


@dataclass(frozen=True, slots=True)
class Phase:
    """Units that are independent of one another.

    Attributes:
        name: For progress lines.
        units: Names of the units, each with a commit of its own.
        resources: What one unit needs.
        workers: For a training phase, how many workers step together; 0 for a phase of independent units.
        keyed: Whether its units account for image keys; the ledger of a step is that of its last keyed phase.
        costs: What the units cost beside one another, in their order; empty where they cost the same.
    """

    name: str
    units: tuple[str, ...]
    resources: Resources = field(default_factory=Resources)
    workers: int = 0
    keyed: bool = True
    costs: tuple[float, ...] = ()

    def cost_by_unit(self) -> dict[str, float]:
        """Return what each unit costs beside the others."""
        return dict(zip(self.units, self.costs or repeat(1.0, len(self.units)), strict=True))
