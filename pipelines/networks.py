"""What `network` and `head` artifacts hold: one safetensors object with its description in the metadata.

Tensors are named `backbone.trunk.*` and `head.layers.fc6.*` ... `fc8.*`, as in the state of an `SppNetwork`. A
`network` always has a backbone, and a head if it was trained here; a `head` has no backbone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from pipelines.fingerprint import canonical_json
from pipelines.workspace import Artifact
from sppnet.backbones import Backbone, BackboneSpec, build_backbone, load_backbone
from sppnet.errors import ArtifactError, ConfigError
from sppnet.geometry import Convention
from sppnet.network import FcHead, HeadSpec
from sppnet.pyramid import Pyramid
from sppnet.weights import load_state, read_metadata, read_safetensors, write_safetensors

UNIT = "model"
"""The one unit of a `network` or `head` artifact."""
SUFFIX = ".safetensors"
TRUNK = "backbone.trunk."
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


def encode_backbone(spec: BackboneSpec, trunk: Mapping[str, torch.Tensor], **extra: Any) -> bytes:
    """Encodes a backbone without a head; `trunk` has the trunk's own names, `extra` goes to the metadata."""
    tensors = {TRUNK + name: tensor for name, tensor in trunk.items()}
    return write_safetensors(tensors, _metadata({"backbone": spec.to_dict(), **extra}))


def encode_network(
    backbone: Backbone, head: FcHead, pyramid: Pyramid, labels: Sequence[str], curve: Sequence[Mapping[str, Any]]
) -> bytes:
    """Encodes a trained network: backbone, head, and what its classes are."""
    tensors = {TRUNK + name: tensor for name, tensor in backbone.trunk.state_dict().items()}
    tensors |= {HEAD + name: tensor for name, tensor in head.state_dict().items()}
    described = {"backbone": backbone.spec.to_dict(), **_described(head, pyramid, labels, curve)}
    return write_safetensors(tensors, _metadata(described))


def encode_head(trained: TrainedHead) -> bytes:
    """Encodes a fine-tuned head."""
    tensors = {HEAD + name: tensor for name, tensor in trained.head.state_dict().items()}
    described = _described(trained.head, trained.pyramid, trained.labels, trained.curve)
    described |= {"scales": list(trained.scales), "convention": trained.convention}
    return write_safetensors(tensors, _metadata(described))


def read_backbone(network: Artifact) -> Backbone:
    """Reads the backbone of a `network` artifact, on the CPU, in evaluation mode.

    Raises:
        ArtifactError: The artifact is missing, corrupt or holds no backbone.
    """
    data, where = network.read(UNIT), f"{network.name}/{UNIT}"
    spec = _field(read_metadata(data, where), "backbone", where)
    try:
        backbone = build_backbone(BackboneSpec.from_dict(spec))
        load_backbone(backbone, read_safetensors(data, where), where, prefix=TRUNK)
    except ConfigError as error:
        raise ArtifactError(f"{where}: not this version's network ({error})") from error
    return backbone.eval()


def has_head(network: Artifact) -> bool:
    """Tells whether a `network` artifact holds a head: an imported backbone has none."""
    return "head" in read_metadata(network.read(UNIT), f"{network.name}/{UNIT}")


def read_trained_head(artifact: Artifact) -> TrainedHead:
    """Reads the head, with its description, of a `head` or `network` artifact.

    Raises:
        ArtifactError: The artifact is missing, corrupt or holds no head.
    """
    data, where = artifact.read(UNIT), f"{artifact.name}/{UNIT}"
    metadata = read_metadata(data, where)
    spec = _field(metadata, "head", where)
    tensors = {name: tensor for name, tensor in read_safetensors(data, where).items() if name.startswith(HEAD)}
    try:
        head = FcHead.from_spec(HeadSpec.from_dict(spec))
        load_state(head, tensors, where, prefix=HEAD)
        pyramid = Pyramid(tuple(_field(metadata, "pyramid", where)))
    except ConfigError as error:
        raise ArtifactError(f"{where}: not this version's head ({error})") from error
    return TrainedHead(
        head=head.eval(),
        pyramid=pyramid,
        labels=tuple(_field(metadata, "labels", where)),
        scales=tuple(json.loads(metadata.get("scales", "[]"))),
        convention=cast(Convention, json.loads(metadata.get("convention", '"paper"'))),
        curve=tuple(_field(metadata, "curve", where)),
    )


def read_head(artifact: Artifact) -> FcHead:
    """Reads only the layers; see `read_trained_head`."""
    return read_trained_head(artifact).head


def read_head_levels(artifact: Artifact) -> tuple[int, ...]:
    """Reads only the levels of the pyramid below a head; see `read_trained_head`."""
    data, where = artifact.read(UNIT), f"{artifact.name}/{UNIT}"
    return tuple(_field(read_metadata(data, where), "pyramid", where))


def _described(
    head: FcHead, pyramid: Pyramid, labels: Sequence[str], curve: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "head": head.spec.to_dict(),
        "pyramid": list(pyramid.levels),
        "labels": list(labels),
        "curve": [dict(point) for point in curve],
    }


def _metadata(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: canonical_json(value) for name, value in values.items()}


def _field(metadata: Mapping[str, str], name: str, where: str) -> Any:
    if name not in metadata:
        raise ArtifactError(f"{where}: holds no {name}")
    try:
        return json.loads(metadata[name])
    except ValueError as error:
        raise ArtifactError(f"{where}: its {name} is not JSON ({error})") from error
