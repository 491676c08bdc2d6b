"""The runs of a workspace, as `sppnet runs` lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from jobs import formatting
from jobs.run.history import RunFolder, RunKey, list_runs, unknown_run
from jobs.run.summary import RunSummary, read_summaries
from pipelines.engine.workspace import Workspace

NEVER_RUN = "not run"
"""State of a run of which only a report was made."""


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run of a workspace.

    Attributes:
        key: What it is known by.
        summary: Its account; None where only its report was made.
    """

    key: RunKey
    summary: RunSummary | None

    @property
    def state(self) -> str:
        """How it ended, see `RunSummary.state`."""
        return NEVER_RUN if self.summary is None else self.summary.state

    @property
    def headline(self) -> tuple[str, float] | None:
        """The figure that tells most, see `RunResult.headline`."""
        return self.summary.result.headline if self.summary and self.summary.result else None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        title, value = self.headline or (None, None)
        return {
            "name": self.key.name,
            "when": self.key.when,
            "fingerprint": self.key.fingerprint,
            "state": self.state,
            "exit_code": self.summary.exit_code if self.summary else None,
            "error": self.summary.error if self.summary else None,
            "seconds": self.summary.seconds if self.summary else None,
            "figure": title,
            "value": value,
        }


def listed_runs(workspace: Workspace, name: str | None = None) -> list[ListedRun]:
    """Read the runs of a workspace, by name and then by time.

    Args:
        workspace: The workspace.
        name: Only runs of this name.

    Raises:
        ConfigError: There is no run of that name.
        ArtifactError: An account is corrupt.
    """
    store = workspace.store
    found = list_runs(store, name)
    if name is not None and not found:
        raise unknown_run(store, name, list_runs(store))
    summaries = read_summaries([RunFolder(store, key) for key in found])
    return [ListedRun(key, summary) for key, summary in zip(found, summaries, strict=True)]


def runs_table(found: Sequence[ListedRun]) -> Table:
    """Make a line for each run: name, when, fingerprint, state, duration of its attempts, and its headline figure."""
    table = Table("name", "when (UTC)", "fingerprint", "state", "took", "figure")
    for row in found:
        took = formatting.duration(row.summary.seconds) if row.summary and row.summary.seconds else ""
        figure = f"{row.headline[0]} {formatting.percent(row.headline[1])} %" if row.headline else ""
        table.add_row(row.key.name, row.key.when, row.key.fingerprint, row.state, took, figure)
    return table
