"""Which backbone stands behind an artifact of maps or crops: a JSON object beside its units."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.engine.records import read_beside, write_once
from pipelines.engine.workspace import Artifact
from sppnet.networks.backbones import Backbone, BackboneSpec
from sppnet.networks.map_types import MapType
from sppnet.networks.network import Precision
from sppnet.pooling.geometry import Geometry

CROPS = "crops"
"""Kind of the artifacts that stand for maps and hold none."""
_INFO = "backbone.json"


@dataclass(frozen=True, slots=True)
class CropsInfo:
    """How windows are warped and convolved, one by one (R-CNN's way).

    Attributes:
        network: Name of the artifact with the backbone.
        size: Side of the crops, pixels.
        context: Pixels around the window in its crop.
        precision: Type in which the convolutions compute.
    """

    network: str
    size: int
    context: int
    precision: Precision


@dataclass(frozen=True, slots=True)
class MapsInfo:
    """How maps are made, for whoever makes them where they are used.

    Attributes:
        network: Name of the artifact with the backbone.
        precision: Type in which the convolutions compute.
        dtype: Type of the maps.
        max_pixels: An image that has more pixels at a scale is set aside.
    """

    network: str
    precision: Precision
    dtype: MapType
    max_pixels: int


@dataclass(frozen=True, slots=True)
class BackboneInfo:
    """What readers of maps need to know of the backbone that made them.

    Attributes:
        spec: The backbone.
        geometry: Receptive field, stride and padding of a cell.
        channels: Channels of a map.
        crops: How windows are convolved, where there are no maps of whole images.
        maps: How the maps are made.
    """

    spec: BackboneSpec
    geometry: Geometry
    channels: int
    crops: CropsInfo | None = None
    maps: MapsInfo | None = None

    @classmethod
    def of(cls, backbone: Backbone, *, crops: CropsInfo | None = None, maps: MapsInfo | None = None) -> BackboneInfo:
        """Return what there is to know of a backbone."""
        return cls(backbone.spec, backbone.geometry, backbone.channels, crops, maps)

    def write(self, artifact: Artifact) -> None:
        """Record it once in an artifact."""
        write_once(artifact, _INFO, self)

    @classmethod
    def read(cls, artifact: Artifact) -> BackboneInfo:
        """Read which backbone stands behind an artifact; raise `ArtifactError` if it does not tell."""
        return read_beside(cls, artifact, _INFO)
