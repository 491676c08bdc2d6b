"""propose: windows per image, by selective search (fast mode, the authors' parameters)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipelines.manifest import Manifest
from pipelines.schemas import WindowsRow, encode_windows
from pipelines.shards import check_account, decode_record, read_images, splits_units
from pipelines.stage import COVERAGE, Input, Phase, Stage, StageConfig, require_subset
from pipelines.tars import ImageRecord
from pipelines.workspace import Output, Quarantined
from sppnet.errors import DataError
from sppnet.proposals import selective_search
from sppnet.seeds import derive_seed


class ProposeConfig(StageConfig):
    """Config of `propose`.

    Attributes:
        images: The step that ingests.
        splits: Splits to propose windows for.
        method: How windows are proposed.
        k: Sizes of the graph segmentations, in pixels.
        min_side: Windows with a shorter side, in pixels, are dropped.
        max_windows: At most so many windows an image, those of the highest priority; all by default.
    """

    stage: Literal["propose"]
    images: Annotated[str, Input(("images",))]
    splits: Annotated[tuple[str, ...], COVERAGE] = ("train", "val")
    method: Literal["selective-search"] = "selective-search"
    k: tuple[int, ...] = (50, 100)
    min_side: Annotated[int, Field(ge=1)] = 20
    max_windows: Annotated[int, Field(ge=1)] | None = None


class Propose(Stage[ProposeConfig]):
    """Writes one Parquet file a shard, one row an image."""

    name: ClassVar[str] = "propose"
    makes: ClassVar[str] = "windows"
    seeded: ClassVar[bool] = True
    config_type: ClassVar[type[StageConfig]] = ProposeConfig

    @classmethod
    def check(cls, config: ProposeConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """The splits must be ingested."""
        images: Any = inputs["images"][0]
        require_subset(config.splits, images.dataset.splits, "splits", "split")

    @cached_property
    def _manifest(self) -> Manifest:
        return Manifest.read(self.input("images"))

    def phases(self) -> list[Phase]:
        """One phase; a unit is a shard."""
        return [Phase("propose", splits_units(self._manifest, self.config.splits))]

    def run(self, unit: str) -> Output:
        """Proposes windows for a shard's images; an image without any is quarantined as `no-windows`."""
        records, earlier = read_images(self.input("images"), unit)
        rows: list[WindowsRow] = []
        quarantined = list(earlier)
        for record in records:
            try:
                rows.append(self._propose(record))
            except DataError as error:
                quarantined.append(Quarantined(record.key, error.reason, error.detail, self.name))
        check_account(unit, self._manifest.keys(unit), len(rows), tuple(quarantined))
        return Output(
            data=encode_windows(rows),
            suffix=".parquet",
            rows=len(rows),
            done=len(rows),
            quarantined=tuple(quarantined),
            metrics={"windows": sum(len(row.windows) for row in rows)},
        )

    def _propose(self, record: ImageRecord) -> WindowsRow:
        image = decode_record(record)
        windows = selective_search(
            image,
            k=self.config.k,
            min_side=self.config.min_side,
            max_windows=self.config.max_windows,
            seed=derive_seed(self.seed, self.name, record.key),
        )
        if len(windows) == 0:
            raise DataError("no-windows", f"selective search found no window of at least {self.config.min_side} px")
        return WindowsRow(record.key, image.shape[1], image.shape[0], windows)
