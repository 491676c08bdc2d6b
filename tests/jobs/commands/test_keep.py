"""Commands that look after a workspace, as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chain import Chain, write_recipe
from tests.support.damaging import copy_of, data_path, flip
from tests.support.in_process import sppnet


@pytest.fixture
def copy(chain: Chain, tmp_path: Path) -> Chain:
    return copy_of(chain, tmp_path / "ws")


@pytest.fixture
def recipe(chain: Chain, tmp_path: Path) -> Path:
    """The chain up to its maps, which everything behind them has read by now."""
    steps = {name: chain.steps[name] for name in ("images", "windows", "network", "maps")}
    return write_recipe(tmp_path / "recipe.yaml", steps)


def test_damage_that_nothing_reads_any_more_is_said_and_mended(copy: Chain, recipe: Path) -> None:
    """Everything downstream is complete: `status` and `run` say it all the same; a repair and a run mend it."""
    shard = copy.shards("train")[0]
    unit, maps = f"s0160/{shard}", copy.artifact("maps")
    path = data_path(maps, unit)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    status = sppnet("status", recipe, "--workspace", copy.root)
    rows = {row["step"]: row for row in status.json["steps"]}
    told = f"{maps.commit_name(unit)}: {maps.name}/s0160/{path.name} has {len(whole) - 7} bytes"
    assert rows["maps"]["damaged"] == [f"{told}, {len(whole)} were committed"]
    assert (status.json["complete"], status.code) == (False, 0)
    assert f"maps: damaged: {rows['maps']['damaged'][0]}" in status.lines
    ran = sppnet("run", recipe, "--workspace", copy.root, "--local")
    assert ran.code == 5
    assert ran.json["error"].startswith(f"step maps: 1 unit is damaged: {told}")
    assert ran.json["error"].endswith("take the damaged ones away (sppnet verify --repair) and run again")
    assert sppnet("verify", recipe, "--workspace", copy.root).code == 5
    mended = sppnet("verify", recipe, "--workspace", copy.root, "--repair")
    assert (mended.code, mended.json["taken"]) == (0, [maps.commit_name(unit)])
    again = sppnet("run", recipe, "--workspace", copy.root, "--local")
    assert again.code == 0
    assert [line for line in again.lines if "units to make" in line] == [
        f"maps: 1 of 10 units to make, 9 committed before ({maps.name})"
    ]
    assert data_path(maps, unit).read_bytes() == whole
    assert sppnet("verify", copy.root, "--deep").code == 0


def test_what_is_found_only_by_reading(copy: Chain) -> None:
    flip(data_path(copy.artifact("svms"), f"solve-2/{'car'}"))
    assert sppnet("verify", "--workspace", copy.root).code == 0
    assert sppnet("verify", "--workspace", copy.root, "--address", "127.0.0.1:1").code == 2, "of what is not said"
    found = sppnet("verify", "--workspace", copy.root, "--deep")
    assert (found.code, [one["reason"] for one in found.json["damaged"]]) == (5, ["checksum"])


def test_a_place_that_is_no_workspace_or_another_versions(tmp_path: Path) -> None:
    none = sppnet("verify", tmp_path / "none")
    assert (none.code, none.json["error"]) == (2, f"no workspace at {tmp_path}/none: nothing was run there")
    (tmp_path / "workspace.json").write_text('{"format": 7}')
    for command in (("verify",), ("gc",), ("retry", "--quarantined"), ("rm", "maps-0123456789ab")):
        found = sppnet(*command, "--workspace", tmp_path)
        assert found.code == 5
        assert "has format 7, this sppnet reads format 2" in found.json["error"]


def test_retry(copy: Chain) -> None:
    assert sppnet("retry", "--workspace", copy.root).code == 2, "of what is not said"
    unknown = sppnet("retry", "--quarantined", "--reason", "ugly", "--workspace", copy.root)
    assert (unknown.code, unknown.json["error"]) == (
        2,
        "--reason ugly: no key is quarantined for it; there are: no-windows, truncated",
    )
    dry = sppnet("retry", "--quarantined", "--reason", "truncated", "--dry-run", "--workspace", copy.root)
    assert (dry.code, dry.json["reasons"]) == (0, {"truncated": 1})


def test_gc_and_rm(copy: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.keeping.garbage.dead_scratch", list)
    assert sppnet("gc", "--workspace", copy.root, "--age", "5m").code == 2
    assert sppnet("gc", "--workspace", copy.root).json["taken"] == []
    name = copy.artifact("plain").name
    assert sppnet("rm", name, "--workspace", copy.root).code == 2
    removed = sppnet("rm", name, "--workspace", copy.root, "--yes")
    assert removed.code == 0
    assert [row["artifact"] for row in removed.json["artifacts"]] == [copy.artifact("metrics").name, name]
