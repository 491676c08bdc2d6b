"""What the data sets of a run hold beside their images, as the last look at them found it."""

from __future__ import annotations

from pipelines.datasets.left_out import OBJECT, LeftOut
from pipelines.engine.runner import Engine
from sppnet.errors import ArtifactError


def left_out(engine: Engine) -> dict[str, LeftOut]:
    """Return what was left out, by the name of the step that ingests; nothing of a step that left nothing out."""
    found = {}
    for step in engine.steps:
        data = step.look.objects.get(OBJECT)
        if data is None and step.before is not None and step.look.manifest:
            try:
                data = step.before.read(OBJECT)
            except ArtifactError:  # a look of an earlier version
                continue
        if data is not None:
            found[step.name] = LeftOut.decode(data, f"{step.name}/{OBJECT}")
    return {name: part for name, part in found.items() if part.describe()}
