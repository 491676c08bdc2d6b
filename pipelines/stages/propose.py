"""propose: windows per image, by selective search (fast mode, the authors' parameters), EdgeBoxes, or both."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.windows_and_maps import WindowsRow, encode_windows
from pipelines.datasets.looking import known_contents, look_of_files
from pipelines.datasets.outside_files import read_outside, seen_outside
from pipelines.engine.commits import Output
from pipelines.engine.looks import Look, Past
from pipelines.engine.machine import DeviceName, GpuFields, choose_device
from pipelines.engine.nearest import nearest
from pipelines.engine.own_code import OwnParts
from pipelines.engine.phases import Phase, Resources
from pipelines.engine.stage import COVERAGE, RUNTIME, Input, StageConfig
from pipelines.engine.store import Store
from pipelines.shards.reading import decode_record, read_images
from pipelines.shards.stage import PerShardStage, require_ingested
from sppnet.errors import ConfigError, DataError
from sppnet.networks.network import Precision
from sppnet.own_parts import is_import_path
from sppnet.proposals.edges import EdgeDetector, EdgeKind, StructuredEdges, gradient_edges
from sppnet.proposals.learned_edges import MAX_PIXELS, LearnedEdges
from sppnet.proposals.methods import METHODS, EdgeBoxesSettings, Method, Proposals, SelectiveSearchSettings
from sppnet.proposals.pidinet import MIN_SIDE, read_pidinet
from sppnet.proposals.windows import join_windows
from sppnet.seeds import derive_seed

_MODEL = "edge_boxes.model: the model of edges"
_OF_PIDINET = ("precision", "edge_pixels")

_OWN = OwnParts("sppnet.proposals")


def _method(name: str) -> str:
    found = _OWN.path_of(name, METHODS.__contains__)
    if found not in METHODS and not is_import_path(found):
        raise ValueError(f"must be a method or package.module:function{nearest(name, METHODS)}")
    return found


_SCHEMA = {"anyOf": [{"enum": [*METHODS], "type": "string"}, {"pattern": r"^[\w.]+:[\w.]+$", "type": "string"}]}
MethodName = Annotated[Method, AfterValidator(_method), WithJsonSchema(_SCHEMA)]
"""One of `METHODS`, or an own one: an import path, which the name of an entry point becomes."""


class SelectiveSearchOptions(BaseModel):
    """Options of selective search.

    Attributes:
        k: Sizes of the graph segmentations: about how many pixels a first region has. [pixels]
        sigma: Smoothing before them. [pixels]
        resize_width: Search in the image resized to this width (R-CNN on ILSVRC: 500); not by default.
            [pixels; section 4.5]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (50, 100)
    sigma: Annotated[float, Field(gt=0)] = 0.8
    resize_width: Annotated[int, Field(ge=1)] | None = None


class EdgeBoxesOptions(BaseModel):
    """Options of EdgeBoxes; defaults are the authors'.

    Attributes:
        model: File with the model that finds edges: a `.safetensors` is PiDiNet's weights (learned edges), any other
            OpenCV's forest of structured edges; without one, edges are plain gradients. Its content, not its path, is
            in the fingerprint. [section 4.3]
        precision: Type that PiDiNet computes in.
        edge_pixels: Of an image that has more pixels, PiDiNet sees the image made smaller. [pixels]
        alpha: IoU of neighbouring windows of the sliding search. [IoU]
        beta: IoU above which a window is suppressed by a better one. [IoU]
        eta: What `beta` is multiplied by after every window that is kept, while it is above 0.5. [factor]
        min_score: Windows of lower scores are dropped. [score]
        min_area: Area of the smallest windows that are searched. [square pixels]
        max_aspect: Greatest ratio of a window's sides, either way. [ratio]
        gamma: How fast the affinity of two groups of edges falls with their angle. [no unit]
        kappa: How much larger windows must have more edges. [no unit]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = None
    precision: Precision = "float32"
    edge_pixels: Annotated[int, Field(ge=MIN_SIDE**2)] = MAX_PIXELS
    alpha: Annotated[float, Field(gt=0, le=0.95)] = 0.65
    beta: Annotated[float, Field(gt=0, le=1)] = 0.75
    eta: Annotated[float, Field(gt=0, le=1)] = 1.0
    min_score: Annotated[float, Field(gt=0)] = 0.01
    min_area: Annotated[float, Field(ge=100)] = 1000.0
    max_aspect: Annotated[float, Field(ge=1)] = 3.0
    gamma: Annotated[float, Field(gt=0)] = 2.0
    kappa: Annotated[float, Field(gt=0)] = 1.5

    @property
    def edges(self) -> EdgeKind:
        """The kind of edges."""
        if self.model is None:
            return "gradient"
        return "learned" if self.model.endswith(".safetensors") else "structured"

    def semantic(self) -> dict[str, Any]:
        """Return what changes the result: the kind of edges for the model, and PiDiNet's options where it is that."""
        unused = {"model"} if self.edges == "learned" else {"model", *_OF_PIDINET}
        return {**self.model_dump(mode="json", exclude=unused), "edges": self.edges}


