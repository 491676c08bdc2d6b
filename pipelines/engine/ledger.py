"""The account of a complete step: every key done or quarantined, and what its units took."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipelines.engine.codec import decode, encode
from pipelines.engine.commits import Commit, Quarantined
from pipelines.engine.fingerprint import content_digest
from pipelines.engine.phases import Phase
from pipelines.engine.workspace import Artifact
from sppnet.errors import ArtifactError, IncompleteError, TooManyQuarantinedError

_SHARDS_SHOWN = 5

SUMMARIES = "_summaries"
"""Folder of an artifact with the accounts of steps that are complete."""


@dataclass(frozen=True, slots=True)
class StepSummary:
    """The account of one step once all its units are committed.

    Attributes:
        step: The step's name.
        stage: Its stage's name.
        artifact: Its artifact's name.
        units: How many units it has.
        keys: Keys that the units of its last keyed phase account for; a key counts once per unit (once per scale).
        done: How many of them are done.
        own_quarantined: How many of them this step itself set aside; the others were set aside before it.
        quarantined: The distinct keys set aside, by this step or before it.
        rows: Rows in its data objects.
        bytes: Bytes of its data objects.
        seconds: Worker seconds, summed over units.
        wall_seconds: In which at least one unit was at work, as the commits tell.
        metrics: Figures that its units reported, summed.
        shards: How many of its units account for keys.
    """

    step: str
    stage: str
    artifact: str
    units: int
    keys: int
    done: int
    own_quarantined: int
    quarantined: tuple[Quarantined, ...]
    rows: int
    bytes: int
    seconds: float
    wall_seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    shards: int = 0

    @property
    def shards_aside(self) -> tuple[Quarantined, ...]:
        """The whole shards that this step itself set aside."""
        return tuple(entry for entry in self.quarantined if entry.stage == self.stage and entry.is_shard)


def units_of(phases: Sequence[Phase]) -> list[str]:
    """Return the units of all phases, in order."""
    return [unit for phase in phases for unit in phase.units]


class SummaryFile:
    """A complete step's account as it is kept beside its commits.

    Looking again costs one GET however many units there are.

    Args:
        artifact: The step's artifact.
        phases: The step's phases: an artifact may hold units of other data sets too.
    """

    def __init__(self, artifact: Artifact, phases: Sequence[Phase]) -> None:
        self._artifact = artifact
        digest = content_digest("\n".join(units_of(phases)).encode())[:12]
        self.name = f"{artifact.name}/{SUMMARIES}/{digest}.json"

    def read(self, step: str) -> StepSummary | None:
        """Return the account as that of `step`, None if there is none; raises `ArtifactError` if it is corrupt."""
        try:
            data = self._artifact.store.read(self.name)
        except ArtifactError:
            return None
        try:
            return replace(decode(StepSummary, data, f"{self._artifact.store.uri}/{self.name}"), step=step)
        except ArtifactError as error:
            raise ArtifactError(f"{error}; remove it and run again") from error

    def write(self, summary: StepSummary) -> None:
        """Keep an account, once."""
        self._artifact.store.create(self.name, encode(summary))

    def forget(self) -> None:
        """Remove the account: it is of commits that are gone."""
        self._artifact.store.delete(self.name)


def summarise(step: str, stage: str, artifact: Artifact, phases: Sequence[Phase]) -> StepSummary:
    """Sum up a complete step, or read how it was summed up before.

    Args:
        step: The step's name.
        stage: Its stage's name.
        artifact: Its artifact.
        phases: Its phases, all of whose units are committed.

    Raises:
        ArtifactError: A commit is missing or corrupt.
    """
    file = SummaryFile(artifact, phases)
    kept = file.read(step)
    if kept is not None:
        return kept
    summary = account(step, stage, artifact.name, phases, artifact.commits(units_of(phases)))
    file.write(summary)
    return summary


def account(step: str, stage: str, artifact: str, phases: Sequence[Phase], commits: Sequence[Commit]) -> StepSummary:
    """Sum up the commits of all units of a step.

    Args:
        step: The step's name.
        stage: Its stage's name.
        artifact: Its artifact's name.
        phases: Its phases.
        commits: Those of all their units, in order.
    """
    accounting = accounting_units(phases)
    ledger = [commit for commit in commits if commit.unit in accounting]
    quarantined = [entry for commit in ledger for entry in commit.quarantined]
    return StepSummary(
        step=step,
        stage=stage,
        artifact=artifact,
        units=len(commits),
        keys=sum(commit.keys for commit in ledger),
        done=sum(commit.done for commit in ledger),
        own_quarantined=sum(entry.stage == stage for entry in quarantined),
        quarantined=tuple(dict.fromkeys(quarantined)),
        rows=sum(commit.rows for commit in commits),
        bytes=sum(commit.size for commit in commits),
        seconds=round(sum(commit.seconds for commit in commits), 3),
        wall_seconds=wall_seconds(commits),
        metrics=_summed(commits),
        shards=len(accounting),
    )


def accounting_units(phases: Sequence[Phase]) -> set[str]:
    """Return the units that account for keys.

    Of a shard's units those of the last keyed phase do: `gather/<shard>` gives way to `mine-1/<shard>`.
    """
    latest = {unit.removeprefix(f"{phase.name}/"): unit for phase in phases if phase.keyed for unit in phase.units}
    return set(latest.values())


def wall_seconds(commits: Sequence[Commit]) -> float:
    """Return the seconds in which at least one of the units was at work: weeks may lie between two of them."""
    total, end = 0.0, -math.inf
    for start, stop in sorted((commit.created - commit.seconds, commit.created) for commit in commits):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return round(total, 3)


def _summed(commits: Sequence[Commit]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for commit in commits:
        total.update({name: value for name, value in commit.metrics.items() if isinstance(value, int | float)})
    return {name: round(value, 6) for name, value in total.items()}


def check_quarantine(summary: StepSummary, allowed: float) -> None:
    """Raise `TooManyQuarantinedError` if a step itself set aside too large a fraction of its keys, or of its shards.

    Args:
        summary: The step's account.
        allowed: The fraction that its config allows.
    """
    own = [entry for entry in summary.quarantined if entry.stage == summary.stage]
    if summary.keys and summary.own_quarantined / summary.keys > allowed:
        what = f"{summary.own_quarantined} of {summary.keys} keys quarantined"
    elif summary.shards and len(summary.shards_aside) / summary.shards > allowed:
        own = [*summary.shards_aside]
        what = f"{len(own)} of {summary.shards} shards set aside"
    else:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(q.reason for q in own).most_common())
    raise TooManyQuarantinedError(
        f"step {summary.step}: {what} ({reasons}; first: {own[0].key}: {own[0].detail}), more than "
        f"max_quarantined={allowed}; mend the inputs or raise steps.{summary.step}.max_quarantined"
    )


def shards_missing(summaries: Sequence[StepSummary]) -> IncompleteError | None:
    """Return the error of a run that is complete but for whole shards of its inputs; None if it has them all."""
    aside = [(summary, entry) for summary in summaries for entry in summary.shards_aside]
    if not aside:
        return None
    shown = "; ".join(f"{entry.reason}: {entry.detail}" for _, entry in aside[:_SHARDS_SHOWN])
    more = f"; and {len(aside) - _SHARDS_SHOWN} more" if len(aside) > _SHARDS_SHOWN else ""
    steps = ", ".join(dict.fromkeys(summary.step for summary, _ in aside))
    return IncompleteError(
        f"step {steps}: {len(aside)} of {aside[0][0].shards} shards set aside: {shown}{more}. All else is done; mend "
        "or remove them and run again"
    )
