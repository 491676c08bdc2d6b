from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.artifacts.activations import FilterPatches, Patch, encode_activations, read_activations
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Artifact, Workspace
from sppnet.errors import ArtifactError

ROWS = (
    FilterPatches(7, (Patch("n01/a", "val/000001", 688, (4, 0), 12.5, (-14.5, 0.1, 124.5, 139.0)),)),
    FilterPatches(3, ()),
)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return Workspace.open(str(tmp_path)).artifact("activations-abc")


@pytest.mark.parametrize("unit", ["activations", "val/000001"])
def test_responses_come_back_in_order(artifact: Artifact, unit: str) -> None:
    artifact.publish(unit, Output(encode_activations(ROWS), ".json", rows=2, done=0), seconds=0)
    assert read_activations(artifact, unit) == ROWS


def test_something_else_is_told(artifact: Artifact) -> None:
    artifact.publish("activations", Output(b'{"filters": [{"filter": 1}]}', ".json", rows=1, done=0), seconds=0)
    with pytest.raises(ArtifactError, match="activations-abc"):
        read_activations(artifact)
