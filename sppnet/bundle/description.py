"""What a bundle says of its detector: everything but the weights, as JSON in the file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sppnet.bundle.checked import read_as
from sppnet.detection.ensemble import Rules
from sppnet.errors import ConfigError
from sppnet.networks.map_types import MapType
from sppnet.networks.network import Layer, Precision
from sppnet.pooling.geometry import Convention, Geometry
from sppnet.proposals.methods import Proposals

_MOST_SCALES = 100
_LONGEST_SIDE = 9999
_FINEST_LEVEL = 64
_MOST_PIXELS = 1 << 30


@dataclass(frozen=True, slots=True)
class MapSettings:
    """How maps are made.

    Attributes:
        precision: Type in which the convolutions compute.
        dtype: Type of the maps.
        max_pixels: An image that has more pixels at a scale is refused.
    """

    precision: Precision
    dtype: MapType
    max_pixels: int

    def __post_init__(self) -> None:
        _within("maps.max_pixels", self.max_pixels, 1, _MOST_PIXELS)


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """What the features of windows are.

    Attributes:
        layer: `pool5`, `fc6` or `fc7`.
        scales: Short sides that windows choose from, pixels.
        convention: Of window mapping and scale rule.
        levels: Of the pyramid.
        precision: Type in which fc6 and fc7 compute.
        rank: Of fc6 and fc7 as products of thin matrices; None leaves them whole.
    """

    layer: Layer
    scales: tuple[int, ...]
    convention: Convention
    levels: tuple[int, ...]
    precision: Precision = "float32"
    rank: int | None = None

    def __post_init__(self) -> None:
        _within("the number of scales", len(self.scales), 1, _MOST_SCALES)
        for scale in self.scales:
            _within("scales", scale, 1, _LONGEST_SIDE)
        for level in self.levels:
            _within("levels", level, 1, _FINEST_LEVEL)


@dataclass(frozen=True, slots=True)
class RegressorSettings:
    """Of the box regressors.

    Attributes:
        categories: Those that have one, in the order of the tensors.
        features: What they take.
    """

    categories: tuple[str, ...]
    features: FeatureSettings


@dataclass(frozen=True, slots=True)
class Description:
    """A detector without its weights.

    Attributes:
        categories: In the order of the SVMs.
        words: Words for people by category, where categories are codes such as wnids.
        backbone: Architecture, width, cut and preprocessing, see `BackboneSpec.to_dict`.
        geometry: Receptive field, stride and padding of a cell; that of the backbone.
        channels: Of its maps.
        maps: How they are made.
        features: What the SVMs take.
        feature_scale: Factor on the raw features.
        head: Sizes of fc6 to fc8, see `HeadSpec.to_dict`; None where all features are pool5.
        regressors: Of the box regressors; None without.
        rules: How scored windows become detections.
        proposals: How windows are proposed; None where they came from files.
        seed: Of the run, from which the order of an image's windows is drawn.
        licence: What may be done with the weights, in a word or a line; None if nobody said.
        training: How it was made, by step of its recipe: a record for people, which nothing is computed from.
    """

    categories: tuple[str, ...]
    words: Mapping[str, str]
    backbone: Mapping[str, Any]
    geometry: Geometry
    channels: int
    maps: MapSettings
    features: FeatureSettings
    feature_scale: float
    head: Mapping[str, Any] | None
    regressors: RegressorSettings | None
    rules: Rules
    proposals: Proposals | None
    seed: int
    licence: str | None
    training: Mapping[str, Any]

    def __post_init__(self) -> None:
        if (self.head is None) != (self.features.layer == "pool5"):
            raise ConfigError(f"features of {self.features.layer} {'need a' if self.head is None else 'take no'} head")
        if self.regressors is not None and self.regressors.features.layer != "pool5":
            raise ConfigError("box regressors take pool5")
        if self.proposals is not None:
            _within("the number of k of selective search", len(self.proposals.selective_search.k), 1, _MOST_SCALES)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, where: str) -> Description:
        """Read what `to_json` gave; raise `ConfigError` naming `where` and the first field that does not fit."""
        try:
            return read_as(cls, value, "detector")
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error


def _within(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{what}: must be {least} to {most}, not {value}")
