"""Whether the accounts of a step are right: a unit's keys those of its shard, its sum that of its units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipelines.artifacts.manifest import ANNOTATIONS, Manifest
from pipelines.engine.commits import Commit
from pipelines.engine.damage import Damage
from pipelines.engine.ledger import StepSummary, SummaryFile, account, units_of
from pipelines.engine.phases import Phase
from pipelines.engine.planning import PlannedStep
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Artifact
from sppnet.errors import ArtifactError


def phases_of(step: PlannedStep) -> list[Phase]:
    """Return a step's phases; none where what they follow from is not there yet, or is damaged itself."""
    try:
        return build_stage(step.spec).phases()
    except ArtifactError:
        return []


def check_accounts(step: PlannedStep, artifact: Artifact, commits: Mapping[str, Commit]) -> Iterator[Damage]:
    """Compare a step's commits with the manifest of its images, and its kept sum with its commits.

    Args:
        step: The step.
        artifact: Its artifact.
        commits: Those of the artifact's units that are sound, by unit.
    """
    phases = phases_of(step)
    yield from _check_keys(step, artifact, phases, commits)
    own = [commits[unit] for unit in units_of(phases) if unit in commits]
    if own and len(own) == len(units_of(phases)):
        yield from _check_sum(step, artifact, phases, own)


def _check_keys(
    step: PlannedStep, artifact: Artifact, phases: Sequence[Phase], commits: Mapping[str, Commit]
) -> Iterator[Damage]:
    if not step.spec.manifest:
        return
    try:
        keys = _Keys(Manifest.read(artifact.store, step.spec.manifest))
    except ArtifactError:  # told by itself
        return
    for unit in (unit for phase in phases if phase.keyed for unit in phase.units if unit in commits):
        wanted, commit = keys.of(unit), commits[unit]
        if wanted is None:
            continue
        aside = {entry.key for entry in commit.quarantined}.intersection(wanted)
        if commit.done + len(aside) != len(wanted):
            name = artifact.commit_name(unit)
            told = f"{commit.done} keys done and {len(aside)} quarantined, the manifest has {len(wanted)}"
            yield Damage(artifact.name, unit, name, None, "keys", told, commit.attempt, alike=False)


class _Keys:
    """The keys that units account for, by the shard that they are named after."""

    def __init__(self, manifest: Manifest) -> None:
        shards = [shard for shards in manifest.splits.values() for shard in shards]
        self._by_unit = {shard.images: shard.keys for shard in shards}
        self._by_unit |= {ANNOTATIONS + shard.annotations: shard.keys for shard in shards}

    def of(self, unit: str) -> frozenset[str] | None:
        """Return the keys of a unit's shard; None for what is no shard's."""
        keys = self._by_unit.get(unit) or self._by_unit.get(unit.rpartition("/")[2])
        return None if keys is None else frozenset(keys)


def _check_sum(
    step: PlannedStep, artifact: Artifact, phases: Sequence[Phase], commits: Sequence[Commit]
) -> Iterator[Damage]:
    file = SummaryFile(artifact, phases)
    try:
        kept = file.read(step.name)
    except ArtifactError as error:
        yield Damage(artifact.name, "", file.name, None, "account", str(error))
        return
    found = account(step.name, step.config.stage, artifact.name, phases, commits)
    if kept is not None and _sums(kept) != _sums(found):
        yield Damage(artifact.name, "", file.name, None, "account", "the step's sum is not that of its units' commits")


def _sums(summary: StepSummary) -> tuple[object, ...]:
    """Return what a sum says that nothing but its commits tells."""
    kept = summary
    return kept.units, kept.keys, kept.done, kept.own_quarantined, kept.quarantined, kept.rows, kept.bytes
