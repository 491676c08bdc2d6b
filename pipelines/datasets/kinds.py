"""The kinds of data sets, found by `dataset.kind`: only the module of the one that is asked for is imported."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from pydantic_core import PydanticCustomError

from pipelines.datasets.protocol import DatasetConfig
from sppnet.errors import ConfigError
from sppnet.own_parts import entry_point_path, is_import_path

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
    "divided": "pipelines.datasets.divided:DividedDataset",
}
"""Where the config of each kind is."""
OWN = "package.module:factory"
"""Stands for the kinds that are code of the user's own."""
_OWN_CONFIG = "pipelines.datasets.own:OwnDataset"


def dataset_config(kind: str) -> type[DatasetConfig]:
    """Return the config's class of a kind, or of an import path; raise KeyError for an unknown name."""
    found: type[DatasetConfig] = resolve_name(_OWN_CONFIG if is_import_path(kind) else KINDS[kind])
    return found


def parse_dataset(raw: Any) -> Any:
    """Validate a `dataset` by the config of its kind, `voc` if it names none; code that it names is not imported.

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
    if isinstance(kind, str) and kind not in KINDS:
        kind = _named_by_packages(kind)
        raw = {**raw, "kind": kind}
    if not isinstance(kind, str) or not (kind in KINDS or is_import_path(kind)):
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(KINDS)}"
        raise PydanticCustomError("unknown_kind", "unknown kind '{kind}'; {hint}", {"kind": str(kind), "hint": hint})
    return dataset_config(kind).model_validate(dict(raw))


def _named_by_packages(kind: str) -> str:
    """Return the import path that an installed package's entry point of that name stands for; else the name."""
    if ":" in kind:
        return kind
    try:
        return entry_point_path("sppnet.datasets", kind) or kind
    except ConfigError as error:
        raise PydanticCustomError("unknown_kind", "{error}", {"error": str(error)}) from error
