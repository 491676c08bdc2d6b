"""crops: R-CNN's way, the paper's peer in Tables 9 and 10, for the same SVMs, regressors and scoring.

It stands where extract does, and stores nothing but how windows are to be warped: whoever needs the features of a
window convolves its crop. Two thousand crops an image are what the cached maps save.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipelines.artifacts.backbone_info import CROPS, BackboneInfo, CropsInfo
from pipelines.artifacts.networks import read_backbone
from pipelines.engine.commits import Output
from pipelines.engine.phases import Phase
from pipelines.engine.stage import COVERAGE, Input, StageConfig
from pipelines.shards.stage import PerShardStage, require_ingested
from sppnet.detection.rcnn_crops import CONTEXT, SIZE
from sppnet.errors import ConfigError
from sppnet.networks.network import Precision
from sppnet.sizes import Size


class CropsConfig(StageConfig):
    """Config of `crops`.

    Attributes:
        images: The step that ingests.
        backbone: The step that trains or imports the network.
        splits: Splits whose windows may be convolved.
        size: Side of the crops; steps that read them name it as their only scale. [pixels; section 4.2]
        context: Pixels around the window in its crop. [pixels]
        precision: Type that the convolutions compute in.
    """

    stage: Literal["crops"]
    images: Annotated[str, Input(("images",))]
    backbone: Annotated[str, Input(("network",))]
    splits: Annotated[tuple[str, ...], COVERAGE] = ("train", "val")
    size: Annotated[int, Field(ge=16, le=9999)] = SIZE
    context: Annotated[int, Field(ge=0)] = CONTEXT
    precision: Precision = "float32"

    @property
    def scales(self) -> tuple[int]:
        """What stands for the scales of maps."""
        return (self.size,)


class Crops(PerShardStage[CropsConfig]):
    """Records the backbone and how windows are warped; has no units."""

    name: ClassVar[str] = "crops"
    makes: ClassVar[str] = CROPS
    config_type: ClassVar[type[StageConfig]] = CropsConfig

    @classmethod
    def check(cls, config: CropsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the splits are ingested, and that a window fits into its crop."""
        require_ingested(config.splits, inputs)
        if 2 * config.context >= config.size:
            raise ConfigError(f"context: {config.context} pixels a side leave nothing of a crop of {config.size}")

    def prepare(self) -> None:
        """Check that a crop gives a map, and record how it is made."""
        network, config = self.input("backbone"), self.config
        backbone = read_backbone(network)
        backbone.map_size(Size.square(config.size))
        crops = CropsInfo(network.name, config.size, config.context, config.precision)
        BackboneInfo.of(backbone, crops=crops).write(self.artifact)

    def phases(self) -> list[Phase]:
        """Return none: windows are convolved where they are needed."""
        return []

    def run(self, unit: str) -> Output:
        """Raise `ConfigError`: there is nothing to run."""
        raise ConfigError(f"step {self.spec.step}: has no unit {unit}")
