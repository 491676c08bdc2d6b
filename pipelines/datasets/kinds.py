"""The kinds of data sets, chosen by `dataset.kind`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from pipelines.datasets.det import DetDataset
from pipelines.datasets.folders import FoldersDataset
from pipelines.datasets.joined import JoinedDataset
from pipelines.datasets.plain import ImagesDataset
from pipelines.datasets.sources import DatasetConfig
from pipelines.datasets.tar_samples import TarsDataset
from pipelines.datasets.voc import VocDataset

_CONFIGS: tuple[type[DatasetConfig], ...] = (
    VocDataset,
    FoldersDataset,
    ImagesDataset,
    TarsDataset,
    DetDataset,
    JoinedDataset,
)
KINDS: Mapping[str, type[DatasetConfig]] = {config.model_fields["kind"].default: config for config in _CONFIGS}
"""Configs by the name of their kind."""


def parse_dataset(raw: Any) -> Any:
    """Validates a `dataset` by the config of its kind, `voc` if it names none.

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
    return KINDS[kind].model_validate(dict(raw))
