"""Asking every node of a cluster: one function runs once on each, and a node that can't run it is an answer too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pipelines.engine.executor import one_line
from pipelines.executors.ray_work import import_ray

A = TypeVar("A")

_ANSWER_SECONDS = 60.0
"""A worker process that has to start on a busy node takes a while."""


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What one node said.

    Attributes:
        ip: Its address.
        cpus: CPUs that it offers to tasks.
        gpus: GPUs, likewise.
        answer: What the function returned; None if it did not.
        error: Why it did not, in one line; None if it did.
    """

    ip: str
    cpus: float
    gpus: float
    answer: Any = None
    error: str | None = None


def ask_nodes(function: Callable[[A], Any], argument: A, seconds: float = _ANSWER_SECONDS) -> list[NodeAnswer]:
    """Run a function once on each live node, on all at once, and return their answers by address.

    The process is connected to the cluster, see `RayExecutor`. It takes no CPU of the nodes: they may be busy.

    Args:
        function: Of a module, by whose name the workers find it.
        argument: Plain values.
        seconds: How long to wait for all of them together.
    """
    ray = import_ray()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(function)
    nodes = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: str(node["NodeManagerAddress"]))
    asked = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(argument)
        for node in nodes
    ]
    ray.wait(asked, num_returns=len(asked), timeout=seconds)
    return [_answer(node, reference, seconds) for node, reference in zip(nodes, asked, strict=True)]


def _answer(node: dict[str, Any], reference: Any, seconds: float) -> NodeAnswer:
    ray = import_ray()
    cpus, gpus = (float(node["Resources"].get(name, 0)) for name in ("CPU", "GPU"))
    said = partial(NodeAnswer, str(node["NodeManagerAddress"]), cpus, gpus)
    try:
        return said(ray.get(reference, timeout=0))
    except ray.exceptions.GetTimeoutError:
        ray.cancel(reference, force=True)
        return said(error=f"no answer within {seconds:g} s")
    except ray.exceptions.RayTaskError as error:
        return said(error=str(error.cause or error).strip().splitlines()[-1])
    except ray.exceptions.RayError as error:
        return said(error=one_line(error))
