"""The kinds of data sets, found by `dataset.kind`: only the module of the one that is asked for is imported."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from pydantic_core import PydanticCustomError

from pipelines.datasets.protocol import DatasetConfig

KINDS: Mapping[str, str] = {
    "voc": "pipelines.datasets.voc:VocDataset",
    "folders": "pipelines.datasets.folders:FoldersDataset",
    "images": "pipelines.datasets.plain:ImagesDataset",
    "tars": "pipelines.datasets.tars:TarsDataset",
    "det": "pipelines.datasets.det:DetDataset",
    "coco": "pipelines.datasets.coco:CocoDataset",
    "yolo": "pipelines.datasets.yolo:YoloDataset",
    "csv": "pipelines.datasets.csv_boxes:CsvDataset",
    "hugging-face": "pipelines.datasets.hugging_face:HuggingFaceDataset",
    "drawn": "pipelines.datasets.drawn:DrawnDataset",
    "extended": "pipelines.datasets.extended:ExtendedDataset",
    "joined": "pipelines.datasets.joined:JoinedDataset",
}
"""Where the config of each kind is."""


def dataset_config(kind: str) -> type[DatasetConfig]:
    """Return the config's class of a kind; raise KeyError for an unknown name."""
    found: type[DatasetConfig] = resolve_name(KINDS[kind])
    return found


def parse_dataset(raw: Any) -> Any:
    """Validate a `dataset` by the config of its kind, `voc` if it names none.

    A union of pydantic's own would name the kind in the path of every error.

    Returns:
        A config; or what is neither a config nor a mapping, for pydantic to refuse.

    Raises:
        PydanticCustomError: There is no such kind.
        ValidationError: A field is wrong; its place is below that of `raw`.
    """
    if not isinstance(raw, Mapping):
        return raw
    kind = raw.get("kind", "voc")
    if not isinstance(kind, str) or kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(KINDS)}"
        raise PydanticCustomError("unknown_kind", "unknown kind '{kind}'; {hint}", {"kind": str(kind), "hint": hint})
    return dataset_config(kind).model_validate(dict(raw))
