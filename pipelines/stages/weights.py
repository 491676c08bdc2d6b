"""weights: a backbone trained elsewhere, from a file or as torchvision publishes it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipelines.artifacts.networks import (
    MEAN_IMAGE,
    SUFFIX,
    TRUNK,
    UNIT,
    TrainedHead,
    encode_backbone,
    encode_network,
    read_described_head,
)
from pipelines.datasets.looking import known_contents, look_of_files
from pipelines.datasets.weight_files import CONFIG, SeenWeights, look_at_weights, read_weight_file
from pipelines.engine.commits import Output
from pipelines.engine.looks import Look, Past
from pipelines.engine.phases import Phase
from pipelines.engine.stage import FILES, RUNTIME, Beside, Stage, StageConfig
from pipelines.engine.store import Store
from pipelines.training.network_config import BackboneFields, LevelsField
from sppnet.errors import ConfigError
from sppnet.networks.architectures import TORCHVISION_PREFIX
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone
from sppnet.networks.checkpoints import load_found
from sppnet.networks.imported_heads import PooledLayout, imported_head, is_head_tensor
from sppnet.networks.published_pixels import assume_pixels, doubt_pixels, entry_pixels, settle_pixels
from sppnet.networks.state_dicts import Groups, read_weights
from sppnet.networks.torchvision_models import download_weights, published_weights
from sppnet.own_parts import is_import_path
from sppnet.pooling.pyramid import Pyramid

logger = logging.getLogger(__name__)


class HeadFields(BaseModel):
    """What a file without a description of its own can't tell of its fc6, fc7 and fc8.

    Attributes:
        levels: Levels of the pyramid below fc6. [bins a side; section 2.2]
        layout: Order of the values that fc6 takes: `sppnet`, or `released` for weights of the authors' Caffe models.
        labels: What fc8's outputs stand for, in order; by default their numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: LevelsField = (6, 3, 2, 1)
    layout: PooledLayout = "sppnet"
    labels: tuple[str, ...] | None = None

    @field_validator("levels")
    @classmethod
    def _with_spp(cls, value: LevelsField) -> LevelsField:
        if value == "none":
            raise ValueError("a head without SPP has one size of map and can't pool windows")
        return value


