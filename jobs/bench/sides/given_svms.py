"""A stage for benchmarks alone: SVMs from a file take the place of trained ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pipelines.artifacts.detectors import FeatureInfo
from pipelines.engine.commits import Output
from pipelines.engine.phases import Phase
from pipelines.engine.stage import RUNTIME, Input, Stage, StageConfig
from sppnet.detection.svm import LinearSvms
from sppnet.networks.weights import read_metadata, read_safetensors
from sppnet.pooling.pyramid import Pyramid

UNIT = "all"
STAGE = {"given-svms": "jobs.bench.sides.given_svms:GivenSvms"}
"""Its entry for the registry of stages."""


class GivenSvmsConfig(StageConfig):
    """Config of `given-svms`.

    Attributes:
        backbone: The step that made the network, on whose pooled vectors the SVMs are.
        path: Safetensors file of the SVMs.
        scales: Short sides that windows choose from.
    """

    stage: Literal["given-svms"]
    backbone: Annotated[str, Input(("network",))]
    path: Annotated[str, RUNTIME]
    scales: tuple[int, ...]


class GivenSvms(Stage[GivenSvmsConfig]):
    """Publishes the file, and beside it what the SVMs look at."""

    name: ClassVar[str] = "given-svms"
    makes: ClassVar[str] = "svms"
    config_type: ClassVar[type[StageConfig]] = GivenSvmsConfig

    def prepare(self) -> None:
        """Record what the SVMs look at."""
        svms = self._svms()
        FeatureInfo(
            categories=svms.categories,
            layer=svms.features,
            scales=self.config.scales,
            convention="paper",
            levels=Pyramid().levels,
            head=None,
            backbone=self.input("backbone").name,
            units=(UNIT,),
        ).write(self.artifact)

    def phases(self) -> list[Phase]:
        """Return one phase of one unit."""
        return [Phase("given", (UNIT,), keyed=False)]

    def run(self, unit: str) -> Output:
        """Publish the file."""
        return Output(Path(self.config.path).read_bytes(), ".safetensors", 1, 0)

    def _svms(self) -> LinearSvms:
        data = Path(self.config.path).read_bytes()
        return LinearSvms.from_tensors(read_safetensors(data), read_metadata(data))
