"""torchvision's classifiers as backbones: building them by name, their published weights, and what those want."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.cuts import nearest


class InputTransform(nn.Module):
    """From torchvision's mean and deviation to -1..1, as its GoogLeNet and Inception v3 do if they transform."""

    keeps_geometry = True
    """Tells `sppnet.networks.receptive_fields.trace_geometry` that a cell depends on no other cell."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Transform RGB images `[N, 3, H, W]` of any float type."""
        red, green, blue = torch.split(images, 1, dim=1)
        # Its own arithmetic, to the last bit.
        return torch.cat(
            (
                red * (0.229 / 0.5) + (0.485 - 0.5) / 0.5,
                green * (0.224 / 0.5) + (0.456 - 0.5) / 0.5,
                blue * (0.225 / 0.5) + (0.406 - 0.5) / 0.5,
            ),
            1,
        )


def build_model(name: str) -> nn.Module:
    """Build one of torchvision's classifiers with fresh weights, ready to be cut.

    Squeeze-excitation and stochastic depth are declared to keep positions. The former scales a map's channels by a
    mean over the *whole* map: a cell then depends on all of the image, but the receptive field counts pixels whose
    place matters, as it does not count the neighbours of normalisations.

    Raises:
        ConfigError: torchvision has no classifier of that name.
    """
    from torchvision import models
    from torchvision.ops import SqueezeExcitation, StochasticDepth

    _check_name(name)
    try:
        with warnings.catch_warnings():  # of how GoogLeNet and Inception v3 will be initialised one day
            warnings.simplefilter("ignore", FutureWarning)
            network = cast("nn.Module", models.get_model(name, weights=None))
    except NotImplementedError:  # RegNet computes its widths with tensors, which have no values on the meta device
        device = torch.get_default_device()
        with torch.device("cpu"):
            network = models.get_model(name, weights=None).to(device)
    for module in network.modules():
        if isinstance(module, SqueezeExcitation | StochasticDepth):
            module.keeps_geometry = True
    return network


def published_weights(name: str, weights: str) -> Any:
    """Return torchvision's entry for published weights, such as `IMAGENET1K_V1`; its `url` ends with a hash.

    Raises:
        ConfigError: there is no such model, or no such weights of it.
    """
    from torchvision import models

    _check_name(name)
    entries = models.get_model_weights(name).__members__
    if weights not in entries:
        known = ", ".join(entries) or "none"
        raise ConfigError(
            f"torchvision has no weights {weights!r} of {name}, it has: {known}{nearest(weights, entries)}"
        )
    return entries[weights]


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file of weights that torchvision publishes.

    Attributes:
        model: the classifier that they are of.
        entry: torchvision's entry.
        name: of the file.
        digest: what its SHA-256 begins with, in hexadecimal.
    """

    model: str
    entry: Any
    name: str
    digest: str


_ADDRESSED = re.compile(r"https?://[^\s\"']+/([^\s\"'/]+-([0-9a-f]{8,64})\.\w+)")


@cache
def published_files() -> tuple[PublishedFile, ...]:
    """List torchvision's files, whose names end with the beginning of their SHA-256."""
    from torchvision import models

    found = []
    for model in _known_names():
        for entry in models.get_model_weights(model):
            name = entry.url.rpartition("/")[2]
            digest = re.search(r"-([0-9a-f]{8,64})\.", name)
            if digest:
                found.append(PublishedFile(model, entry, name, digest[1]))
    return tuple(found)


@cache
def addressed_files() -> frozenset[tuple[str, str]]:
    """List name and digest of all files whose address is in torchvision's code, read as text.

    They are those of `published_files` and a few of other models'. Importing torchvision to see that a file is none of
    them takes a hundred megabytes and a second or two.
    """
    found = find_spec("torchvision")
    folders = found.submodule_search_locations if found else None
    texts = (path.read_text(errors="replace") for folder in folders or () for path in Path(folder).rglob("*.py"))
    return frozenset(match.groups() for text in texts for match in _ADDRESSED.finditer(text))  # type: ignore[misc]


def download_weights(name: str, weights: str) -> dict[str, torch.Tensor]:
    """Return published weights by torchvision's names, downloaded (and checked against their hash) at most once.

    Raises:
        ConfigError: they don't exist, can't be downloaded, or are not what was published.
    """
    entry = published_weights(name, weights)
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: the file's hash is another
        reason = " ".join(str(error).split())
        raise ConfigError(f"{entry} can't be downloaded from {entry.url}: {reason}; give the file by path") from error


@cache
def _known_names() -> tuple[str, ...]:
    from torchvision import models

    return tuple(models.list_models(module=models))


def _check_name(name: str) -> None:
    if name not in _known_names():
        raise ConfigError(f"torchvision has no classifier {name!r}{nearest(name, _known_names())}")
