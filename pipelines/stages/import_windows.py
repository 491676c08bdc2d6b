"""import-windows: windows that another program proposed, such as the published selective-search boxes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.windows_and_maps import WindowsRow, encode_windows
from pipelines.datasets.window_files import FoundBoxes, digest_window_files, read_window_files
from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.stage import COVERAGE, RUNTIME, Input, Phase, Stage, StageConfig, require_subset
from pipelines.engine.workspace import Output, Quarantined
from pipelines.shards.reading import check_account, read_images, splits_units
from sppnet.errors import DataError
from sppnet.proposals.windows import BoxConvention, fit_windows

logger = logging.getLogger(__name__)

SOURCE = "source.json"
"""Says how many images the files know, and which of them the images artifact doesn't."""
_SHOWN = 5


class ImportWindowsConfig(StageConfig):
    """Config of `import-windows`.

    Attributes:
        images: The step that ingests.
        paths: Files (.mat, .json, .parquet) or folders of them. Their content, not their place, is in the fingerprint.
        convention: What the boxes' numbers mean: R-CNN's and SPP-net's .mat files are `yxyx-1-inclusive`, Fast
            R-CNN's demo boxes `xyxy-0-inclusive`, this project's Parquet `xyxy-0-half-open`.
        splits: Splits whose images have windows in the files.
        outside: What happens to an image with a window that leaves it by more than a pixel: the image is quarantined
            as `window-outside-image`, or its windows are clipped.
        min_side: Windows with a shorter side, in pixels, are dropped; those without area always are.
        max_windows: At most so many windows an image, the first; all by default.
    """

    stage: Literal["import-windows"]
    images: Annotated[str, Input(("images",))]
    paths: Annotated[tuple[str, ...], RUNTIME, Field(min_length=1)]
    convention: BoxConvention
    splits: Annotated[tuple[str, ...], COVERAGE] = ("train", "val")
    outside: Literal["quarantine", "clip"] = "quarantine"
    min_side: Annotated[float, Field(ge=0)] = 0
    max_windows: Annotated[int, Field(ge=1)] | None = None


class ImportWindows(Stage[ImportWindowsConfig]):
    """Writes one Parquet file a shard, one row an image, as `propose` does."""

    name: ClassVar[str] = "import-windows"
    makes: ClassVar[str] = "windows"
    config_type: ClassVar[type[StageConfig]] = ImportWindowsConfig

    @classmethod
    def check(cls, config: ImportWindowsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """The splits must be ingested."""
        images: Any = inputs["images"][0]
        require_subset(config.splits, images.dataset.open().splits, "splits", "split")

    @classmethod
    def external(cls, config: ImportWindowsConfig) -> Mapping[str, Any]:
        """Digests of the files' content."""
        return {"files": digest_window_files(config.paths)}

    def prepare(self) -> None:
        """Records once which images the files know, and warns of those that are not in the data set."""
        place = f"{self.artifact.name}/{SOURCE}"
        if self.artifact.store.exists(place):
            return
        manifest = self._manifest
        known = {key for split in manifest.splits.values() for shard in split for key in shard}
        unknown = sorted(set(self._found.boxes) - known)
        if unknown:
            shown = ", ".join(unknown[:_SHOWN])
            total = len(self._found.boxes)
            logger.warning("step %s: %d of %d images of the files are not in the data set: %s", self.spec.step,
                           len(unknown), total, shown)  # fmt: skip
        body = {"images": len(self._found.boxes), "unknown": len(unknown), "unknown_keys": unknown[:100]}
        self.artifact.store.create(place, canonical_json(body).encode())

    @cached_property
    def _manifest(self) -> Manifest:
        return Manifest.read(self.input("images"))

    @cached_property
    def _found(self) -> FoundBoxes:
        return read_window_files(self.config.paths, self.config.convention)

    def phases(self) -> list[Phase]:
        """One phase; a unit is a shard."""
        return [Phase("import", splits_units(self._manifest, self.config.splits))]

    def run(self, unit: str) -> Output:
        """Takes over the windows of a shard's images; an image without any is quarantined as `no-windows`."""
        records, earlier = read_images(self.input("images"), unit)
        rows: list[WindowsRow] = []
        quarantined = list(earlier)
        for record in records:
            try:
                rows.append(self._take(record))
            except DataError as error:
                quarantined.append(Quarantined(record.key, error.reason, error.detail, self.name))
        check_account(unit, self._manifest.keys(unit), len(rows), tuple(quarantined))
        windows = sum(len(row.windows) for row in rows)
        return Output(encode_windows(rows), ".parquet", len(rows), len(rows), tuple(quarantined), {"windows": windows})

    def _take(self, record: ImageRecord) -> WindowsRow:
        width, height = record.annotation.width, record.annotation.height
        found = self._found.windows(record.key, width, height, self.config.convention)
        clip = self.config.outside == "clip"
        windows = fit_windows(found, width, height, clip=clip, min_side=self.config.min_side)[: self.config.max_windows]
        if len(windows) == 0:
            raise DataError("no-windows", f"none of {len(found)} windows has an area and {self.config.min_side} px")
        return WindowsRow(record.key, width, height, windows)
