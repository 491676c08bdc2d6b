"""Every record of a workspace against what is there: nothing wrong is passed over, nothing right is accused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from pipelines.engine.damage import Damage
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.keeping.contents import check_contents
from pipelines.keeping.verify import Findings, verify
from pipelines.training.checkpoints import Checkpoints
from tests.support.chain import Chain
from tests.support.damaging import copy_of, data_path, flip, rewrite
from tests.support.toy_fixtures import UNITS, Toys


def look_through(toys: Toys, *, deep: bool = False) -> Findings:
    workspace = Workspace.open(toys.workspace)
    spread = (lambda pieces, total: map(check_contents, pieces)) if deep else None
    return verify(workspace, [toys.engine(fresh=()).steps], workspace.artifact_names(), spread)


def found(toys: Toys, *, deep: bool = False) -> list[tuple[str, str, str]]:
    return [(one.artifact, one.unit, one.reason) for one in look_through(toys, deep=deep).damaged]


def through(chain: Chain, *, deep: bool = False) -> list[Damage]:
    workspace = Workspace.open(str(chain.root))
    spread = (lambda pieces, total: map(check_contents, pieces)) if deep else None
    return verify(workspace, [chain.engine.steps], workspace.artifact_names(), spread).damaged


def test_a_whole_run_is_whole(toys: Toys) -> None:
    toys.run(LocalExecutor(), refuse=5, max_quarantined=1)
    findings = look_through(toys, deep=True)
    assert (findings.artifacts, findings.units, findings.damaged) == (2, 7, [])
    store = Workspace.open(toys.workspace).store
    data = [e for e in store.list() if "/all/" in e.name or "/sum/" in e.name]
    assert findings.bytes == sum(entry.size for entry in data if "_commits" not in entry.name)


def test_a_chain_of_all_stages_is_whole(chain: Chain) -> None:
    assert through(chain, deep=True) == []


def test_a_changed_bit_is_found_when_data_is_read(toys: Toys) -> None:
    toys.run(LocalExecutor())
    powers = toys.powers()
    flip(data_path(powers, UNITS[1]))
    assert found(toys) == []
    assert found(toys, deep=True) == [(powers.name, UNITS[1], "checksum")]


def test_rows_that_are_not_there(chain: Chain, tmp_path: Path) -> None:
    copy = copy_of(chain, tmp_path / "ws")
    shard = copy.shards("val")[0]
    rewrite(copy.artifact("plain"), shard, rows=10**6)
    (one,) = [one for one in through(copy, deep=True) if one.reason != "account"]
    assert (one.unit, one.reason, one.alike) == (shard, "rows", False)
    assert one.detail.endswith(" rows, 1000000 were committed")


def test_keys_that_the_manifest_has_not(chain: Chain, tmp_path: Path) -> None:
    copy = copy_of(chain, tmp_path / "ws")
    shard = copy.shards("train")[1]
    artifact = copy.artifact("windows")
    done = artifact.commit(shard).done
    rewrite(artifact, shard, done=done - 1)
    one, account = sorted(through(copy), key=lambda one: one.reason, reverse=True)
    assert (one.unit, one.reason, one.alike) == (shard, "keys", False)
    assert one.detail.startswith(f"{done - 1} keys done and ")
    assert (account.artifact, account.reason) == (artifact.name, "account")


def test_a_sum_that_is_not_its_units(toys: Toys) -> None:
    toys.run(LocalExecutor())
    powers = toys.powers()
    (entry,) = powers.store.list(f"{powers.name}/_summaries")
    path = Path(powers.store.uri, entry.name)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"done": 11}))
    assert found(toys) == [(powers.name, "", "account")]
    path.write_text("{")
    assert found(toys) == [(powers.name, "", "account")]


def test_an_input_that_is_gone_is_told_of_what_was_made_from_it(toys: Toys) -> None:
    toys.run(LocalExecutor())
    numbers, powers = (step.spec.artifact for step in toys.engine().steps)
    shutil.rmtree(Path(toys.workspace, numbers))
    (one,) = look_through(toys).damaged
    assert (one.artifact, one.reason, one.mendable) == (powers, "input-gone", False)
    assert one.detail == (
        f"is made from {numbers}, which is gone; run its recipe again, or remove it (sppnet rm {powers})"
    )


@pytest.mark.parametrize("body", ["{", "[]", '{"inputs": 3}', '{"stage": "powers"}', None])
def test_a_record_that_tells_of_something_else(toys: Toys, body: str | None) -> None:
    toys.run(LocalExecutor())
    powers = toys.powers()
    path = Path(toys.workspace, powers.name, "artifact.json")
    path.unlink() if body is None else path.write_text(body)
    assert found(toys) == [(powers.name, "", "record")]


def test_checkpoints_are_looked_at_too(toys: Toys) -> None:
    toys.run(LocalExecutor())
    powers = toys.powers()
    checkpoints = Checkpoints(powers)
    for step in (1, 2, 3):
        checkpoints.save(step, {"w": torch.full((2,), float(step))}, ())
    assert found(toys, deep=True) == []
    folder = Path(toys.workspace, powers.name, "checkpoints")
    next(folder.glob("step-000002-*")).unlink()
    flip(next(folder.glob("step-000003-*")))
    place = folder / "step-000001.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"data": "../../x"}))
    wrong = {one.commit.rpartition("/")[2]: one.detail for one in look_through(toys, deep=True).damaged}
    assert set(wrong) == {"step-000001.json", "step-000002.json", "step-000003.json"}
    assert wrong["step-000001.json"].startswith("names '../../x', which is no checkpoint's data")
    assert wrong["step-000002.json"].endswith(" is missing")
    assert len(look_through(toys).damaged) == 2, "what is whole by name is read only if asked to"


def test_a_manifest_that_is_damaged_and_the_looks_that_rest_on_it(chain: Chain, tmp_path: Path) -> None:
    copy = copy_of(chain, tmp_path / "ws")
    steps = copy.engine.steps
    (path,) = (copy.root / "manifests").iterdir()
    flip(path)
    workspace = Workspace.open(str(copy.root))
    damaged = verify(workspace, [steps], workspace.artifact_names(), None).damaged
    assert sorted(one.commit.split("/")[0] for one in damaged) == ["looks", "manifests"]
    assert all(one.reason == "record" for one in damaged)


def test_a_look_that_is_damaged(toys: Toys, tmp_path: Path) -> None:
    (tmp_path / "numbers.txt").write_text("1")
    toys.file = str(tmp_path / "numbers.txt")
    toys.run(LocalExecutor())
    workspace = Workspace.open(toys.workspace)
    (path,) = Path(toys.workspace, "looks").rglob("look.json")
    path.write_text("{")
    (one,) = verify(workspace, [], workspace.artifact_names(), None).damaged
    assert (one.artifact, one.commit) == ("looks", path.relative_to(toys.workspace).as_posix())