class ProposeConfig(GpuFields):
    """Config of `propose`.

    Attributes:
        images: The step that ingests.
        splits: Splits to propose windows for.
        methods: How windows are proposed: `selective-search`, `edge-boxes`, or one of your own,
            `package.module:function`, which takes an image, uint8 `[H, W, 3]` RGB, and returns boxes `[n, 4]`, x0, y0,
            x1, y1 in pixels, the best first; or the name of an entry point of `sppnet.proposals`. The windows of
            several methods come method after method, each once. [section 4.1; section 4.3]
        min_side: Windows with a shorter side are dropped. [pixels]
        max_windows: At most so many windows an image and method, those of the highest rank; by default all, and
            2,000 of EdgeBoxes. [windows; section 4.1]
        selective_search: Options of that method.
        edge_boxes: Options of that method.
        device: Where PiDiNet computes; all else is for CPUs, and takes longer.
    """

    stage: Literal["propose"]
    images: Annotated[str, Input(("images",))]
    splits: Annotated[tuple[str, ...], COVERAGE] = ("train", "val")
    methods: Annotated[tuple[MethodName, ...], _OWN, Field(min_length=1)] = ("selective-search",)
    min_side: Annotated[int, Field(ge=1)] = 20
    max_windows: Annotated[int, Field(ge=1)] | None = None
    selective_search: SelectiveSearchOptions = SelectiveSearchOptions()
    edge_boxes: EdgeBoxesOptions = EdgeBoxesOptions()
    device: Annotated[DeviceName, RUNTIME] = "cpu"

    @property
    def edges(self) -> EdgeKind | None:
        """The kind of edges that are looked for; None where no method does."""
        return self.edge_boxes.edges if "edge-boxes" in self.methods else None

    def resources(self, memory_bytes: int = 0) -> Resources:
        """Return what a unit needs, see `CpuFields.resources`; GPUs only for PiDiNet on one."""
        found = super().resources(memory_bytes)
        return found if self.edges == "learned" and self.device != "cpu" else replace(found, gpus=0)

    def proposals(self) -> Proposals:
        """Return how windows are proposed, what finds edges apart."""
        return Proposals(
            self.methods,
            self.min_side,
            self.max_windows,
            SelectiveSearchSettings(**self.selective_search.model_dump()),
            EdgeBoxesSettings(**self.edge_boxes.model_dump(exclude={"model", *_OF_PIDINET})),
        )

    def semantic(self) -> dict[str, Any]:
        """Return what changes the result: the methods' own options, and of the model what kind of edges it gives."""
        found = {**super().semantic(), "edge_boxes": self.edge_boxes.semantic()}
        for method in ("selective-search", "edge-boxes"):
            if method not in self.methods:
                found.pop(method.replace("-", "_"))
        return found


