"""Small objects of an artifact: written once, checked when they are read back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pipelines.engine.codec import encode
from pipelines.engine.commits import Output
from pipelines.engine.records import read_beside, read_unit, write_once
from pipelines.engine.workspace import Workspace
from sppnet.errors import ArtifactError


@dataclass(frozen=True)
class Shape:
    name: str
    points: tuple[tuple[float, float], ...]


SHAPE = Shape("line", ((0.5, 1.0), (2.0, -3.25)))


def test_what_stands_beside_units_is_written_once(tmp_path) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("shapes-0")
    write_once(artifact, "shape.json", SHAPE)
    write_once(artifact, "shape.json", Shape("other", ()))
    assert read_beside(Shape, artifact, "shape.json") == SHAPE
    with pytest.raises(ArtifactError, match=r"shapes-0/none.json does not exist"):
        read_beside(Shape, artifact, "none.json")


def test_a_unit_of_json(tmp_path) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("shapes-0")
    artifact.publish("a", Output(encode(SHAPE), ".json", 1, 0), 0)
    artifact.publish("b", Output(b"{}", ".json", 1, 0), 0)
    assert read_unit(Shape, artifact, "a") == SHAPE
    with pytest.raises(ArtifactError, match="shapes-0/b is corrupt: name: "):
        read_unit(Shape, artifact, "b")
