"""weights: a backbone trained elsewhere, from a file or as torchvision publishes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field

from pipelines.fingerprint import content_digest
from pipelines.network_config import BackboneFields
from pipelines.networks import HEAD, MEAN_IMAGE, SUFFIX, TRUNK, UNIT, encode_backbone
from pipelines.outside import read_outside
from pipelines.stage import RUNTIME, Phase, Stage, StageConfig
from pipelines.workspace import Output
from sppnet.backbones import TORCHVISION_PREFIX, build_backbone, load_backbone
from sppnet.errors import ConfigError
from sppnet.state_dicts import read_weights
from sppnet.torchvision_models import download_weights, published_weights


class ImportWeightsConfig(BackboneFields):
    """Config of `weights`; the weights come from `path` or from `torchvision`, one of the two.

    Attributes:
        path: A safetensors file or a state dict saved by torch (`.pth`). Its content, not its path, is in the
            fingerprint. Tensors have the architecture's own names, or those of a network that `pretrain` published
            (whose mean image comes along). A classifier's tensors are ignored.
        torchvision: Weights that torchvision publishes for a `torchvision:` architecture, such as `IMAGENET1K_V1`;
            downloaded where the step runs. The file's name, which ends with its hash, is in the fingerprint.
    """

    stage: Literal["weights"]
    path: Annotated[str | None, RUNTIME] = None
    torchvision: Annotated[str | None, RUNTIME, Field(min_length=1)] = None

    def source(self) -> str | tuple[str, str]:
        """Where the weights are from: a path or URI, or a torchvision model and the name of its weights.

        Raises:
            ConfigError: Neither or both are given, or torchvision's weights for an architecture that is not its own.
        """
        if self.torchvision is None and self.path is not None:
            return self.path
        if self.torchvision is None or self.path is not None:
            raise ConfigError("weights come from a path or from torchvision: give one of the two")
        if not self.architecture.startswith(TORCHVISION_PREFIX):
            raise ConfigError(
                f"torchvision: publishes no weights for {self.architecture}; name {TORCHVISION_PREFIX}<name> as the "
                "architecture, or give the file by path"
            )
        return self.architecture.removeprefix(TORCHVISION_PREFIX), self.torchvision


class ImportWeights(Stage[ImportWeightsConfig]):
    """Publishes one network, checked tensor by tensor against its architecture."""

    name: ClassVar[str] = "weights"
    makes: ClassVar[str] = "network"
    config_type: ClassVar[type[StageConfig]] = ImportWeightsConfig

    @classmethod
    def external(cls, config: ImportWeightsConfig) -> Mapping[str, Any]:
        """Digest of the file's content, or what torchvision calls the file."""
        source = config.source()
        if isinstance(source, str):
            return {"weights": content_digest(read_outside(source, "path: weights"))}
        entry = published_weights(*source)
        return {"weights": f"{entry} {entry.url.rpartition('/')[2]}"}

    @classmethod
    def check(cls, config: ImportWeightsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Raises `ConfigError` for an architecture or published weights that do not exist."""
        config.spec()
        source = config.source()
        if not isinstance(source, str):
            published_weights(*source)

    def phases(self) -> list[Phase]:
        """One unit."""
        return [Phase("import", (UNIT,), keyed=False)]

    def run(self, unit: str) -> Output:
        """Reads the weights and checks them; raises `ConfigError` naming the first wrong tensor."""
        tensors, where = self._tensors()
        mean_image = tensors.pop(MEAN_IMAGE, None)
        backbone = build_backbone(self.config.spec())
        prefix = TRUNK if any(name.startswith(TRUNK) for name in tensors) else ""
        # A network's own head, as `sppnet export` writes it, is no part of a backbone.
        trunk = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEAD)}
        load_backbone(backbone, trunk, where, prefix=prefix)
        backbone.mean_image = mean_image
        state = backbone.trunk.state_dict()
        data = encode_backbone(backbone.spec, state, mean_image=backbone.mean_image)
        parameters = sum(parameter.numel() for parameter in backbone.trunk.parameters())
        return Output(data, SUFFIX, rows=len(state), done=0, metrics={"parameters": parameters})

    def _tensors(self) -> tuple[dict[str, torch.Tensor], str]:
        """The tensors by name, and where they are from."""
        source = self.config.source()
        if isinstance(source, str):
            return read_weights(read_outside(source, "path: weights"), source), source
        return download_weights(*source), " ".join(source)