class ImportWeightsConfig(BackboneFields):
    """Config of `weights`; the weights come from `path` or from `torchvision`, one of the two.

    What becomes of pixels follows from the weights, unless `preprocessing` states it: a network of our own describes
    it, torchvision tells it of its weights (a file of its own is known by its digest), timm's `config.json` tells it of
    the file beside it. Weights that nobody knows are taken as the architecture's, with a warning, or have to state it.

    Attributes:
        path: A safetensors file, or a state dict or checkpoint saved by torch (`.pth`). Its content, not its path, is
            in the fingerprint. Tensors have the architecture's own names, whatever stands before all of them, or are
            those of a network that `pretrain` published (whose mean image and head come along). A classifier's other
            tensors are ignored.
        torchvision: Weights that torchvision publishes for a `torchvision:` architecture, such as `IMAGENET1K_V1`;
            downloaded where the step runs. The file's name, which ends with its hash, is in the fingerprint.
        state_dict: Which network of a file that holds several is meant: what stands before its tensors' names, such as
            `model_ema`; `.` for those with nothing before them.
        head: Says how to read `fc6`, `fc7` and `fc8` of a file that does not describe them itself; without it they
            are left out, and the network has convolutions only.
    """

    stage: Literal["weights"]
    path: Annotated[str | None, RUNTIME, FILES, Beside((CONFIG,))] = None
    torchvision: Annotated[str | None, RUNTIME, Field(min_length=1)] = None
    state_dict: str | None = None
    head: HeadFields | None = None

    def source(self) -> str | tuple[str, str]:
        """Return where the weights are from: a path or URI, or a torchvision model and the name of its weights.

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
    schema: ClassVar[int] = 2
    config_type: ClassVar[type[StageConfig]] = ImportWeightsConfig

    @classmethod
    def external(cls, config: ImportWeightsConfig) -> Mapping[str, Any]:
        """Return what torchvision calls its file of weights, where they come from there."""
        source = config.source()
        if isinstance(source, str):
            return {}
        entry = published_weights(*source)
        return {"weights": f"{entry} {entry.url.rpartition('/')[2]}"}

    @classmethod
    def outside(cls, config: ImportWeightsConfig) -> Mapping[str, Any] | None:
        """Name the file of weights, where they come from one."""
        source = config.source()
        return {"path": source} if isinstance(source, str) else None

    @classmethod
    def look(cls, config: ImportWeightsConfig, store: Store, past: Past) -> Look:
        """Look at the file of weights: its content, not its path, is in the fingerprint."""
        contents = known_contents(past)
        seen = look_at_weights(str(config.source()), contents)
        spec, warning = _settle(config, seen)
        _warn(warning)
        digests: dict[str, Any] = {"weights": seen.file.sha256}
        if spec.preprocessing and spec.preprocessing != config.spec().preprocessing and seen.network is None:
            digests["pixels"] = spec.preprocessing.to_dict()  # another file's word may change, and these bytes not
        return look_of_files(digests, contents)

    @classmethod
    def check(cls, config: ImportWeightsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Raise `ConfigError` for an architecture or published weights that do not exist, or pixels that can't be."""
        spec = config.spec()
        if config.preprocessing is not None and spec.preprocessing is not None:
            _warn(doubt_pixels(spec.preprocessing))
        source = config.source()
        if not isinstance(source, str):
            _warn(_settle_published(config, source)[1])
        if is_import_path(config.architecture):
            with torch.device("meta"):  # whether it gives maps, before anything runs
                build_backbone(spec)

    def phases(self) -> list[Phase]:
        """Return one unit."""
        return [Phase("import", (UNIT,), keyed=False)]

    def run(self, unit: str) -> Output:
        """Read the weights and check them; raise `ConfigError` naming the first wrong tensor."""
        groups, spec, data, where = self._read()
        try:
            backbone = build_backbone(spec)
        except ConfigError as error:
            raise ConfigError(f"step {self.spec.step}: {error}") from error
        found_weights = load_found(
            backbone, groups, where, choice=self.config.state_dict, inner=TRUNK, is_beside=_is_beside
        )
        tensors = dict(found_weights.beside)
        mean_image = tensors.pop(MEAN_IMAGE, None)
        backbone.mean_image = mean_image
        parameters = sum(parameter.numel() for parameter in backbone.trunk.parameters())
        figures = {"parameters": parameters, **_told_cast(found_weights.cast, where)}
        found = self._head(backbone, tensors, data, where)
        if found is None:
            state = backbone.trunk.state_dict()
            published = encode_backbone(backbone.spec, state, mean_image=backbone.mean_image)
            return Output(published, SUFFIX, rows=len(state), done=0, metrics=figures)
        head, sizes = found
        published = encode_network(backbone, head.head, head.pyramid, head.labels, head.curve, sizes=sizes)
        figures["head_parameters"] = sum(parameter.numel() for parameter in head.head.parameters())
        rows = len(backbone.trunk.state_dict()) + len(head.head.state_dict())
        return Output(published, SUFFIX, rows=rows, done=0, metrics=figures)

    def _head(
        self, backbone: Backbone, tensors: Mapping[str, torch.Tensor], data: bytes | None, where: str
    ) -> tuple[TrainedHead, tuple[int, ...]] | None:
        """Return the file's head, by its own description or the config's, and the sizes that it was trained at."""
        described = None if data is None else read_described_head(data, where)
        wanted = self.config.head
        if described is not None:
            if wanted is not None:
                raise ConfigError(f"head: {where} describes its head itself: leave it out")
            return described
        if wanted is None:
            return None
        pyramid = Pyramid(wanted.levels)  # type: ignore[arg-type]  # "none" is refused
        head = imported_head(tensors, pyramid, backbone.channels, wanted.layout, where)
        labels = wanted.labels or tuple(map(str, range(head.spec.classes)))
        if len(labels) != head.spec.classes:
            raise ConfigError(f"head.labels: {len(labels)} for the {head.spec.classes} outputs of fc8 in {where}")
        return TrainedHead(head, pyramid, labels), ()

    def _read(self) -> tuple[Groups, BackboneSpec, bytes | None, str]:
        """Read the tensors, their network, the file's bytes (None if downloaded), and where they are from."""
        source = self.config.source()
        if isinstance(source, str):
            data, seen = read_weight_file(source)
            return read_weights(data, source), _settle(self.config, seen)[0], data, source
        spec, _ = _settle_published(self.config, source)
        return {"": download_weights(*source)}, spec, None, " ".join(source)


def _settle(config: ImportWeightsConfig, seen: SeenWeights) -> tuple[BackboneSpec, str]:
    """Return the network that a file's weights are of, with its pixels, and a warning about those, empty for none."""
    spec, stated = config.spec(), config.preprocessing is not None
    own = seen.network
    if own is not None:
        if own.architecture != spec.architecture:
            raise ConfigError(
                f"architecture: {seen.file.where} is a network of {own.architecture}, not {spec.architecture}"
            )
        if config.response_norm is None:
            spec = replace(spec, response_norm=own.response_norm)
        if config.dilate is None:
            spec = replace(spec, dilate=own.dilate)
    published = seen.file.published()
    if published is not None:
        return settle_pixels(spec, published, seen.file.where, stated=stated)
    return spec, "" if stated else assume_pixels(spec, seen.file)


def _settle_published(config: ImportWeightsConfig, source: tuple[str, str]) -> tuple[BackboneSpec, str]:
    """Return the network that torchvision's published weights are of, with its pixels, and a warning or nothing."""
    published = entry_pixels(source[0], published_weights(*source))
    return settle_pixels(config.spec(), published, " ".join(source), stated=config.preprocessing is not None)


def _warn(text: str) -> None:
    if text:
        logger.warning("%s", text)


def _is_beside(name: str) -> bool:
    return name == MEAN_IMAGE or is_head_tensor(name)


def _told_cast(cast: Mapping[str, int], where: str) -> dict[str, int]:
    """Say which tensors were of another type than the network's, and return how many for the commit."""
    for kind, count in cast.items():
        logger.warning("%s: %d tensors are %s and are computed with as float32", where, count, kind)
    return {f"cast_from_{kind}": count for kind, count in cast.items()}
