"""Keys that were set aside are tried again with all that follows from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.keeping.quarantine import SetAside
from pipelines.keeping.repair import remove_units
from sppnet.errors import ConfigError
from tests.support.chain import Chain
from tests.support.toy_fixtures import UNITS, Toys

SUM = "sum/0_1_2"
FIELDS = {"refuse": 5, "max_quarantined": 1}


def aside(toys: Toys, reason: str | None = None) -> SetAside:
    workspace = Workspace.open(toys.workspace)
    return SetAside.find(workspace, workspace.artifact_names(), reason, [toys.engine(**FIELDS).steps])


def test_units_that_set_keys_aside_and_what_follows(toys: Toys) -> None:
    toys.run(LocalExecutor(), **FIELDS)
    powers = toys.powers(**FIELDS).name
    found = aside(toys)  # 0 and 5 and 10, one a shard
    assert found.reasons == {"refused": 3}
    assert found.units == tuple((powers, unit) for unit in UNITS[:3])
    assert found.followers == ((powers, SUM),)
    assert aside(toys, "refused") == found


def test_the_next_run_tries_them_and_a_key_that_is_mended_is_done(toys: Toys) -> None:
    toys.run(LocalExecutor(), **FIELDS)
    powers = toys.powers(**FIELDS)
    # As if they had been set aside for something that is over by now.
    place = Path(toys.workspace, powers.commit_name(UNITS[2]))
    commit = json.loads(place.read_text())
    commit["quarantined"][0]["reason"] = "unreadable"
    place.write_text(json.dumps(commit))
    found = aside(toys, "unreadable")
    assert (found.reasons, found.units) == ({"unreadable": 1}, ((powers.name, UNITS[2]),))
    remove_units(Workspace.open(toys.workspace), [*found.units, *found.followers])
    assert toys.run(LocalExecutor(), **FIELDS).done == [("raise", UNITS[2]), ("raise", SUM)]
    assert aside(toys).reasons == {"refused": 3}


def test_an_unknown_reason_is_refused_with_those_that_there_are(toys: Toys) -> None:
    with pytest.raises(ConfigError, match=r"^--reason x: .*; there are: none: nothing is quarantined$"):
        aside(toys, "x")
    toys.run(LocalExecutor(), **FIELDS)
    with pytest.raises(ConfigError, match=r"^--reason x: no key is quarantined for it; there are: refused$"):
        aside(toys, "x")


def test_keys_that_go_through_all_stages(chain: Chain) -> None:
    """`broken` is set aside by ingest, `thin` by propose: its images and maps stay."""
    workspace = chain.engine.workspace
    found = SetAside.find(workspace, workspace.artifact_names(), "no-windows", [chain.engine.steps])
    assert found.reasons == {"no-windows": 1}
    touched = {name for name, _ in (*found.units, *found.followers)}
    untouched = {chain.artifact(name).name for name in ("images", "maps", "network")}
    assert touched == {*workspace.artifact_names()} - untouched
    (shard,) = [unit for name, unit in found.units if name == chain.artifact("windows").name]
    assert "thin" in chain.manifest.keys(shard)
