"""Which trials there are: what is run, where, and what happens to it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.chaos.faults import NETWORK, PROCESS, STORAGE, NetworkFault, ProcessFault, StorageFault
from tests.chaos.workloads import Demo, Toy, Workload

TWO_DRIVERS = "two drivers at once"
TWO_AND_GC = "two drivers, one killed, and gc"
NO_MEMORY = "a unit takes all memory"

Fault = StorageFault | ProcessFault | NetworkFault | str


@dataclass(frozen=True)
class Plan:
    """What a trial does.

    Attributes:
        number: Its number; with the harness's seed it gives all that is random.
        workload: What is run.
        on_s3: Whether on the S3 server, or on the local disk.
        fault: What happens to it.
    """

    number: int
    workload: Workload
    on_s3: bool
    fault: Fault

    @property
    def fault_name(self) -> str:
        return self.fault if isinstance(self.fault, str) else self.fault.name


def plans(seed: int, *, ray: bool, s3: bool, demo: bool, networks: bool) -> list[Plan]:
    """One trial of each kind that makes sense, in an order that the seed gives.

    Args:
        seed: Of the order.
        ray: Whether Ray is started.
        s3: Whether there is an S3 server.
        demo: Whether the demo's chain is run too, which takes a minute each time.
        networks: Whether machines' networks can be cut here; it takes Ray and S3.
    """
    found: list[tuple[Workload, bool, Fault]] = []
    workloads: list[Workload] = [Toy(on_ray=on_ray) for on_ray in (False, True)[: 1 + ray]]
    workloads += [Demo(on_ray=on_ray) for on_ray in (False, True)[: 1 + ray]] if demo else []
    for workload in workloads:
        for on_s3 in (False, True)[: 1 + s3]:
            if isinstance(workload, Toy):
                found += [(workload, on_s3, TWO_DRIVERS), (workload, on_s3, TWO_AND_GC)]
                found += [(workload, on_s3, NO_MEMORY)] if workload.on_ray else []
            found += [
                (workload, on_s3, fault)
                for fault in PROCESS
                if (workload.on_ray or not fault.ray)
                and (isinstance(workload, Demo) or not fault.training)
                and not (isinstance(workload, Demo) and fault.target == "ray::raise:raise")
            ]
        trains = isinstance(workload, Demo) and workload.on_ray
        found += [(workload, True, fault) for fault in STORAGE if trains or not fault.training] if s3 else []
    if networks and ray and s3:
        found += [(Toy(on_ray=True), True, fault) for fault in NETWORK]
    random.Random(seed).shuffle(found)
    return [Plan(number, *one) for number, one in enumerate(found)]
