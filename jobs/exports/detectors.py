"""What is known of the detector behind a step of a run, before that step is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.artifacts.annotations import Number
    from pipelines.artifacts.manifest import Manifest
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
    from pipelines.outputs.plan import DetectorFacts

    scored = [steps[member].config for member in _scored(steps, name)]
    first: Any = scored[0]
    svms = [steps[step].spec for step in first.references()["svms"]]
    data = [Manifest.read(workspace.store, spec.manifest) for spec in svms]
    artifacts, renamed = [workspace.artifact(spec.artifact) for spec in svms], first.renamed
    info = FeatureInfo.joined(artifacts, first.categories, renamed)
    return DetectorFacts(
        categories=info.categories,
        numbers={renamed.get(category, category): number for category, number in _numbers(data).items()},
        words={category: word for one in data for category, word in one.names.items() if category not in renamed},
        regressors=any(getattr(config, "regressors", None) for config in scored),
    )


def _numbers(data: Sequence[Manifest]) -> dict[str, Number]:
    """Return the first data set's numbers of categories; those that only later ones have are counted on."""
    from pipelines.outputs.ids import category_numbers

    found = category_numbers(data[0])
    for name in (name for other in data[1:] for name in other.categories if name not in found):
        found[name] = 1 + max((number for number in found.values() if isinstance(number, int)), default=0)
    return found


def _scored(steps: Mapping[str, PlannedStep], name: str) -> list[str]:
    """Return the steps that score behind one that scores or combines."""
    members: tuple[str, ...] = steps[name].config.references().get("detections", ())
    return [step for member in members for step in _scored(steps, member)] or [name]
