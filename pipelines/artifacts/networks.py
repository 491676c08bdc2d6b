"""What `network` and `head` artifacts hold: one safetensors object with its description in the metadata.

Tensors are named `backbone.trunk.*` and `head.layers.fc6.*` ... `fc8.*`, as in the state of an `SppNetwork`, and
`backbone.mean_image` where a per-pixel mean is subtracted. A `network` always has a backbone, and a head if it was
trained here or imported with one; a `head` has no backbone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

import torch

from pipelines.engine.codec import decode
from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.workspace import Artifact
from sppnet.errors import ArtifactError, ConfigError
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone, load_backbone
from sppnet.networks.imported_heads import loaded_head
from sppnet.networks.network import FcHead, HeadSpec, SppNetwork
from sppnet.networks.weights import read_metadata, read_safetensors, write_safetensors
from sppnet.pooling.geometry import Convention
from sppnet.pooling.pyramid import Pyramid
from sppnet.sizes import Size

T = TypeVar("T")

UNIT = "model"
"""The one unit of a `network` or `head` artifact."""
SUFFIX = ".safetensors"
TRUNK = "backbone.trunk."
MEAN_IMAGE = "backbone.mean_image"
HEAD = "head."


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHead:
    """fc6, fc7 and fc8 with what they were trained for.

    Attributes:
        head: The layers, on the CPU, in evaluation mode.
        pyramid: The pooling levels of its input.
        labels: What fc8's outputs stand for, in order; the first of a fine-tuned head is `background`.
        scales: Scales it was fine-tuned at; empty for a network's head.
        convention: Of the window mapping it was fine-tuned with.
        curve: Steps logged during training.
    """

    head: FcHead
    pyramid: Pyramid
    labels: tuple[str, ...]
    scales: tuple[int, ...] = ()
    convention: Convention = "paper"
    curve: tuple[Mapping[str, Any], ...] = field(default=())


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A whole network with what it was trained for.

    Attributes:
        network: Backbone, pyramid and head, on the CPU, in evaluation mode; the backbone has its mean image.
        labels: What fc8's outputs stand for, in order.
        sizes: Sides in pixels of the images that it was trained at, the crop's own first; empty if not recorded.
        curve: Steps logged during training.
    """

    network: SppNetwork
    labels: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    curve: tuple[Mapping[str, Any], ...] = field(default=())


def encode_backbone(
    spec: BackboneSpec, trunk: Mapping[str, torch.Tensor], *, mean_image: torch.Tensor | None = None, **extra: Any
) -> bytes:
    """Encode a backbone without a head; `trunk` has the trunk's own names, `extra` goes to the metadata."""
    tensors = _backbone_tensors(trunk, mean_image)
    return write_safetensors(tensors, _metadata({"backbone": spec.to_dict(), **extra}))


def encode_network(
    backbone: Backbone,
    head: FcHead,
    pyramid: Pyramid,
    labels: Sequence[str],
    curve: Sequence[Mapping[str, Any]],
    *,
    sizes: tuple[int, ...] = (),
) -> bytes:
    """Encode a trained network: backbone with its mean image, head, what its classes are, and its sizes.

    Args:
        backbone: The convolutions.
        head: The layers after the pyramid.
        pyramid: Between them.
        labels: What the head's outputs stand for, in order.
        curve: Steps logged during training.
        sizes: Sides in pixels of the images that it was trained at, the crop's own first.
    """
    tensors = _backbone_tensors(backbone.trunk.state_dict(), backbone.mean_image)
    tensors |= {HEAD + name: tensor for name, tensor in head.state_dict().items()}
    described = {"backbone": backbone.spec.to_dict(), **_described(head, pyramid, labels, curve), "sizes": list(sizes)}
    return write_safetensors(tensors, _metadata(described))


def encode_head(trained: TrainedHead) -> bytes:
    """Encode a fine-tuned head."""
    tensors = {HEAD + name: tensor for name, tensor in trained.head.state_dict().items()}
    described = _described(trained.head, trained.pyramid, trained.labels, trained.curve)
    described |= {"scales": list(trained.scales), "convention": trained.convention}
    return write_safetensors(tensors, _metadata(described))


def read_backbone(network: Artifact) -> Backbone:
    """Read the backbone of a `network` artifact, on the CPU, in evaluation mode, with its mean image if it has one.

    Raises:
        ArtifactError: The artifact is missing, corrupt or holds no backbone.
    """
    return _Contents.of(network).backbone()


def read_network(artifact: Artifact) -> TrainedNetwork:
    """Read a whole trained network of a `network` artifact.

    Raises:
        ArtifactError: The artifact is missing or corrupt, or holds no head (imported weights may have none).
    """
    contents = _Contents.of(artifact)
    head = contents.head()
    return TrainedNetwork(
        network=SppNetwork(contents.backbone(), head.pyramid, head.head).eval(),
        labels=head.labels,
        sizes=contents.sizes(),
        curve=head.curve,
    )


def read_described_head(data: bytes, where: str) -> tuple[TrainedHead, tuple[int, ...]] | None:
    """Read the head, and the sizes that its network was trained at, of a file with this module's description.

    Args:
        data: The file's bytes.
        where: What they are, for messages.

    Returns:
        None for a file of another kind, or one without a head.

    Raises:
        ArtifactError: The description and the tensors don't fit.
    """
    try:
        contents = _Contents(data, where, read_metadata(data, where))
    except ConfigError:  # no safetensors file
        return None
    return (contents.head(), contents.sizes()) if contents.is_ours and "head" in contents.metadata else None


