"""Keys that were set aside, and the units to make again so that they are tried once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.engine.commits import Commit
from pipelines.engine.damage import read_checked
from pipelines.engine.workspace import Workspace
from pipelines.keeping.lineage import Steps, Unit, followers
from sppnet.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SetAside:
    """Units that set keys aside, or follow units that did.

    Attributes:
        reasons: How many keys, each once, by reason.
        units: Units whose commits name such keys.
        followers: Units that may come out otherwise once those are tried again.
    """

    reasons: Mapping[str, int]
    units: tuple[Unit, ...]
    followers: tuple[Unit, ...]

    @classmethod
    def find(cls, workspace: Workspace, names: Iterable[str], reason: str | None, recipes: Sequence[Steps]) -> SetAside:
        """Find what to try again.

        Args:
            workspace: The workspace.
            names: Artifacts to look through.
            reason: Only keys that were set aside for it; None for all.
            recipes: By whose steps units follow others.

        Raises:
            ConfigError: No key was set aside for the reason.
        """
        keys: dict[str, set[str]] = {}
        units: set[Unit] = set()
        for name in names:
            artifact = workspace.artifact(name)
            for unit in sorted(artifact.committed()):
                commit = read_checked(artifact, unit)
                for entry in commit.quarantined if isinstance(commit, Commit) else ():
                    keys.setdefault(entry.reason, set()).add(entry.key)
                    if reason in (None, entry.reason):
                        units.add((name, unit))
        if reason is not None and reason not in keys:
            known = ", ".join(sorted(keys)) or "none: nothing is quarantined"
            raise ConfigError(f"--reason {reason}: no key is quarantined for it; there are: {known}")
        counts = Counter({one: len(found) for one, found in keys.items() if reason in (None, one)})
        return cls(dict(counts.most_common()), tuple(sorted(units)), tuple(sorted(followers(recipes, units))))
