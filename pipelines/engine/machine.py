"""What a unit takes of a machine: the config fields that say so, and the device that it computes on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PlainValidator

from pipelines.engine.phases import Needs, Resources
from pipelines.engine.stage import RUNTIME, StageConfig
from sppnet.errors import ConfigError

if TYPE_CHECKING:
    import torch

DeviceName = Literal["auto", "cpu", "cuda"]


def _gpus(value: Any) -> float | Literal["auto"]:
    """Check a number of GPUs. A union of pydantic's own would name its parts in the path of every error."""
    if value == "auto":
        return "auto"
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError("expected 'auto', or a number of GPUs from 0; a fraction is allowed")
    return number


GpuCount = Annotated[
    float | Literal["auto"],
    PlainValidator(_gpus, json_schema_input_type=Annotated[float, Field(ge=0)] | Literal["auto"]),
]
"""GPUs of a unit: a number, or `auto`: one where there are any, else none."""


class CpuFields(StageConfig):
    """The field of a stage that computes on CPUs, to be mixed into its config.

    Attributes:
        cpus: CPUs that a unit takes, or each worker of a training. [CPUs]
    """

    cpus: Annotated[float, RUNTIME, Field(gt=0)] = 1

    def resources(self, memory_bytes: int = 0) -> Resources:
        """Return what a unit needs.

        Args:
            memory_bytes: Its expected peak memory, 0 if unknown.
        """
        return Resources(cpus=self.cpus, memory_bytes=memory_bytes)

    def needs(self, step: str) -> Needs:
        """See `StageConfig.needs`."""
        return Needs(step, self.resources())


class GpuFields(CpuFields):
    """The fields of a stage whose units may take GPUs, to be mixed into its config.

    Attributes:
        gpus: GPUs that a unit takes, or each worker of a training: a number, fractions allowed; `auto` takes one where
            there are any. [GPUs]
    """

    gpus: Annotated[GpuCount, RUNTIME] = "auto"

    def resources(self, memory_bytes: int = 0) -> Resources:
        """Return what a unit needs, see `CpuFields.resources`."""
        return Resources(cpus=self.cpus, gpus=self.gpus, memory_bytes=memory_bytes)


_hidden = False


@contextmanager
def gpus_for(resources: Resources) -> Iterator[None]:
    """Let what runs inside see no GPU where it is to take none, as a task of a cluster sees only what it was given."""
    global _hidden  # noqa: PLW0603  # like the environment variable that hides them from a task's process
    before, _hidden = _hidden, resources.gpus == 0
    try:
        yield
    finally:
        _hidden = before


def choose_device(wanted: DeviceName = "auto", step: str = "") -> torch.device:
    """Return where a step computes.

    Args:
        wanted: `auto` takes a GPU where there is one.
        step: Name of the step, for the message.

    Raises:
        ConfigError: A GPU is wanted and there is none.
    """
    import torch

    found = torch.cuda.is_available() and not _hidden
    if wanted == "auto":
        wanted = "cuda" if found else "cpu"
    if wanted == "cuda" and not found:
        raise ConfigError(f"step {step}: device is cuda, but there is no GPU here; use auto or cpu")
    return torch.device(wanted)
