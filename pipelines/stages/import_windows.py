"""import-windows: windows that another program proposed, such as the published selective-search boxes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.windows_and_maps import WindowsRow, encode_windows
from pipelines.datasets.looking import known_contents, look_of_files
from pipelines.datasets.window_files import FoundBoxes, digest_window_files, read_window_files
from pipelines.engine.commits import Output
from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.looks import Look, Past
from pipelines.engine.phases import Phase
from pipelines.engine.stage import COVERAGE, FILES, RUNTIME, Input, StageConfig
from pipelines.engine.store import Store
from pipelines.shards.reading import read_images
from pipelines.shards.stage import PerShardStage, require_ingested
from sppnet.errors import DataError
from sppnet.proposals.windows import BoxConvention, fit_windows

logger = logging.getLogger(__name__)

SOURCE = "sources/{manifest}.json"
"""What was found of a data set's images in the files."""
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
        min_side: Windows with a shorter side are dropped; those without area always are. [pixels]
        max_windows: At most so many windows an image, the first; all by default. [windows]
    """

    stage: Literal["import-windows"]
    images: Annotated[str, Input(("images",))]
    paths: Annotated[tuple[str, ...], RUNTIME, FILES, Field(min_length=1)]
    convention: BoxConvention
    splits: Annotated[tuple[str, ...], COVERAGE] = ("train", "val")
    outside: Literal["quarantine", "clip"] = "quarantine"
    min_side: Annotated[float, Field(ge=0)] = 0
    max_windows: Annotated[int, Field(ge=1)] | None = None


class ImportWindows(PerShardStage[ImportWindowsConfig]):
    """Writes one Parquet file a shard, one row an image, as `propose` does."""

    name: ClassVar[str] = "import-windows"
    makes: ClassVar[str] = "windows"
    config_type: ClassVar[type[StageConfig]] = ImportWindowsConfig

    @classmethod
    def check(cls, config: ImportWindowsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the splits are ingested."""
        require_ingested(config.splits, inputs)

    @classmethod
    def outside(cls, config: ImportWindowsConfig) -> Mapping[str, Any]:
        """Name the files of windows."""
        return {"paths": list(config.paths)}

    @classmethod
    def look(cls, config: ImportWindowsConfig, store: Store, past: Past) -> Look:
        """Look at the files: their content, not their paths, is in the fingerprint."""
        contents = known_contents(past)
        return look_of_files({"files": digest_window_files(config.paths, contents)}, contents)

    def prepare(self) -> None:
        """Record once which images the files know, and warn of those that are not in the data set."""
        place = f"{self.artifact.name}/{SOURCE.format(manifest=self.spec.manifest)}"
        if self.artifact.store.exists(place):
            return
        unknown = sorted(set(self._found.boxes) - self._known)
        if unknown:
            shown = ", ".join(unknown[:_SHOWN])
            total = len(self._found.boxes)
            logger.warning("step %s: %d of %d images of the files are not in the data set: %s", self.spec.step,
                           len(unknown), total, shown)  # fmt: skip
        body = {"images": len(self._found.boxes), "unknown": len(unknown), "unknown_keys": unknown[:100]}
        self.artifact.store.create(place, canonical_json(body).encode())

    @cached_property
    def _found(self) -> FoundBoxes:
        return read_window_files(self.config.paths, self.config.convention, self._known)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(key for shard in self.shards(self.manifest.splits) for key in self.manifest.keys(shard))

    def phases(self) -> list[Phase]:
        """Return one phase; a unit is a shard."""
        return [Phase("import", self.shards(self.config.splits))]

    def run(self, unit: str) -> Output:
        """Take over the windows of a shard's images; an image without any is quarantined as `no-windows`."""
        records, earlier = read_images(self.input("images"), unit)
        work = self.work(unit, earlier)
        rows = list(work.each(records, self._take))
        windows = sum(len(row.windows) for row in rows)
        return work.output(encode_windows(rows), ".parquet", len(rows), {"windows": windows})

    def _take(self, record: ImageRecord) -> WindowsRow:
        width, height = record.width, record.height
        found = self._found.windows(record.key, width, height, self.config.convention)
        clip = self.config.outside == "clip"
        windows = fit_windows(found, width, height, clip=clip, min_side=self.config.min_side)[: self.config.max_windows]
        if len(windows) == 0:
            raise DataError("no-windows", f"none of {len(found)} windows has an area and {self.config.min_side} px")
        return WindowsRow(record.key, width, height, windows)
