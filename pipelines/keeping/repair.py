"""Taking damaged units away, so that the next run makes exactly those, and what was made from them if that changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pipelines.engine.damage import Damage
from pipelines.engine.ledger import SUMMARIES
from pipelines.engine.workspace import Workspace
from pipelines.keeping.lineage import Steps, Unit, followers, trained


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to be taken away.

    Attributes:
        objects: Commits of damaged units, and records, by their names in the workspace.
        followers: Units that were made from such as will not come out alike.
    """

    objects: tuple[str, ...]
    followers: tuple[Unit, ...]

    @classmethod
    def of(cls, damaged: Sequence[Damage], recipes: Collection[Steps]) -> Removal:
        """Decide what mends damage.

        What is made again is the same as it was, since a unit is a function of its inputs, and what was made from it
        stays. Not so what is trained (other workers, other last bits), and what was not made as its commit says.
        """
        changed: set[Unit] = {(one.artifact, one.unit) for one in damaged if one.unit}
        alike = {(one.artifact, one.unit) for one in damaged if one.unit and one.alike} - trained(recipes)
        objects = dict.fromkeys(one.commit for one in damaged if one.mendable)
        return cls(tuple(objects), tuple(sorted(followers(recipes, changed - alike) - changed)))

    def carry_out(self, workspace: Workspace) -> None:
        """Take it away: followers first, so that a removal that is cut off can be begun again."""
        remove_units(workspace, self.followers)
        for name in self.objects:
            workspace.store.delete(name)
        _forget_accounts(workspace, {name.partition("/")[0] for name in self.objects})


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
