"""Files of weights outside the workspace: what is known of their network and its pixels before they are imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from pipelines.artifacts.networks import read_described_backbone
from pipelines.datasets.contents import JSON, Contents
from pipelines.datasets.outside_files import read_outside, seen_beside, seen_outside
from pipelines.engine.fingerprint import content_digest
from sppnet.errors import ConfigError
from sppnet.networks.backbones import BackboneSpec
from sppnet.networks.published_pixels import PublishedPixels, WeightFile, timm_pixels
from sppnet.networks.torch_files import is_torch_file
from sppnet.outside import parse_json

CONFIG = "config.json"
"""Where timm says what it trained, beside the weights."""
WHAT = "path: weights"
"""For messages: the config's field, and what the file is."""
_KIND, _CONFIG_KIND = "weights", "weights-config"
_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SeenWeights:
    """A file of weights as it was looked at.

    Attributes:
        file: What there is to know of its pixels.
        network: The backbone that it describes itself; None for a file of another kind.
    """

    file: WeightFile
    network: BackboneSpec | None


def look_at_weights(path: str, contents: Contents) -> SeenWeights:
    """Look at a file of weights and at timm's `config.json` beside it; they are read if they are new or changed.

    Raises:
        ConfigError: The file is not there, or what is beside it is not what timm writes.
        ArtifactError: It describes a network of another version.
    """
    (summary,) = contents.of([seen_outside(path, WHAT)], partial(_summary, path=path), _KIND)
    return _seen(path, cast("Mapping[str, Any]", summary), contents)


def read_weight_file(path: str) -> tuple[bytes, SeenWeights]:
    """Read a file of weights, and what `look_at_weights` tells of it; raises like that."""
    data = read_outside(path, WHAT)
    return data, _seen(path, _summary(data, path), Contents())


def _seen(path: str, summary: Mapping[str, Any], contents: Contents) -> SeenWeights:
    network = BackboneSpec.from_dict(summary["network"]) if summary["network"] else None
    described = PublishedPixels.of_network(network) if network else _beside(path, contents)
    return SeenWeights(WeightFile(path, summary["sha256"], summary["torch"], described), network)


def _summary(data: bytes, path: str) -> dict[str, JSON]:
    from_torch = is_torch_file(data)
    network = None if from_torch else read_described_backbone(data, path)
    return {
        "sha256": content_digest(data),
        "torch": from_torch,
        "network": network.to_dict() if network else None,
    }


def _beside(path: str, contents: Contents) -> PublishedPixels | None:
    config = seen_beside(path, CONFIG, f"path: the {CONFIG} beside the weights,")
    if config is None:
        return None
    (text,) = contents.of([config], _text, _CONFIG_KIND)
    place = config.place

    def refused(why: str) -> ConfigError:
        return ConfigError(f"path: {place} beside the weights is not JSON ({why}); state `preprocessing`")

    found = parse_json(str(text).encode(), refused)
    return timm_pixels(found, config.place) if isinstance(found, dict) else None


def _text(data: bytes) -> JSON:
    """Return a small text file; nothing of a large one, which is not timm's."""
    return data.decode("utf-8", "replace") if len(data) <= _CONFIG_BYTES else "{}"
