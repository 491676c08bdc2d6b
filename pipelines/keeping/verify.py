"""Whether what a workspace records is there and is what it was: commits, data, accounts, lineage, manifests, looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pipelines.artifacts import manifest as manifests
from pipelines.artifacts.manifest import Manifest
from pipelines.engine.commits import Commit
from pipelines.engine.damage import ArtifactListing, Damage, check_units
from pipelines.engine.fingerprint import fingerprint
from pipelines.engine.looks import FOLDER as LOOKS
from pipelines.engine.looks import LookBook
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.keeping.accounts import check_accounts
from pipelines.keeping.contents import Checked, Checking, divide
from pipelines.keeping.lineage import Steps
from pipelines.training.checkpoints import FOLDER as CHECKPOINTS
from pipelines.training.checkpoints import Checkpoints
from sppnet.errors import ArtifactError

Spread = Callable[[Iterable[Checking], int], Iterable[Checked]]
"""Checks pieces of work of so many bytes, each by `check_contents`, wherever there are workers."""
_RECORD = "artifact.json"


@dataclass(slots=True)
class Findings:
    """What looking through a workspace has found.

    Attributes:
        artifacts: How many were looked at.
        units: How many commits.
        bytes: Bytes of their data objects, as committed.
        damaged: What is not as it was recorded.
    """

    artifacts: int = 0
    units: int = 0
    bytes: int = 0
    damaged: list[Damage] = field(default_factory=list)


def verify(workspace: Workspace, recipes: Sequence[Steps], names: Sequence[str], spread: Spread | None) -> Findings:
    """Look through artifacts of a workspace.

    Args:
        workspace: The workspace.
        recipes: Steps whose accounts are checked too.
        names: The artifacts; of all else only what their steps rest on is looked at.
        spread: Has the data read, to compare checksums and row counts; None to compare names and sizes only.

    Raises:
        SppError: The store can't be read.
    """
    findings = Findings()
    there = set(workspace.artifact_names())
    for name in names:
        commits = _verify_artifact(workspace, name, there, findings, deep=spread is not None)
        if spread is not None:
            damaged = _deep(workspace.artifact(name), list(commits.values()), spread)
            commits = {unit: commit for unit, commit in commits.items() if unit not in {one.unit for one in damaged}}
            findings.damaged += damaged
        for step in (step for steps in recipes for step in steps if step.spec.artifact == name):
            findings.damaged += check_accounts(step, workspace.artifact(name), commits)
    findings.damaged += _records(workspace, recipes)
    findings.damaged = list(dict.fromkeys(findings.damaged))
    return findings


def _verify_artifact(
    workspace: Workspace, name: str, there: set[str], findings: Findings, *, deep: bool
) -> dict[str, Commit]:
    """Check an artifact's record, its checkpoints and its units; return the commits that are sound."""
    artifact = workspace.artifact(name)
    listing = ArtifactListing.of(artifact)
    sound, damaged = check_units(artifact, listing, listing.commits)
    findings.artifacts += 1
    findings.units += len(sound) + len(damaged)
    findings.bytes += sum(commit.size for commit in sound)
    findings.damaged += damaged
    if listing.commits:
        findings.damaged += _lineage(artifact, there)
    if any(entry.name.startswith(f"{name}/{CHECKPOINTS}/") for entry in listing.others):
        for where, told in Checkpoints(artifact).problems(deep=deep).items():
            findings.damaged.append(Damage(name, "", where, None, "record", told))
    return {commit.unit: commit for commit in sound}


def _lineage(artifact: Artifact, there: set[str]) -> Iterator[Damage]:
    """Check what an artifact is recorded to be made from, and that it is there."""
    where = f"{artifact.name}/{_RECORD}"
    try:
        preimage = artifact.preimage()
        inputs = [str(one) for names in preimage.get("inputs", {}).values() for one in names]
    except (ArtifactError, AttributeError, TypeError) as error:
        yield Damage(artifact.name, "", where, None, "record", f"does not say what it is made from: {error}")
        return
    if fingerprint(preimage) != artifact.name.rpartition("-")[2]:
        yield Damage(artifact.name, "", where, None, "record", "tells of another artifact: its fingerprint differs")
    for one in inputs:
        if one not in there or not _is_there(Artifact(artifact.store, one)):
            told = f"is made from {one}, which is gone; run its recipe again, or remove it (sppnet rm {artifact.name})"
            yield Damage(artifact.name, "", where, None, "input-gone", told, mendable=False)


def _is_there(artifact: Artifact) -> bool:
    """Tell whether anything is in an artifact's folder: some stores list folders that are empty."""
    return artifact.store.exists(f"{artifact.name}/{_RECORD}") or bool(artifact.committed())


def _deep(artifact: Artifact, commits: Sequence[Commit], spread: Spread) -> list[Damage]:
    total = sum(commit.size for commit in commits)
    found = [one for checked in spread(divide(artifact, commits), total) for one in checked.damaged]
    return sorted(found, key=lambda one: one.commit)


def _records(workspace: Workspace, recipes: Sequence[Steps]) -> Iterator[Damage]:
    """Check manifests, and the looks that name them: without its manifest a data set is to be looked at anew."""
    store, book = workspace.store, LookBook(workspace.store)
    lost: dict[str, str] = {}
    listed = {entry.name.rpartition("/")[2].removesuffix(".json") for entry in store.list(manifests.FOLDER)}
    for digest in sorted(listed | {step.spec.manifest for steps in recipes for step in steps} - {""}):
        try:
            Manifest.read(store, digest)
        except ArtifactError as error:
            lost[digest] = str(error)
            if digest in listed:
                yield Damage(manifests.FOLDER, "", f"{manifests.FOLDER}/{digest}.json", None, "record", str(error))
    for name in book.names():
        try:
            told = lost.get(book.read(name).look.manifest)
        except ArtifactError as error:
            told = str(error)
        if told:
            yield Damage(LOOKS, "", name, None, "record", told)
