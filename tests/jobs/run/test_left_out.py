"""What lies beside a data set's images is known of a look, and of the look before."""

from __future__ import annotations

from pathlib import Path

from jobs.run.left_out import left_out
from pipelines.datasets.left_out import OBJECT, LeftOut
from pipelines.engine.looks import LookBook
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.workspace import Workspace
from tests.support.made_tars import jpeg


def test_the_last_look_tells_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.txt", "c.TXT"):
        (tmp_path / "photos" / name).write_bytes(jpeg())
    steps = {"images": {"stage": "ingest", "dataset": {"kind": "images", "root": str(tmp_path / "photos")}}}
    recipe = parse_recipe({"version": 1, "name": "x", "steps": steps}, "here")
    workspace = Workspace.open(str(tmp_path / "ws"))
    engine = Engine(recipe, workspace)
    assert left_out(engine) == {"images": LeftOut({".txt": 2})}
    (step,) = engine.steps
    step.record(LookBook(workspace.store))
    known = Engine(recipe, workspace, fresh=())  # which doesn't look again
    assert left_out(known) == {"images": LeftOut({".txt": 2})}
    for entry in workspace.store.list("looks"):
        if entry.name.endswith(OBJECT):
            workspace.store.delete(entry.name)
    assert left_out(Engine(recipe, workspace, fresh=())) == {}, "a look of an earlier version"
