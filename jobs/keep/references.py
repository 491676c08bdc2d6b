"""What the runs of a workspace refer to: the steps of their recipes, and the artifacts that they made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jobs.run.history import RunFolder, list_runs
from jobs.run.summary import read_summary
from pipelines.engine.planning import plan
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.workspace import Workspace
from pipelines.keeping.lineage import Steps
from sppnet.errors import ArtifactError, ConfigError


@dataclass(frozen=True, slots=True)
class References:
    """What runs refer to.

    Attributes:
        recipes: The steps of each run's recipe, on what its data sets were when they were last looked at.
        artifacts: Names of artifacts: those of these steps, and those that runs say they have made.
        unknown: Why a run's recipe can't be read any more, by the run.
    """

    recipes: tuple[Steps, ...]
    artifacts: frozenset[str]
    unknown: dict[str, str]


def references(workspace: Workspace) -> References:
    """Read what the runs of a workspace refer to; equal recipes count once."""
    recipes: dict[tuple[str, ...], Steps] = {}
    artifacts: set[str] = set()
    unknown: dict[str, str] = {}
    for folder in (RunFolder(workspace.store, key) for key in list_runs(workspace.store)):
        try:
            steps = plan(parse_recipe(folder.recipe(), str(folder.key)), workspace, ())
            artifacts.update(_made(folder))
        except (ArtifactError, ConfigError) as error:
            unknown[str(folder.key)] = " ".join(str(error).split())
            continue
        recipes.setdefault(tuple(f"{step.spec}" for step in steps), steps)
        artifacts.update(step.spec.artifact for step in steps)
    return References(tuple(recipes.values()), frozenset(artifacts), unknown)


def _made(folder: RunFolder) -> Iterator[str]:
    """Return the artifacts that a run says it has made or begun: its data sets may have been others then."""
    summary = read_summary(folder)
    if summary is not None and summary.result is not None:
        yield from (stage.artifact for stage in summary.result.stages.values())
    for event in folder.events():
        if "artifact" in event:
            yield str(event["artifact"])
