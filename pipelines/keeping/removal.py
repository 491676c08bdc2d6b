"""Removing whole artifacts: their commits first, so that nobody finds a unit whose data is gone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipelines.engine.damage import ArtifactListing
from pipelines.engine.workspace import Artifact

_DELETERS = 16


def remove_artifact(artifact: Artifact) -> None:
    """Remove everything of an artifact."""
    listing = ArtifactListing.of(artifact)
    commits = {entry.name for entry in listing.commits.values()}
    rest = [entry.name for entry in listing.entries if entry.name not in commits]
    with ThreadPoolExecutor(_DELETERS) as pool:
        for names in (commits, rest):
            list(pool.map(artifact.store.delete, names))
    artifact.store.remove_folder(artifact.name)
