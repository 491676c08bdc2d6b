"""What is made from what: which units would come out otherwise if others did, and which artifacts follow from others.

A unit depends on what its stage reads of streamed inputs, on all of the others (of those it takes by splits, on the
shards of these splits), and on the phases before its own. What is made of maps that no step stores follows from what
those are made from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.artifacts.manifest import Manifest
from pipelines.engine.ledger import units_of
from pipelines.engine.phases import Phase
from pipelines.engine.planning import PlannedStep
from pipelines.engine.registry import stage_type
from pipelines.engine.stage import Stage
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Artifact, Workspace
from sppnet.errors import ArtifactError

Unit = tuple[str, str]
"""An artifact's name and a unit."""
Steps = Sequence[PlannedStep]
"""The steps of one recipe, in order."""


def followers(recipes: Iterable[Steps], changed: Iterable[Unit]) -> set[Unit]:
    """Return the units of some recipes that would come out otherwise if others did; those are not among them."""
    found = set(changed)
    given = set(found)
    opened = [_open(steps) for steps in recipes]
    while True:
        before = len(found)
        for steps in opened:
            _follow(steps, found)
        if len(found) == before:
            return found - given


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A step with its stage and its phases."""

    planned: PlannedStep
    stage: Stage[Any]
    phases: Sequence[Phase]

    @property
    def artifact(self) -> str:
        return self.planned.spec.artifact


def _open(steps: Steps) -> list[_Step]:
    found = []
    for step in steps:
        stage = build_stage(step.spec)
        try:
            phases = stage.phases()
        except ArtifactError:  # what they follow from is gone: then nothing of it can be there either
            phases = []
        found.append(_Step(step, stage, phases))
    return found


def _follow(steps: Sequence[_Step], changed: set[Unit]) -> None:
    """Add to `changed` what follows from it in one recipe, steps in order."""
    by_name = {step.planned.name: step for step in steps}
    passed: dict[str, set[Unit]] = {}
    for step in steps:
        inputs = _read_whole(step)
        units = units_of(step.phases)
        own = {unit for unit in units if (step.artifact, unit) in changed}
        behind = {other for name in inputs for other in passed[name]}
        if _any_matters(step, inputs, by_name, passed):
            own |= set(units)
        own |= {unit for unit in units if unit not in own and not changed.isdisjoint(step.stage.reads(unit))}
        _add_later_phases(step, own)
        changed |= {(step.artifact, unit) for unit in own}
        passed[step.planned.name] = {(step.artifact, unit) for unit in own} if units else behind


def _read_whole(step: _Step) -> dict[str, bool]:
    """Return the steps that a step reads, each with whether it reads it whole."""
    config = step.planned.config
    streamed = stage_type(config.stage).streamed
    return {target: field not in streamed for field, targets in config.references().items() for target in targets}


def _any_matters(
    step: _Step, inputs: Mapping[str, bool], by_name: Mapping[str, _Step], passed: Mapping[str, set[Unit]]
) -> bool:
    """Tell whether something changed that all of a step's units depend on.

    That is what it reads whole (of shards, those of the splits that it takes), and what is behind maps that are not
    stored, such as their network: of the shards behind them `Stage.reads` tells.
    """
    whole = {unit for name, is_whole in inputs.items() if is_whole for _, unit in passed[name]}
    made = {unit for name in inputs if not units_of(by_name[name].phases) for _, unit in passed[name]}
    if not whole and not made:
        return False
    shards = _shards(step)
    splits = stage_type(step.planned.config.stage).whole_splits(step.planned.config)
    known = {name for _, name in shards}
    wanted = {name for split, name in shards if split in splits} if splits else known
    return any(name in wanted or name not in known for name in map(_shard, whole)) or any(
        name not in known for name in map(_shard, made)
    )


def _shards(step: _Step) -> list[tuple[str, str]]:
    """Return the splits and names of all shards of a step's images and of their annotations."""
    if not step.planned.spec.manifest:
        return []
    try:
        manifest = Manifest.read(step.stage.workspace.store, step.planned.spec.manifest)
    except ArtifactError:
        return []
    found = [(split, shard) for split, shards in manifest.splits.items() for shard in shards]
    return [(split, name) for split, shard in found for name in (shard.images, shard.annotations)]


def _shard(unit: str) -> str:
    return unit.rpartition("/")[2]


def _add_later_phases(step: _Step, own: set[str]) -> None:
    """Add the units of later phases: all of them, or those whose stage says what they read of the phase before."""
    changed = False
    for phase in step.phases:
        for unit in phase.units if changed else ():
            read = [name for artifact, name in step.stage.reads(unit) if artifact == step.artifact]
            if not read or not own.isdisjoint(read):
                own.add(unit)
        changed |= not own.isdisjoint(phase.units)


def trained(recipes: Iterable[Steps]) -> set[Unit]:
    """Return the units of some recipes that are trained: made again they are not the same to the last bit."""
    return {
        (step.artifact, unit)
        for steps in recipes
        for step in _open(steps)
        for phase in step.phases
        if phase.workers
        for unit in phase.units
    }


def inputs_of(workspace: Workspace, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the artifacts that each of some artifacts was made from; none where that is not recorded."""
    return {name: _inputs(workspace.artifact(name)) or frozenset() for name in names}


def unrecorded(workspace: Workspace, names: Iterable[str]) -> list[str]:
    """Return those of some artifacts that hold units, and of which it can't be told what they were made from."""
    artifacts = map(workspace.artifact, names)
    return [one.name for one in artifacts if _inputs(one) is None and one.committed()]


def _inputs(artifact: Artifact) -> frozenset[str] | None:
    try:
        inputs = artifact.preimage()["inputs"]
        return frozenset(str(one) for each in inputs.values() for one in each)
    except (ArtifactError, AttributeError, TypeError, KeyError):
        return None


def strangers(workspace: Workspace, recipes: Iterable[Steps], units: Iterable[Unit]) -> list[str]:
    """Return the artifacts that were made from those of some units and that no recipe has: followers unknown."""
    names = workspace.artifact_names()
    known = {step.spec.artifact for steps in recipes for step in steps}
    inputs = inputs_of(workspace, names)
    made = {user for name in {name for name, _ in units} for user in made_from(inputs, name)}
    return sorted(made - known)


def made_from(inputs: Mapping[str, frozenset[str]], name: str) -> list[str]:
    """Return the artifacts that were made from one, directly or not, each before those that it was made from."""
    users: defaultdict[str, set[str]] = defaultdict(set)
    for user, used in inputs.items():
        for one in used:
            users[one].add(user)
    return [user for user in _after(users, name, set()) if user != name]


def _after(users: Mapping[str, set[str]], name: str, seen: set[str]) -> Iterator[str]:
    if name in seen:
        return
    seen.add(name)
    for user in sorted(users.get(name, ())):
        yield from _after(users, user, seen)
    yield name
