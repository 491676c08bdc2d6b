"""What is known of the detector behind a step of a run, before that step is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.engine.planning import PlannedStep
    from pipelines.engine.workspace import Workspace
    from pipelines.outputs.plan import DetectorFacts


def detector_facts(steps: Mapping[str, PlannedStep], name: str, workspace: Workspace) -> DetectorFacts:
    """Return what a step's detections will be of: its categories with their numbers and words.

    Numbers and words are those of the data set that the detector was trained on, whatever images it is shown.

    Args:
        steps: The run's steps by name.
        name: A step that scores or combines.
        workspace: Where the detector is.

    Raises:
        ArtifactError: The detector was not trained yet.
    """
    from pipelines.artifacts.detectors import FeatureInfo
    from pipelines.artifacts.manifest import Manifest
    from pipelines.outputs.ids import category_numbers
    from pipelines.outputs.plan import DetectorFacts

    scored = [steps[member].config for member in _scored(steps, name)]
    first: Any = scored[0]
    svms = steps[first.svms].spec
    data = Manifest.read(workspace.store, svms.manifest)
    return DetectorFacts(
        categories=FeatureInfo.read(workspace.artifact(svms.artifact)).categories,
        numbers=category_numbers(data),
        words=data.names,
        regressors=any(getattr(config, "regressors", None) for config in scored),
    )


def _scored(steps: Mapping[str, PlannedStep], name: str) -> list[str]:
    """Return the steps that score behind one that scores or combines."""
    members: tuple[str, ...] = steps[name].config.references().get("detections", ())
    return [step for member in members for step in _scored(steps, member)] or [name]
