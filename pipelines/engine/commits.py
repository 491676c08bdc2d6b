"""Commits: what making a unit gives, the small object that makes the unit exist, and the account of its keys."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pipelines.engine.codec import decode, encode
from sppnet.errors import ArtifactError

COMMITS = "_commits"
DATA_NAME = re.compile(r"(?P<unit>.+)-(?P<attempt>[0-9a-f]{12})(?P<suffix>(?:\.\w+)*)", re.DOTALL)
"""Of the data objects that attempts at units put, below their artifact's folder."""
BROKEN_SHARD, EMPTY_SHARD, UNREADABLE_SHARD = "shard-broken", "shard-empty", "shard-unreadable"
"""Reasons that set a whole shard of a data set aside, by its name: which keys it would have had is not known."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A key that can't be used, and why.

    Attributes:
        key: The image's key.
        reason: A short code such as `truncated`.
        detail: One line for a person.
        stage: The stage that set it aside.
    """

    key: str
    reason: str
    detail: str
    stage: str

    @property
    def is_shard(self) -> bool:
        """Whether it stands for a whole shard, whose name is the key."""
        return self.reason in (BROKEN_SHARD, EMPTY_SHARD, UNREADABLE_SHARD)


@dataclass(frozen=True, slots=True)
class Output:
    """What running one unit gives, before it is committed.

    Attributes:
        data: The whole data object, or None if the unit has none.
        suffix: The data object's file suffix, such as `.parquet`.
        rows: Rows, members or tensors in the data object.
        done: How many keys of the unit are in the data object.
        quarantined: Keys set aside, by this stage or an earlier one.
        metrics: Small figures for status and report, JSON values only.
        share: Part of the work's time that went into it, where several units were made together.
    """

    data: bytes | None
    suffix: str
    rows: int
    done: int
    quarantined: tuple[Quarantined, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Commit:
    """The small JSON object that makes one unit of an artifact exist."""

    unit: str
    attempt: str
    data: str | None
    size: int
    sha256: str | None
    rows: int
    done: int
    quarantined: tuple[Quarantined, ...]
    seconds: float
    metrics: Mapping[str, Any]
    host: str
    created: float
    versions: Mapping[str, str]

    @property
    def keys(self) -> int:
        """All keys that the unit accounts for."""
        return self.done + len(self.quarantined)

    def to_json(self) -> bytes:
        """Encode the commit."""
        return encode(self)

    def check_names(self, unit: str, where: str) -> None:
        """Raise `ArtifactError` unless it is the unit's and names data of it: nothing else is read.

        Args:
            unit: The unit whose commit it is by its name.
            where: The commit, for the message.
        """
        found = DATA_NAME.fullmatch(self.data) if self.data is not None else None
        if self.unit != unit:
            what = f"is of unit {self.unit!r}"
        elif self.data is not None and (found is None or (found["unit"], found["attempt"]) != (unit, self.attempt)):
            what = f"names {self.data!r}, which is no data of its unit"
        else:
            return
        raise ArtifactError(f"{where}: {what}; remove it and run again")

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Commit:
        """Decode a commit; raise `ArtifactError` naming `where` if it is none."""
        try:
            return decode(cls, data, where)
        except ArtifactError as error:
            raise ArtifactError(f"{where}: not a commit ({error}); remove it and run again") from error


@cache
def library_versions() -> dict[str, str]:
    """Versions that a commit records."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("sppnet", "torch", "numpy", "pyarrow", "opencv-contrib-python-headless"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # the GPU machine may run from a plain checkout
    return found
