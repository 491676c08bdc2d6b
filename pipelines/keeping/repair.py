"""Taking damaged units away, so that the next run makes exactly those, and what was made from them if that changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pipelines.engine.commits import Commit
from pipelines.engine.damage import Damage, read_checked
from pipelines.engine.ledger import SUMMARIES
from pipelines.engine.workspace import Workspace
from pipelines.keeping.lineage import Steps, Unit, followers, trained


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to be taken away.

    Attributes:
        damaged: Units whose commits go, and records.
        changed: Of the units, those that will not come out alike.
        followers: Units that were made from those.
    """

    damaged: tuple[Damage, ...]
    changed: tuple[Unit, ...]
    followers: tuple[Unit, ...]

    @classmethod
    def of(cls, damaged: Sequence[Damage], recipes: Collection[Steps]) -> Removal:
        """Decide what mends damage.

        What is made again is the same as it was, since a unit is a function of its inputs, and what was made from it
        stays. Not so what is trained (other workers, other last bits), and what was not made as its commit says.
        """
        units: set[Unit] = {(one.artifact, one.unit) for one in damaged if one.unit}
        alike = {(one.artifact, one.unit) for one in damaged if one.unit and one.alike} - trained(recipes)
        changed = units - alike
        mendable = {one.commit: one for one in damaged if one.mendable}
        found = followers(recipes, changed) - units
        return cls(tuple(mendable.values()), tuple(sorted(changed)), tuple(sorted(found)))

    def carry_out(self, workspace: Workspace) -> list[str]:
        """Take it away: followers first, so that a removal that is cut off can be begun again.

        A unit that was made again since it was found is left alone.

        Returns:
            Names of the objects that were removed.
        """
        remove_units(workspace, self.followers)
        taken = [workspace.artifact(artifact).commit_name(unit) for artifact, unit in self.followers]
        for one in self.damaged:
            if not _is_made_again(workspace, one):
                workspace.store.delete(one.commit)
                taken.append(one.commit)
        _forget_accounts(workspace, {one.artifact for one in self.damaged if one.unit})
        return taken


def _is_made_again(workspace: Workspace, damage: Damage) -> bool:
    """Tell whether a unit has another commit than the one that was found to be damaged."""
    if not damage.unit:
        return False
    now = read_checked(workspace.artifact(damage.artifact), damage.unit)
    return isinstance(now, Commit) and now.attempt != damage.attempt


def remove_units(workspace: Workspace, units: Iterable[Unit]) -> None:
    """Remove commits of units, and the accounts of the steps that they belong to; their data is left to `gc`."""
    touched = set()
    for name, unit in units:
        artifact = workspace.artifact(name)
        workspace.store.delete(artifact.commit_name(unit))
        touched.add(name)
    _forget_accounts(workspace, touched)


def _forget_accounts(workspace: Workspace, names: Iterable[str]) -> None:
    for name in sorted(names):
        for entry in workspace.store.list(f"{name}/{SUMMARIES}"):
            workspace.store.delete(entry.name)
