"""What weights want of an image's pixels: who says so, and what is done where nobody does.

Published weights carry their preprocessing. Of it a backbone takes how pixels become its input: the order of the
channels, mean and deviation. Sizes, crops and interpolation are the pipeline's own (paper section 2.3: any size).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sppnet.errors import ConfigError
from sppnet.images.network_input import Preprocessing
from sppnet.networks.architectures import TIMM_PREFIX, TORCHVISION_PREFIX, architecture
from sppnet.networks.backbones import BackboneSpec
from sppnet.networks.torchvision_models import addressed_files, published_files

_EXAMPLES = (
    "torchvision's are {channel_order: rgb, mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375]}, "
    "Caffe's mostly {channel_order: bgr, mean: [104, 117, 123]}"
)
_MODELS_OWN = ("pretrained_cfg", "default_cfg")
"""Where timm's `config.json` keeps what a model's weights want."""
_BLUE_FIRST = (103.7, 116.6, 123.4)
"""ImageNet's mean: torchvision's and Caffe's differ from it by less than a grey level."""
_UNIT_RANGE = Preprocessing("rgb", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
"""What torchvision's mean and deviation come to with its `InputTransform` behind them: -1..1."""


@dataclass(frozen=True, slots=True)
class PublishedPixels:
    """What somebody says that weights want.

    Attributes:
        source: who says so, for messages.
        preprocessing: what becomes of pixels before they enter the network.
        transform_input: whether the network transforms its input, as in `BackboneSpec`.
        own: whether the file of weights itself says so: it counts before what an architecture's name means.
    """

    source: str
    preprocessing: Preprocessing
    transform_input: bool = False
    own: bool = False

    @classmethod
    def of_network(cls, spec: BackboneSpec) -> PublishedPixels:
        """Return what a file of weights says that describes its network."""
        return cls("the file's own description", _pixels(spec), spec.transform_input, own=True)

    def altogether(self) -> Preprocessing:
        """Return what becomes of pixels before the first convolution."""
        return _UNIT_RANGE if self.transform_input else self.preprocessing


@dataclass(frozen=True, slots=True)
class WeightFile:
    """What is known of a file of weights before its tensors are looked at.

    Attributes:
        where: its path or URI.
        sha256: its digest in hexadecimal.
        torch_format: whether torch saved it.
        described: what it says of its pixels itself, or what another file beside it says.
    """

    where: str
    sha256: str
    torch_format: bool
    described: PublishedPixels | None = None

    def published(self) -> PublishedPixels | None:
        """Return what its publisher says of its pixels: torchvision's files are known by their digests."""
        if not any(self.sha256.startswith(digest) for _, digest in addressed_files()):
            return self.described
        found = [one for one in published_files() if self.sha256.startswith(one.digest)]
        return entry_pixels(found[0].model, found[0].entry) if found else self.described

    def misnamed(self) -> str:
        """Say that it has the name of one of torchvision's files and another content; empty if it has not."""
        name = self.where.rpartition("/")[2]
        if not any(name == other for other, _ in addressed_files()):
            return ""
        for one in published_files():
            if one.name == name and not self.sha256.startswith(one.digest):
                return f"it has the name of {one.entry} and another content (SHA-256 {self.sha256[:8]}...); "
        return ""


def entry_pixels(model: str, entry: Any) -> PublishedPixels:
    """Return what torchvision says of weights: by the entry's `transforms()`, and by how it builds the model.

    Args:
        model: torchvision's name of the classifier.
        entry: torchvision's entry of its weights.
    """
    given = entry.transforms()
    mean, std = (tuple(round(255.0 * value, 6) for value in values) for values in (given.mean, given.std))
    transforms = architecture(TORCHVISION_PREFIX + model).transforms_input
    return PublishedPixels(str(entry), Preprocessing("rgb", mean, std), transforms)


def timm_pixels(config: Mapping[str, Any], where: str) -> PublishedPixels | None:
    """Return what a `config.json` of timm's says of the weights beside it; None if it says nothing of pixels.

    Args:
        config: its values: `mean` and `std` in 0..1, under `pretrained_cfg` or at the top.
        where: its path, for messages.

    Raises:
        ConfigError: they are no three numbers each.
    """
    found = next((config[name] for name in _MODELS_OWN if isinstance(config.get(name), Mapping)), config)
    if "mean" not in found or "std" not in found:
        return None
    try:
        mean, std = (tuple(round(255.0 * float(value), 6) for value in found[name]) for name in ("mean", "std"))
        return PublishedPixels(where, Preprocessing("rgb", mean, std))  # type: ignore[arg-type]
    except (TypeError, ValueError, ConfigError) as error:
        raise ConfigError(f"{where}: its mean and std are not three numbers each ({error})") from error


def settle_pixels(
    spec: BackboneSpec, published: PublishedPixels, where: str, *, stated: bool
) -> tuple[BackboneSpec, str]:
    """Settle what becomes of pixels before a network of weights whose publisher tells.

    The config's word counts before the publisher's, with a warning where they differ.

    Args:
        spec: the network, with the config's pixels, or its architecture's if those are not stated.
        published: what the publisher says.
        where: what the weights are, for messages.
        stated: whether the config states the pixels.

    Returns:
        The network with its pixels, and a warning, empty for none.

    Raises:
        ConfigError: the pixels are not stated, and the architecture's name means others than the publisher.
    """
    given = _pixels(spec)
    told = replace(spec, preprocessing=published.preprocessing, transform_input=published.transform_input)
    if not stated and (published.own or spec.architecture.startswith((TORCHVISION_PREFIX, TIMM_PREFIX))):
        return told, ""
    if _alike(given, published.preprocessing):
        return replace(spec, transform_input=published.transform_input), ""
    if _alike(given, published.altogether()):
        return spec, ""
    wanted = f"{where}: {published.source} wants pixels as {_say(published.altogether())}"
    if stated:
        return spec, f"{wanted}; the config's preprocessing makes them {_say(given)}"
    raise ConfigError(
        f"{wanted}, and architecture {spec.architecture} means {_say(given)}: name {TORCHVISION_PREFIX}<name> as the "
        "architecture, or state `preprocessing`"
    )


def assume_pixels(spec: BackboneSpec, file: WeightFile) -> str:
    """Say what becomes of pixels before a network of weights that nobody knows, where the config doesn't state it.

    Args:
        spec: the network, with its architecture's pixels.
        file: the weights.

    Returns:
        A warning that says what is assumed.

    Raises:
        ConfigError: weights of this architecture are about with several kinds of pixels: they must be stated.
    """
    given, name = _pixels(spec), spec.architecture
    unknown = f"{file.where}: {file.misnamed()}no publisher is known that says what its pixels are"
    theirs = published_files() if name.startswith(TORCHVISION_PREFIX) else ()
    kinds = [
        entry_pixels(one.model, one.entry).altogether() for one in theirs if TORCHVISION_PREFIX + one.model == name
    ]
    others = [kind for kind in kinds if not _alike(kind, given)]
    asks = architecture(name).asks
    if others or asks == "all" or (asks == "torch" and file.torch_format):
        kinds_said = " or ".join(dict.fromkeys(_say(kind) for kind in (given, *others)))
        raise ConfigError(
            f"{unknown}, and {name}'s weights are not all alike ({kinds_said}): state `preprocessing`; {_EXAMPLES}"
        )
    return f"{unknown}; they are taken as {name}'s: {_say(given)}. State `preprocessing` if it wants others"


def doubt_pixels(pixels: Preprocessing) -> str:
    """Return a warning about pixels whose mean is ImageNet's in the order of the other channels; empty for others."""
    red_first = pixels.mean if pixels.channel_order == "rgb" else pixels.mean[::-1]
    if np.abs(np.subtract(red_first, _BLUE_FIRST)).max() > 2:
        return ""
    order = "mean and std are in that order of channels, and ImageNet's mean is in the other"
    return f"preprocessing: {_say(pixels)}: {order}"


def _pixels(spec: BackboneSpec) -> Preprocessing:
    return spec.preprocessing or architecture(spec.architecture).preprocessing


def _alike(one: Preprocessing, other: Preprocessing) -> bool:
    """Tell whether two preprocessings differ by no more than how their publishers round: a grey level, a hundredth."""
    means = np.abs(np.subtract(one.mean, other.mean)).max()
    ratios = np.abs(np.divide(one.std, other.std) - 1).max()
    return one.channel_order == other.channel_order and bool(means < 1 and ratios < 0.01)


def _say(pixels: Preprocessing) -> str:
    """Say in a few words what becomes of pixels."""
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (pixels.mean, pixels.std))
    return f"{pixels.channel_order.upper()} minus ({mean}) over ({std})"
