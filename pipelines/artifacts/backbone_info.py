"""Which backbone stands behind an artifact of maps or crops: a JSON object beside its units."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.workspace import Artifact
from sppnet.detection.features import Precision
from sppnet.errors import ArtifactError, ConfigError
from sppnet.networks.backbones import Backbone, BackboneSpec
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
class BackboneInfo:
    """What readers of maps need to know of the backbone that made them.

    Attributes:
        spec: The backbone.
        geometry: Receptive field, stride and padding of a cell.
        channels: Channels of a map.
        crops: How windows are convolved, where no maps are stored.
    """

    spec: BackboneSpec
    geometry: Geometry
    channels: int
    crops: CropsInfo | None = None

    @classmethod
    def of(cls, backbone: Backbone, crops: CropsInfo | None = None) -> BackboneInfo:
        """What there is to know of a backbone."""
        return cls(backbone.spec, backbone.geometry, backbone.channels, crops)

    def write(self, artifact: Artifact) -> None:
        """Records it once in an artifact."""
        body = {"spec": self.spec.to_dict(), "geometry": asdict(self.geometry), "channels": self.channels}
        if self.crops is not None:
            body["crops"] = asdict(self.crops)
        text = canonical_json(json.loads(json.dumps(body)))
        artifact.store.create(f"{artifact.name}/{_INFO}", text.encode())


def read_backbone_info(maps: Artifact) -> BackboneInfo:
    """Reads which backbone made the maps; raises `ArtifactError` if the artifact does not tell."""
    name = f"{maps.name}/{_INFO}"
    data = maps.store.read(name)
    try:
        body = json.loads(data)
        geometry = body["geometry"]
        released = geometry.pop("released", None)
        return BackboneInfo(
            spec=BackboneSpec.from_dict(body["spec"]),
            geometry=Geometry(**geometry, released=tuple(released) if released else None),
            channels=int(body["channels"]),
            crops=CropsInfo(**body["crops"]) if "crops" in body else None,
        )
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{maps.store.uri}/{name} is corrupt: {error}") from error
