"""weights: a backbone trained elsewhere, from a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipelines.fingerprint import content_digest
from pipelines.networks import SUFFIX, TRUNK, UNIT, encode_backbone
from pipelines.stage import RUNTIME, Phase, Stage, StageConfig
from pipelines.store import open_store
from pipelines.workspace import Output
from sppnet.backbones import BackboneSpec, build_backbone, load_backbone
from sppnet.errors import ArtifactError, ConfigError
from sppnet.images import Preprocessing
from sppnet.weights import read_safetensors


class ImportWeightsConfig(StageConfig):
    """Config of `weights`.

    Attributes:
        path: The safetensors file. Its content, not its path, is in the fingerprint. Tensors have the
            architecture's own names, or those of a network that `pretrain` published.
        architecture: A backbone's name.
        width: Multiplies every layer's channels.
        cut: The last module kept; by default the architecture's last convolution with its ReLU.
        preprocessing: What the weights want of their pixels; by default the architecture's.
        response_norm: Whether responses are normalised; by default the architecture's.
    """

    stage: Literal["weights"]
    path: Annotated[str, RUNTIME]
    architecture: str
    width: Annotated[float, Field(gt=0)] = 1.0
    cut: str | None = None
    preprocessing: Mapping[str, Any] | None = None
    response_norm: bool | None = None

    def spec(self) -> BackboneSpec:
        """The backbone that the config names; raises `ConfigError` for one that does not exist."""
        wanted = Preprocessing.from_dict(self.preprocessing) if self.preprocessing else None
        return BackboneSpec(self.architecture, self.width, self.cut, wanted, self.response_norm)


class ImportWeights(Stage[ImportWeightsConfig]):
    """Publishes one network, checked tensor by tensor against its architecture."""

    name: ClassVar[str] = "weights"
    makes: ClassVar[str] = "network"
    config_type: ClassVar[type[StageConfig]] = ImportWeightsConfig

    @classmethod
    def external(cls, config: ImportWeightsConfig) -> Mapping[str, Any]:
        """Digest of the file's content."""
        return {"weights": content_digest(_read(config.path))}

    @classmethod
    def check(cls, config: ImportWeightsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Raises `ConfigError` for an architecture that does not exist."""
        config.spec()

    def phases(self) -> list[Phase]:
        """One unit."""
        return [Phase("import", (UNIT,), keyed=False)]

    def run(self, unit: str) -> Output:
        """Reads the file and checks it; raises `ConfigError` naming the first wrong tensor."""
        path = self.config.path
        tensors = read_safetensors(_read(path), path)
        backbone = build_backbone(self.config.spec())
        prefix = TRUNK if any(name.startswith(TRUNK) for name in tensors) else ""
        load_backbone(backbone, tensors, path, prefix=prefix)
        state = backbone.trunk.state_dict()
        data = encode_backbone(backbone.spec, state)
        parameters = sum(tensor.numel() for tensor in state.values())
        return Output(data, SUFFIX, rows=len(state), done=0, metrics={"parameters": parameters})


def _read(path: str) -> bytes:
    if "://" in path:
        folder, _, name = path.rpartition("/")
        try:
            return open_store(folder).read(name)
        except ArtifactError as error:
            raise ConfigError(f"path: weights {error}") from error
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"path: weights {path} can't be read: {error.strerror}") from error