def read_described_backbone(data: bytes, where: str) -> BackboneSpec | None:
    """Read which backbone a file with this module's description holds; None for a file of another kind.

    Args:
        data: The file's bytes.
        where: What they are, for messages.

    Raises:
        ArtifactError: The description is not this version's.
    """
    try:
        contents = _Contents(data, where, read_metadata(data, where))
    except ConfigError:  # no safetensors file
        return None
    return contents.spec() if contents.is_ours else None


def has_head(network: Artifact) -> bool:
    """Tell whether a `network` artifact holds a head: an imported backbone may have none."""
    return "head" in _Contents.of(network).metadata


def read_trained_head(artifact: Artifact) -> TrainedHead:
    """Read the head, with its description, of a `head` or `network` artifact.

    Raises:
        ArtifactError: The artifact is missing, corrupt or holds no head.
    """
    return _Contents.of(artifact).head()


def read_head(artifact: Artifact) -> FcHead:
    """Read only the layers; see `read_trained_head`."""
    return read_trained_head(artifact).head


def read_head_levels(artifact: Artifact) -> tuple[int, ...]:
    """Read only the levels of the pyramid below a head; see `read_trained_head`."""
    return _Contents.of(artifact).value("pyramid", tuple[int, ...])


@dataclass(frozen=True)
class _Contents:
    """The safetensors object of an artifact, read once.

    Attributes:
        data: The object's bytes.
        where: Artifact and unit, for messages.
        metadata: Its description, values in JSON.
    """

    data: bytes
    where: str
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, artifact: Artifact) -> _Contents:
        data, where = artifact.read(UNIT), f"{artifact.name}/{UNIT}"
        return cls(data, where, read_metadata(data, where))

    @cached_property
    def tensors(self) -> Mapping[str, torch.Tensor]:
        return read_safetensors(self.data, self.where)

    @property
    def is_ours(self) -> bool:
        """Whether the description is this module's: others may use its words."""
        try:
            found = json.loads(self.metadata.get("backbone", ""))
        except (ValueError, RecursionError):
            return False
        return isinstance(found, dict) and "architecture" in found

    def value(self, name: str, kind: type[T], default: T | None = None) -> T:
        """Read one value of the metadata; raise `ArtifactError` without it, unless there is a default."""
        if name in self.metadata:
            return decode(kind, self.metadata[name], f"{self.where}: its {name}")
        if default is None:
            raise ArtifactError(f"{self.where}: holds no {name}")
        return default

    def sizes(self) -> tuple[int, ...]:
        return self.value("sizes", tuple[int, ...], ())

    def spec(self) -> BackboneSpec:
        try:
            return BackboneSpec.from_dict(self.value("backbone", dict[str, Any]))
        except ConfigError as error:
            raise ArtifactError(f"{self.where}: not this version's network ({error})") from error

    def backbone(self) -> Backbone:
        spec = self.spec()
        try:
            backbone = build_backbone(spec)
            load_backbone(backbone, self.tensors, self.where, prefix=TRUNK)
            backbone.mean_image = self.tensors.get(MEAN_IMAGE)
        except ConfigError as error:
            raise ArtifactError(f"{self.where}: not this version's network ({error})") from error
        return backbone.eval()

    def _fixed_map(self) -> Size | None:
        """Return the size under `fixed_map`, which is stored as `[height, width]`; None without."""
        if "fixed_map" not in self.metadata:
            return None
        height, width = self.value("fixed_map", tuple[int, int])
        return Size(width, height)

    def head(self) -> TrainedHead:
        spec = self.value("head", dict[str, Any])
        tensors = {name: tensor for name, tensor in self.tensors.items() if name.startswith(HEAD)}
        try:
            head = loaded_head(HeadSpec.from_dict(spec), tensors, self.where, prefix=HEAD)
            pyramid = Pyramid(self.value("pyramid", tuple[int, ...]), self._fixed_map())
        except ConfigError as error:
            raise ArtifactError(f"{self.where}: not this version's head ({error})") from error
        return TrainedHead(
            head=head.eval(),
            pyramid=pyramid,
            labels=self.value("labels", tuple[str, ...]),
            scales=self.value("scales", tuple[int, ...], ()),
            convention=cast(Convention, self.value("convention", str, "paper")),
            curve=self.value("curve", tuple[dict[str, Any], ...]),
        )


def _backbone_tensors(trunk: Mapping[str, torch.Tensor], mean_image: torch.Tensor | None) -> dict[str, torch.Tensor]:
    tensors = {TRUNK + name: tensor for name, tensor in trunk.items()}
    return tensors if mean_image is None else {**tensors, MEAN_IMAGE: mean_image}


def _described(
    head: FcHead, pyramid: Pyramid, labels: Sequence[str], curve: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    described = {
        "head": head.spec.to_dict(),
        "pyramid": list(pyramid.levels),
        "labels": list(labels),
        "curve": [dict(point) for point in curve],
    }
    return described if pyramid.fixed_map is None else {**described, "fixed_map": list(pyramid.fixed_map.hw)}


def _metadata(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: canonical_json(value) for name, value in values.items()}
