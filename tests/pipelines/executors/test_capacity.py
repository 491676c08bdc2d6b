from __future__ import annotations

from typing import Any

import pytest

from pipelines.engine.phases import Needs, Resources
from pipelines.executors.capacity import Capacity, Growth, amounts_of
from sppnet.errors import ConfigError

GIB = 2**30
CPU_NODE = {"CPU": 8.0, "memory": 32.0 * GIB}
GPU_NODE = {"CPU": 16.0, "GPU": 4.0, "memory": 64.0 * GIB}
CLUSTER = Capacity((CPU_NODE, CPU_NODE, GPU_NODE), where="the cluster at head:6379")
LAPTOP = Capacity(({"CPU": 2.0, "memory": 4.0 * GIB},), where="this machine", local=True)
GROWING = Capacity((CPU_NODE,), (Growth(GPU_NODE, 2),))


def settled(capacity: Capacity, **wanted: Any) -> dict[str, float]:
    return amounts_of(capacity.settle(Resources(**wanted)))


def test_gpus_are_asked_for_where_there_are_any() -> None:
    assert settled(CLUSTER, gpus="auto") == {"CPU": 1, "GPU": 1}
    assert settled(LAPTOP, gpus="auto") == {"CPU": 1}
    assert settled(GROWING, gpus="auto") == {"CPU": 1, "GPU": 1}  # none is up yet: asking brings them
    assert settled(CLUSTER, gpus=0) == {"CPU": 1}
    assert settled(CLUSTER, gpus=0.25) == {"CPU": 1, "GPU": 0.25}


def test_one_machine_gives_what_it_has_and_a_cluster_its_largest_node() -> None:
    assert settled(LAPTOP, cpus=64, memory_bytes=16 * GIB) == {"CPU": 2, "memory": 4 * GIB}
    assert settled(CLUSTER, cpus=64, memory_bytes=100 * GIB) == {"CPU": 64, "memory": 64 * GIB}


@pytest.mark.parametrize(
    ("amounts", "slots"),
    [
        ({"CPU": 1}, 32),
        ({"CPU": 3}, 2 + 2 + 5),  # a unit runs on one node
        ({"CPU": 1, "GPU": 1}, 4),
        ({"CPU": 1, "GPU": 0.1}, 16),
        ({"CPU": 0.1, "GPU": 0.1}, 40),  # ten tenths are a whole, whatever floats say
        ({"CPU": 1, "GPU": 8}, 0),
        ({"CPU": 1, "memory": 20 * GIB}, 1 + 1 + 3),
        ({}, 0),
    ],
)
def test_slots_are_counted_node_by_node(amounts: dict[str, float], slots: int) -> None:
    assert CLUSTER.slots(amounts) == slots


@pytest.mark.parametrize(
    ("capacity", "needs", "message"),
    [
        (
            CLUSTER,
            Needs("maps", Resources(gpus=8)),
            "step maps: a unit asks for 1 CPU and 8 GPUs, the cluster at head:6379 has 32 CPUs and 4 GPUs on 3 nodes; "
            "give --gpus 0, or join a cluster that has them",
        ),
        (
            CLUSTER,
            Needs("head", Resources(cpus=2, gpus=1), 5),
            "step head: 5 workers ask for 2 CPUs and 1 GPU each, the cluster at head:6379 has 32 CPUs and 4 GPUs on 3 "
            "nodes; lower head.cpus, head.gpus or head.workers, or join a larger cluster",
        ),
        (
            GROWING,
            Needs("maps", Resources(gpus=5)),
            "step maps: a unit asks for 1 CPU and 5 GPUs, the cluster has 8 CPUs and 0 GPUs on 1 node "
            "(may grow to 2 nodes); give --gpus 0, or join a cluster that has them",
        ),
        (
            LAPTOP,
            Needs("maps", Resources(gpus=1)),
            "step maps: a unit asks for 1 CPU and 1 GPU, this machine has 2 CPUs and 0 GPUs; "
            "give --gpus 0, or join a cluster that has them",
        ),
    ],
)
def test_what_can_never_be_had_is_refused(capacity: Capacity, needs: Needs, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        capacity.check(needs)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("capacity", "needs"),
    [
        (CLUSTER, Needs("head", Resources(gpus=1), 4)),
        (CLUSTER, Needs("maps", Resources(gpus="auto"))),
        (GROWING, Needs("head", Resources(gpus=1), 8)),  # two nodes of four, that are still to come
        (LAPTOP, Needs("head", Resources(), 16)),  # its workers share what CPUs there are
        (LAPTOP, Needs("maps", Resources(gpus="auto"))),
        (Capacity((), (Growth(CPU_NODE, 3),)), Needs("windows")),  # a cluster that has shrunk to nothing
    ],
)
def test_what_is_there_or_may_come_is_waited_for(capacity: Capacity, needs: Needs) -> None:
    capacity.check(needs)
