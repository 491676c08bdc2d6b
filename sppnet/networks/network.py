"""The fully-connected head (fc6, fc7, fc8) and the whole network: backbone, pyramid, head (paper section 2)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import torch
from torch import nn
from torch.nn import functional as F

from sppnet.devices import in_parts
from sppnet.errors import ConfigError
from sppnet.networks.backbones import Backbone
from sppnet.pooling.pyramid import Pyramid, pool_full_maps

Layer = Literal["pool5", "fc6", "fc7"]
"""Where features are taken: the pooled vector itself, or a layer above it."""
FcLayer = Literal["fc6", "fc7", "fc8"]
Precision = Literal["float32", "bfloat16"]
"""Type that layers compute in; bfloat16 takes a fraction of the time where a CPU or GPU has it."""

_VECTORS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """The sizes of a head.

    Attributes:
        in_features: length of a flattened pooled vector, bins x channels.
        hidden: outputs of fc6 and of fc7.
        classes: outputs of fc8.
        dropout: probability of zeroing an output of fc6 or fc7 in training.
    """

    in_features: int
    hidden: tuple[int, int]
    classes: int
    dropout: float = 0.5

    def __post_init__(self) -> None:
        hidden = tuple(self.hidden)
        if len(hidden) != 2:
            raise ConfigError(f"head.hidden: must be the two sizes of fc6 and fc7, not {self.hidden!r}")
        object.__setattr__(self, "hidden", hidden)
        sizes = {"in_features": self.in_features, "hidden": min(hidden), "classes": self.classes}
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"head.{name}: must be at least 1, not {size}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"head.dropout: must be in [0, 1), not {self.dropout}")

    def outputs(self, layer: FcLayer) -> int:
        """Return how many values a layer gives."""
        return {"fc6": self.hidden[0], "fc7": self.hidden[1], "fc8": self.classes}[layer]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` reads them back."""
        return {**asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeadSpec:
        """Build from `to_dict`'s values.

        Raises:
            ConfigError: an unknown or missing key, or a value out of range.
        """
        for name in values:
            if name not in cls.__dataclass_fields__:
                raise ConfigError(f"head.{name}: unknown key, one of {', '.join(cls.__dataclass_fields__)}")
        for name in ("in_features", "hidden", "classes"):
            if name not in values:
                raise ConfigError(f"head.{name}: missing")
        return cls(**values)


class FcHead(nn.Module):
    """fc6 and fc7 with ReLU and dropout, then fc8 (all paper networks end so).

    fc6 and fc7 start from torch's uniform +-1 / sqrt(inputs), fc8 from a Gaussian of deviation 0.01 (paper section
    4.1); biases are zero. He's initialisation is too hot here: maxima over overlapping bins are positive and alike,
    and the first steps of SGD overshoot.

    Attributes:
        spec: the sizes.
        layers: the linear layers, by the names fc6, fc7 and fc8.
    """

    def __init__(self, in_features: int, hidden: tuple[int, int], classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.spec = HeadSpec(in_features, hidden, classes, dropout)
        sizes = (in_features, *self.spec.hidden, classes)
        names = ("fc6", "fc7", "fc8")
        self.layers = nn.ModuleDict({name: nn.Linear(sizes[i], sizes[i + 1]) for i, name in enumerate(names)})
        self._initialise()

    @classmethod
    def from_spec(cls, spec: HeadSpec) -> FcHead:
        """Build a head with fresh weights."""
        return cls(spec.in_features, spec.hidden, spec.classes, spec.dropout)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights, in which the head runs."""
        return next(self.parameters()).dtype

    def fc6(self, x: torch.Tensor) -> torch.Tensor:
        """Return fc6's features `[n, hidden[0]]` of pooled vectors, after ReLU (and dropout in training).

        Args:
            x: `[n, in_features]`, or `[n, bins, C]` as the pooling returns them, of any float type.

        Raises:
            ConfigError: the vectors' length is not `in_features`.
        """
        flat = x.flatten(1)
        if flat.shape[1] != self.spec.in_features:
            raise ConfigError(f"fc6: vectors of {flat.shape[1]} values, the head takes {self.spec.in_features}")
        return self._hidden("fc6", flat.to(self.dtype))

    def fc7(self, x: torch.Tensor) -> torch.Tensor:
        """Return fc7's features `[n, hidden[1]]` of pooled vectors `x` (not of fc6's output), after ReLU."""
        return self._hidden("fc7", self.fc6(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits `[n, classes]` of pooled vectors `[n, in_features]` or `[n, bins, C]`."""
        return cast("torch.Tensor", self.layers["fc8"](self.fc7(x)))

    def outputs(self, layer: FcLayer, pooled: torch.Tensor) -> torch.Tensor:
        """Return a layer's outputs of pooled vectors, float32 `[n, outputs]`, computed a thousand at a time."""
        layers: dict[FcLayer, Callable[[torch.Tensor], torch.Tensor]] = {"fc6": self.fc6, "fc7": self.fc7, "fc8": self}
        return in_parts(lambda part: layers[layer](part).float(), pooled.flatten(1), _VECTORS_AT_ONCE)

    def in_precision(self, precision: Precision) -> FcHead:
        """Return the head itself for float32, a copy of it for less."""
        return self if precision == "float32" else copy.deepcopy(self).to(getattr(torch, precision))

    def check_fits(self, pyramid: Pyramid, channels: int) -> None:
        """Raise `ConfigError` unless fc6 takes what a pyramid gives of maps of so many channels."""
        values = pyramid.bins * channels
        if self.spec.in_features != values:
            raise ConfigError(
                f"head.in_features: the head takes {self.spec.in_features} values, but {pyramid.bins} bins of "
                f"{channels} channels are {values}: it belongs to other maps"
            )

    def load_hidden(self, other: FcHead) -> None:
        """Copy another head's fc6 and fc7, of the same sizes; fc8 stays as it is (fine-tuning, section 4.1)."""
        for name in ("fc6", "fc7"):
            self.layers[name].load_state_dict(other.layers[name].state_dict())

    def _hidden(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(F.relu(self.layers[name](x)), self.spec.dropout, self.training)

    def _initialise(self) -> None:
        for name, layer in self.layers.items():
            linear = cast("nn.Linear", layer)
            if name == "fc8":
                nn.init.normal_(linear.weight, std=0.01)
            else:
                bound = linear.in_features**-0.5
                nn.init.uniform_(linear.weight, -bound, bound)
            nn.init.zeros_(linear.bias)


class SppNetwork(nn.Module):
    """Images of any size to logits: the convolutions, the pyramid over the whole map, the head.

    A network without SPP is the same with one level of 6 x 6 bins, and takes maps of one size only.

    Attributes:
        backbone: the convolutions.
        pyramid: the pooling grid.
        head: the fully-connected layers.
    """

    def __init__(self, backbone: Backbone, pyramid: Pyramid, head: FcHead) -> None:
        super().__init__()
        head.check_fits(pyramid, backbone.channels)
        self.backbone = backbone
        self.pyramid = pyramid
        self.head = head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify preprocessed images `[N, 3, H, W]` of any size with at least one cell.

        Returns:
            Logits `[N, classes]` in the head's dtype.

        Raises:
            ConfigError: images of another size than a network without SPP was trained at.
        """
        maps = self.backbone(images)
        return cast("torch.Tensor", self.head(pool_full_maps(maps, self.pyramid)))
