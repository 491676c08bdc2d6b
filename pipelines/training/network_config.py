"""The config fields by which stages name a network: its backbone, and the levels of its pyramid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pipelines.engine.own_code import OwnParts
from pipelines.engine.stage import StageConfig
from sppnet.errors import ConfigError
from sppnet.images.network_input import Preprocessing
from sppnet.networks.architectures import ARCHITECTURES
from sppnet.networks.backbones import BackboneSpec
from sppnet.pooling.pyramid import parse_levels


def _parse_levels(value: Any) -> Any:
    if not isinstance(value, str | list | tuple):
        raise ValueError("must be a list of levels or a name")
    try:
        return parse_levels(value)
    except ConfigError as error:
        raise ValueError(str(error)) from error


LevelsName = Literal["spp6", "spp4"]
LevelsField = Annotated[
    tuple[int, ...] | Literal["none"],
    BeforeValidator(_parse_levels, json_schema_input_type=tuple[int, ...] | LevelsName | Literal["none"]),
]
"""Levels of a pyramid: a list, `spp6` or `spp4` (which become lists), or `none` for a network without SPP."""


_OWN = OwnParts("sppnet.architectures")


def _architecture(name: str) -> str:
    return _OWN.path_of(name, ARCHITECTURES.__contains__)


ArchitectureName = Annotated[str, _OWN, AfterValidator(_architecture)]
"""A backbone's name, or the import path of an own one, which the name of an entry point becomes."""


class BackboneFields(StageConfig):
    """The fields that name a backbone, to be mixed into a stage's config.

    Attributes:
        architecture: A backbone's name: one of Table 1's, `zf5_released`, `squeezenet1_0`,
            `torchvision:<name>`, `timm:<name>` (an extra: `pip install 'sppnet[timm]'`), or one of your own:
            `package.module:factory`, which takes nothing and returns a `torch.nn.Module` whose forward gives the map,
            or the name of an entry point of `sppnet.architectures`. [Table 1]
        width: Multiplies every layer's channels. [factor]
        cut: The last module kept; by default the last convolution with what activates it, or all of a network of
            your own.
        preprocessing: What becomes of pixels, `(value - mean) / std` in grey levels (0..255): `channel_order` (`rgb` or
            `bgr`), `mean` and `std`, three values each; by default the architecture's, or torchvision's for a
            network of your own. [grey levels]
        response_norm: Whether responses are normalised; by default the architecture's. [Table 1]
        dilate: 2 halves the stride of what is kept, so that a map has twice the cells a side: the last stage's stride
            of 2 becomes 1, and what follows is dilated by 2. The weights stay as they are. By default what a file of
            weights says of itself, or 1. [factor]
    """

    architecture: ArchitectureName
    width: Annotated[float, Field(gt=0)] = 1.0
    cut: str | None = None
    preprocessing: Mapping[str, Any] | None = None
    response_norm: bool | None = None
    dilate: Literal[1, 2] | None = None

    def semantic(self) -> dict[str, Any]:
        """Return what changes the result; networks that are not dilated have the fingerprints they had before."""
        found = super().semantic()
        if found["dilate"] is None:
            found.pop("dilate")
        return found

    def spec(self) -> BackboneSpec:
        """Return the backbone that the config names; raise `ConfigError` for one that does not exist."""
        wanted = Preprocessing.from_dict(self.preprocessing) if self.preprocessing else None
        if wanted is not None and (max(wanted.std) < 1 or 0 < max(map(abs, wanted.mean)) < 1):
            raise ConfigError(f"preprocessing: {self.preprocessing} is of values in 0..1, give grey levels: times 255")
        return BackboneSpec(
            self.architecture, self.width, self.cut, wanted, self.response_norm, dilate=self.dilate or 1
        )
