"""`summary.json` of a run's folder: when the run began and ended, how, and what it found out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from jobs.run.ending import Ending
from jobs.run.history import SUMMARY, RunFolder
from jobs.run.results import RunResult
from sppnet.errors import ArtifactError

_READERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """The account of a run.

    Attributes:
        start: When its first attempt began, seconds since the epoch.
        end: When its last attempt ended; None while one is at work, or where one was killed.
        seconds: What its ended attempts took, together.
        exit_code: How the last attempt ended; None likewise.
        error: One line for a person; None unless it failed.
        result: What its complete steps made and found out; None before the first attempt's end.
    """

    start: float
    end: float | None = None
    seconds: float = 0.0
    exit_code: int | None = None
    error: str | None = None
    result: RunResult | None = None

    @property
    def state(self) -> str:
        """`running` (or killed, which leaves no word), `done`, or `failed` with the exit code."""
        if self.exit_code is None:
            return "running"
        return "done" if self.exit_code == 0 else f"failed ({self.exit_code})"

    def again(self) -> RunSummary:
        """Return the account once another attempt has begun."""
        return replace(self, end=None, exit_code=None, error=None)

    def ended(self, now: float, seconds: float, ending: Ending, result: RunResult) -> RunSummary:
        """Return the account once an attempt of so many seconds has ended."""
        total = round(self.seconds + seconds, 3)
        return replace(self, end=now, seconds=total, exit_code=ending.exit_code, error=ending.error, result=result)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        values: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return values


_ADAPTER = TypeAdapter(RunSummary)


def write_summary(folder: RunFolder, summary: RunSummary) -> None:
    """Write a run's account over an earlier one."""
    folder.write(SUMMARY, _ADAPTER.dump_json(summary, indent=1))


def read_summary(folder: RunFolder) -> RunSummary | None:
    """Read a run's account; None where only its report was written.

    Raises:
        ArtifactError: It is corrupt.
    """
    name = folder.path(SUMMARY)
    if not folder.store.exists(name):
        return None
    try:
        return _ADAPTER.validate_json(folder.store.read(name))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise ArtifactError(f"{folder.store.uri}/{name} is corrupt ({where}: {first['msg']}); remove it") from error


def read_summaries(folders: Sequence[RunFolder]) -> list[RunSummary | None]:
    """Read several runs' accounts at once, in the order of `folders`; raises like `read_summary`."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read_summary, folders))
