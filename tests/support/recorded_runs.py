"""Runs of the toy recipe recorded as `sppnet run` records them, for the tests of runs' folders."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.console import Console

from jobs.run.history import RunFolder
from jobs.run.making import MadeRun, make_missing
from pipelines.executors.local import LocalExecutor


def make(engine: Any) -> MadeRun:
    """Make what is missing of a run, in this process."""
    return make_missing(engine, LocalExecutor, Console(file=io.StringIO()))


def files(folder: RunFolder) -> list[str]:
    """Names in a run's folder; of event logs only their folder's."""
    return [entry.name.split("/")[3] for entry in folder.store.list(folder.path(""))]


def account(folder: RunFolder) -> dict[str, Any]:
    """A run's `summary.json` as it lies in the store."""
    found: dict[str, Any] = json.loads(folder.store.read(folder.path("summary.json")))
    return found