class Propose(PerShardStage[ProposeConfig]):
    """Writes one Parquet file a shard, one row an image."""

    name: ClassVar[str] = "propose"
    makes: ClassVar[str] = "windows"
    schema: ClassVar[int] = 2
    seeded: ClassVar[bool] = True
    config_type: ClassVar[type[StageConfig]] = ProposeConfig

    @classmethod
    def check(cls, config: ProposeConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the splits are ingested."""
        require_ingested(config.splits, inputs)
        if len(set(config.methods)) < len(config.methods):
            raise ConfigError(f"methods: each at most once, got {', '.join(config.methods)}")

    @classmethod
    def outside(cls, config: ProposeConfig) -> Mapping[str, Any] | None:
        """Name the model of edges, where there is one."""
        return None if config.edges in (None, "gradient") else {"model": config.edge_boxes.model}

    @classmethod
    def look(cls, config: ProposeConfig, store: Store, past: Past) -> Look:
        """Look at the model: its content, not its path, is in the fingerprint. New weights are tried."""
        contents = known_contents(past)
        (digest,) = contents.digests([seen_outside(str(config.edge_boxes.model), _MODEL)])
        if contents.read_count and config.edges == "learned":  # a forest takes seconds to read
            _edge_detector(config, torch.device("cpu"), f"edge_boxes.model {config.edge_boxes.model}")
        return look_of_files({"edge_model": digest}, contents)

    @cached_property
    def _edges(self) -> EdgeDetector:
        config, step = self.config, self.spec.step
        device = choose_device(config.device, step) if config.edges == "learned" else torch.device("cpu")
        return _edge_detector(config, device, f"step {step}: edge_boxes.model {config.edge_boxes.model}")

    def phases(self) -> list[Phase]:
        """Return one phase; a unit is a shard."""
        return [Phase("propose", self.shards(self.config.splits), self.config.resources())]

    def run(self, unit: str) -> Output:
        """Propose windows for a shard's images; an image without any is quarantined as `no-windows`."""
        records, earlier = read_images(self.input("images"), unit)
        work = self.work(unit, earlier)
        rows: list[WindowsRow] = []
        found: dict[str, int] = dict.fromkeys(self.config.methods, 0)
        for row, counts in work.each(records, self._propose):
            rows.append(row)
            for method, count in counts.items():
                found[method] += count
        figures = {"windows": sum(len(row.windows) for row in rows), **found}
        return work.output(encode_windows(rows), ".parquet", len(rows), figures)

    def _propose(self, record: ImageRecord) -> tuple[WindowsRow, dict[Method, int]]:
        image = decode_record(record)
        seed = derive_seed(self.seed, self.name, record.key)
        try:
            parts = self.config.proposals()(image, seed, self._edges)
        except ConfigError as error:
            raise ConfigError(f"step {self.spec.step}: methods: {record.key}: {error}") from error
        windows = join_windows(list(parts.values()))
        if len(windows) == 0:
            methods = " and ".join(method.replace("-", " ") for method in self.config.methods)
            raise DataError("no-windows", f"{methods} found no window of at least {self.config.min_side} px")
        counts = {method: len(part) for method, part in parts.items()}
        return WindowsRow(record.key, image.shape[1], image.shape[0], windows), counts


def _edge_detector(config: ProposeConfig, device: torch.device, where: str) -> EdgeDetector:
    """Build what finds edges; raise `ConfigError`, which begins with `where`, for a model that can't be used."""
    kind, options = config.edges, config.edge_boxes
    if kind in (None, "gradient") or options.model is None:
        return gradient_edges
    data = read_outside(options.model, _MODEL)
    if kind == "structured":
        return _structured(data, PurePosixPath(options.model).name, where)
    return LearnedEdges(read_pidinet(data, where), device, options.precision, options.edge_pixels)


def _structured(model: bytes, name: str, where: str) -> StructuredEdges:
    # OpenCV reads a file only, and tells by its name whether it is compressed.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(model)
        try:
            return StructuredEdges(path)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
