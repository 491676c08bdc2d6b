"""What a unit takes of a machine: the config fields that say so, and the device that it computes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipelines.engine.stage import RUNTIME, Resources, StageConfig
from sppnet.errors import ConfigError

if TYPE_CHECKING:
    import torch

DeviceName = Literal["auto", "cpu", "cuda"]


class CpuFields(StageConfig):
    """The field of a stage that computes on CPUs, to be mixed into its config.

    Attributes:
        cpus: CPUs that a unit takes, or each worker of a training.
    """

    cpus: Annotated[float, RUNTIME, Field(gt=0)] = 1

    def resources(self, memory_bytes: int = 0) -> Resources:
        """Return what a unit needs.

        Args:
            memory_bytes: Its expected peak memory, 0 if unknown.
        """
        return Resources(cpus=self.cpus, memory_bytes=memory_bytes)


class GpuFields(CpuFields):
    """The fields of a stage whose units may take GPUs, to be mixed into its config.

    Attributes:
        gpus: GPUs that a unit takes, or each worker of a training.
    """

    gpus: Annotated[float, RUNTIME, Field(ge=0)] = 0

    def resources(self, memory_bytes: int = 0) -> Resources:
        """Return what a unit needs, see `CpuFields.resources`."""
        return Resources(cpus=self.cpus, gpus=self.gpus, memory_bytes=memory_bytes)


def choose_device(wanted: DeviceName = "auto", step: str = "") -> torch.device:
    """Return where a step computes.

    Args:
        wanted: `auto` takes a GPU where there is one.
        step: Name of the step, for the message.

    Raises:
        ConfigError: A GPU is wanted and there is none.
    """
    import torch

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"step {step}: device is cuda, but there is no GPU here; use auto or cpu")
    return torch.device(wanted)
