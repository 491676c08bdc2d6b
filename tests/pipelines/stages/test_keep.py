"""Maps that are not stored: whoever needs them makes them, and everything comes out the same to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pipelines.artifacts.backbone_info import BackboneInfo
from pipelines.engine.planning import plan
from pipelines.engine.recipe import parse_recipe
from pipelines.stages.extract import ExtractConfig
from sppnet.errors import ArtifactError
from tests.support.chain import SCALES, Chain

ACTIVATIONS = {
    "stage": "activations",
    "images": "images",
    "maps": "maps",
    "splits": ["train", "val"],
    "scales": list(SCALES),
    "filters": [3, 0],
}


def of(chain: Chain, root: Any, maps: Mapping[str, Any], steps: Mapping[str, Any] | None = None) -> Chain:
    """The chain's recipe in a workspace that has its images, windows and network, with other fields of `maps`."""
    copy = chain.copied(root, ("images", "windows", "network"))
    own = dict(chain.steps) if steps is None else {name: chain.steps[name] for name in ("images", "network", "maps")}
    own |= {"maps": {**chain.steps["maps"], **maps}, **(steps or {})}
    made = Chain(copy.data, own, root, copy.seed)
    made.run()
    return made


@pytest.fixture(scope="module")
def fused(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return of(chain, tmp_path_factory.mktemp("fused") / "ws", {"keep": "never"})


@pytest.mark.parametrize("step", ["svms", "regressors", "plain", "full", "metrics"])
def test_everything_is_the_same_to_the_last_bit(chain: Chain, fused: Chain, step: str) -> None:
    assert fused.artifact(step).name == chain.artifact(step).name
    units = chain.units(step)
    assert units == fused.units(step)
    for unit in units:
        ours, theirs = fused.artifact(step).commit(unit), chain.artifact(step).commit(unit)
        assert (ours.sha256, ours.rows, ours.done) == (theirs.sha256, theirs.rows, theirs.done)
        assert [entry.key for entry in ours.quarantined] == [entry.key for entry in theirs.quarantined]


def test_nothing_is_stored(fused: Chain) -> None:
    maps = fused.artifact("maps")
    assert fused.units("maps") == []
    assert maps.committed() == set()
    assert all(entry.name.endswith(".json") for entry in maps.store.list(maps.name))
    assert fused.summaries["maps"].units == 0


def test_what_is_set_aside_is_the_same(chain: Chain, tmp_path: Any) -> None:
    """At its larger scale every image that is wider than high has too many pixels."""
    limit = {"max_pixels": SCALES[1] * 300, "max_quarantined": 1.0}
    strongest = {"strongest": {**ACTIVATIONS, "max_quarantined": 1.0}}
    stored = of(chain, tmp_path / "stored", limit, strongest)
    made = of(chain, tmp_path / "made", {**limit, "keep": "never"}, strongest)
    assert made.artifact("strongest").name == stored.artifact("strongest").name
    reasons = set()
    for unit in stored.units("strongest"):
        one, other = stored.artifact("strongest").commit(unit), made.artifact("strongest").commit(unit)
        assert (one.sha256, one.done) == (other.sha256, other.done)
        told = [(entry.key, entry.reason, entry.detail) for entry in one.quarantined]
        assert sorted((entry.key, entry.reason, entry.detail) for entry in other.quarantined) == sorted(told)
        reasons |= {reason for _, reason, _ in told}
    assert "too-large" in reasons
    assert stored.summaries["strongest"].done > 0


def test_a_split_may_be_stored_and_some_steps_make_their_own(chain: Chain, tmp_path: Any) -> None:
    kept = {"splits": ["train"], "makers": ["plain", "full", "metrics"]}
    made = of(chain, tmp_path / "ws", {"keep": "auto", "kept": kept})
    train = {f"s{scale:04d}/{unit}" for scale in SCALES for unit in made.manifest.units("train")}
    assert made.artifact("maps").committed() == train
    specs = {step.name: step.spec for step in made.engine.steps}
    assert specs["plain"].made == specs["full"].made == (specs["maps"].artifact,)
    assert specs["svms"].made == specs["regressors"].made == ()
    for unit in chain.units("full"):
        assert made.artifact("full").commit(unit).sha256 == chain.artifact("full").commit(unit).sha256


def test_a_step_behind_another_makes_its_own_too(chain: Chain) -> None:
    """What combines reads the maps that its detectors were scored with."""
    both = {"stage": "combine", "images": "images", "detections": ["plain", "full"]}
    steps = {**chain.steps, "maps": {**chain.steps["maps"], "keep": "never"}, "both": both}
    raw = {"version": 1, "name": "chain", "seed": 0, "steps": steps}
    specs = {step.name: step.spec for step in plan(parse_recipe(raw, "chain"), chain.engine.workspace)}
    assert specs["both"].made == (specs["maps"].artifact,)
    assert specs["windows"].made == specs["network"].made == ()


def test_auto_stores_everything_until_it_is_decided() -> None:
    fields: dict[str, Any] = {"stage": "extract", "images": "i", "backbone": "b", "splits": ("train", "val")}
    assert ExtractConfig(**fields, keep="auto").stored == ("train", "val")
    assert ExtractConfig(**fields, keep="auto").supplies("score")
    assert ExtractConfig(**fields, keep="never").stored == ()
    assert not ExtractConfig(**fields, keep="never").supplies("score")
    for keep in ("parquet", "never", "auto"):
        config = ExtractConfig(**fields, keep=keep)
        assert "keep" not in config.semantic()
        assert "kept" not in config.semantic()


def test_maps_that_don_t_tell_how_they_are_made_are_told(fused: Chain, tmp_path: Any) -> None:
    copy = fused.copied(tmp_path / "ws", ("images", "windows", "network", "maps", "svms"))
    maps = copy.artifact("maps")
    info = BackboneInfo.read(maps)
    maps.store.delete(f"{maps.name}/backbone.json")
    BackboneInfo(info.spec, info.geometry, info.channels).write(maps)
    with pytest.raises(ArtifactError, match="does not tell how its maps are made"):
        copy.stage("plain").run(copy.unit("val/000000"))
