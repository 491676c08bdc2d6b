"""What a change of the data set costs: units are named by what is in their shard, and nothing else is made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.datasets.contents import Contents
from tests.support.chain import SCALES, SHARD_SIZE, TRAIN, VAL, Chain, add_image, make_steps
from tests.support.in_process import Bench, sppnet

BY_SHARD = ("images", "windows", "maps")
"""Steps whose units follow their shards alone."""
WHOLE = ("svms", "regressors", "metrics")
"""Steps that take all shards of a split together."""
SHARDS = -(-TRAIN // SHARD_SIZE) + -(-VAL // SHARD_SIZE)


@pytest.fixture(scope="module")
def finished(drawn: Path, weights_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """A finished run: read it, don't change it."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(drawn, folder / "data")
    made = Chain(folder / "data", make_steps(folder / "data", weights_file), folder / "workspace")
    made.run()
    return made


@pytest.fixture
def mine(finished: Chain, tmp_path: Path) -> Chain:
    """A copy of the finished run, whose data set may be changed."""
    # Times are kept, as are those of a data set that nobody touched; what a copy has of its own is its inodes' times.
    shutil.copytree(finished.root.parent, tmp_path / "mine")
    # The data set lies elsewhere now: what was seen there is found again by content.
    moved = Chain(tmp_path / "mine" / "data", at(finished, tmp_path / "mine" / "data"), tmp_path / "mine" / "workspace")
    assert all(made == 0 for made in run_and_count(moved).values())
    return moved


def at(chain: Chain, data: Path) -> dict[str, dict[str, object]]:
    return {**chain.steps, "images": {**chain.steps["images"], "dataset": {"root": str(data)}}}


def again(chain: Chain) -> Chain:
    """The same recipe, looked at anew."""
    return Chain(chain.data, chain.steps, chain.root, chain.seed)


def run_and_count(chain: Chain) -> dict[str, int]:
    """Run; return how many units each step made."""
    looked = again(chain)
    before = {name: looked.artifact(name).committed() for name in chain.steps}
    looked.run()
    return {name: len(looked.artifact(name).committed() - before[name]) for name in chain.steps}


def test_an_added_image_costs_one_shard(mine: Chain) -> None:
    add_image(mine.data, "val", "new", np.full((100, 130, 3), 120, np.uint8), place=2)
    made = run_and_count(mine)
    assert made == {
        "images": 2,  # its shard's images, and their annotations
        "windows": 1,
        "network": 0,
        "maps": len(SCALES),
        "svms": 0,  # they take `train` together, where nothing changed
        "regressors": 0,
        "plain": 1,
        "full": 1,
        "metrics": 1,
    }
    assert [len(s.keys) for s in again(mine).manifest.shards("val")] == [SHARD_SIZE, VAL - SHARD_SIZE, 1]


def test_an_image_added_to_the_training_split_trains_anew_and_costs_one_shard_of_maps(mine: Chain) -> None:
    add_image(mine.data, "train", "new", np.full((100, 130, 3), 120, np.uint8))
    made = run_and_count(mine)
    assert {name: made[name] for name in BY_SHARD} == {"images": 2, "windows": 1, "maps": len(SCALES)}
    assert all(made[name] > 1 for name in ("svms", "regressors", "plain", "full"))


def test_a_replaced_image_of_equal_size_costs_its_shard(mine: Chain) -> None:
    """Also where neither its size nor its time tells."""
    path = mine.data / "JPEGImages" / "val_00001.jpg"
    stat, data = path.stat(), bytearray(path.read_bytes())
    pixels = np.array(Image.open(path))[::-1]
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, quality=60)
    found = path.read_bytes()
    assert len(found) < len(data)
    path.write_bytes(found + bytes(len(data) - len(found)))
    import os

    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    made = run_and_count(mine)
    assert {name: made[name] for name in (*BY_SHARD, "svms", "plain")} == {
        "images": 2,
        "windows": 1,
        "maps": len(SCALES),
        "svms": 0,
        "plain": 1,
    }


def test_a_removed_image_costs_its_shard(mine: Chain) -> None:
    names = mine.data / "ImageSets" / "Main" / "val.txt"
    names.write_text(names.read_text().replace("val_00001\n", ""))
    made = run_and_count(mine)
    assert {name: made[name] for name in (*BY_SHARD, "svms", "plain", "metrics")} == {
        "images": 2,
        "windows": 1,
        "maps": len(SCALES),
        "svms": 0,
        "plain": 1,
        "metrics": 1,
    }


def relabel(data: Path, key: str) -> None:
    path = data / "Annotations" / f"{key}.xml"
    text = path.read_text()
    changed = text.replace("<difficult>0", "<difficult>1", 1)
    assert changed != text
    path.write_text(changed)


def test_a_label_costs_neither_a_convolution_nor_a_proposal(mine: Chain) -> None:
    relabel(mine.data, "train_00000")
    made = run_and_count(mine)
    assert {name: made[name] for name in BY_SHARD} == {"images": 1, "windows": 0, "maps": 0}
    assert all(made[name] > 1 for name in ("svms", "regressors"))


def test_a_label_of_the_judged_split_is_judged_anew_and_no_more(mine: Chain) -> None:
    relabel(mine.data, "val_00000")
    assert {name: n for name, n in run_and_count(mine).items() if n} == {"images": 1, "metrics": 1}


def test_a_split_that_is_ingested_too_leaves_the_others(mine: Chain) -> None:
    lists = mine.data / "ImageSets" / "Main"
    (lists / "both.txt").write_text((lists / "train.txt").read_text())
    mine.steps["images"]["dataset"] = {"root": str(mine.data), "splits": ["train", "val", "both"]}
    assert {name: n for name, n in run_and_count(mine).items() if n} == {}


def test_a_data_set_that_has_grown_keeps_its_shards_whatever_else_is_asked_of_it(mine: Chain) -> None:
    """Another split, another category: neither cuts anew, though from nothing the shards would be others."""
    add_image(mine.data, "train", "new", np.full((100, 130, 3), 120, np.uint8), place=0)
    run_and_count(mine)
    grown = again(mine).manifest.units("train")
    lists = mine.data / "ImageSets" / "Main"
    (lists / "few.txt").write_text("val_00000\nval_00003\n")
    categories = [*(mine.data / "categories.txt").read_text().split(), "unicorn"]
    dataset = {"root": str(mine.data), "splits": ["train", "val", "few"], "categories": categories}
    mine.steps["images"]["dataset"] = dataset
    made = run_and_count(mine)
    assert again(mine).manifest.units("train") == grown
    assert (made["windows"], made["maps"], made["plain"]) == (0, 0, made["full"])
    assert made["images"] == 1 + SHARDS + 1 + 1  # the new split's shard, and everybody's annotations


def test_two_data_sets_that_hold_the_same_shard_share_what_is_made_of_it(mine: Chain, tmp_path: Path) -> None:
    """Another folder, other splits, other labels and other settings of its training: the maps are there."""
    other = tmp_path / "other"
    shutil.copytree(mine.data, other)
    lists = other / "ImageSets" / "Main"
    keys = (lists / "train.txt").read_text().split()
    (lists / "mostly.txt").write_text("\n".join([*keys[:SHARD_SIZE], "val_00000"]) + "\n")
    relabel(other, keys[0])
    steps = at(mine, other)
    steps["images"] = {**steps["images"], "dataset": {"root": str(other), "splits": ["mostly"]}}
    for name in ("windows", "maps"):
        steps[name] = {**steps[name], "splits": ["mostly"]}
    shared = Chain(other, {name: steps[name] for name in ("images", "windows", "network", "maps")}, mine.root)
    assert run_and_count(shared) == {"images": 1 + 2, "windows": 1, "network": 0, "maps": len(SCALES)}


def test_looking_again_reads_nothing(mine: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Contents] = []
    plain = Contents.decode.__func__  # type: ignore[attr-defined]

    def decode(cls: type[Contents], data: bytes, where: str) -> Contents:
        opened.append(plain(cls, data, where))
        return opened[-1]

    monkeypatch.setattr(Contents, "decode", classmethod(decode))
    again(mine)
    assert [contents.read_count for contents in opened if contents.read_count] == []
    assert opened
    relabel(mine.data, "val_00000")
    opened.clear()
    again(mine)
    assert sum(contents.read_count for contents in opened) == 1


@pytest.fixture
def commands(mine: Chain, tmp_path: Path) -> Callable[..., dict[str, object]]:
    """Runs commands on the recipe and its workspace."""
    from tests.support.chain import write_recipe

    recipe = write_recipe(tmp_path / "recipe.yaml", mine.steps)

    def run(command: str, *arguments: str) -> dict[str, object]:
        done = sppnet(command, *arguments, "--workspace", mine.root)
        assert done.code == 0, done.lines
        return done.json

    run.recipe = str(recipe)  # type: ignore[attr-defined]
    return run


def test_explain_says_in_words_what_has_changed_and_what_it_costs(mine: Chain, commands) -> None:
    relabel(mine.data, "val_00000")
    relabel(mine.data, "val_00002")
    add_image(mine.data, "train", "new", np.full((100, 130, 3), 120, np.uint8))
    (mine.data / "JPEGImages" / "val_00005.jpg").write_bytes((mine.data / "JPEGImages" / "val_00004.jpg").read_bytes())
    rows = {row["step"]: row for row in commands("explain", commands.recipe)["steps"]}
    assert rows["images"]["changes"] == [
        f"train/{-(-TRAIN // SHARD_SIZE):06d}: 1 image added",
        "val/000000: 2 labels changed",
        "val/000001: 1 image replaced",
    ]
    total = 2 * (SHARDS + 1)
    assert rows["images"]["state"].startswith(f"5 of {total} units to make, about ")
    assert rows["windows"]["state"].startswith(f"2 of {SHARDS + 1} units to make, about ")
    assert rows["svms"]["changes"] == ["the annotations of train have changed", "the images of train have changed"]
    assert rows["network"]["state"] == "complete"
    assert rows["svms"]["missing"] == rows["svms"]["units"]
    # Nothing was recorded by asking.
    assert {row["step"]: row for row in commands("explain", commands.recipe)["steps"]} == rows
    ran = sppnet("run", commands.recipe, "--workspace", mine.root, "--local")
    told = [line for line in ran.lines if "changed since the last run" in line]
    assert told == [f"images: changed since the last run: {change}" for change in rows["images"]["changes"]]
    again_told = sppnet("run", commands.recipe, "--workspace", mine.root, "--local")
    assert not any("changed" in line for line in again_told.lines)


def test_a_finished_run_is_usable_without_its_data_set(mine: Chain, commands, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    shutil.copy(mine.data / "JPEGImages" / "val_00003.jpg", corpus / "photo.jpg")
    shutil.rmtree(mine.data)
    assert commands("status", commands.recipe)["complete"] is True
    page = Path(commands("report", commands.recipe)["report"])
    assert "car" in page.read_text()
    commands("export", commands.recipe, "network", str(tmp_path / "network.safetensors"))
    written = commands("export-detections", commands.recipe, "full", "--out", str(tmp_path / "found"))
    assert written["detections"] > 0
    scored = commands(
        "score",
        str(corpus),
        "--recipe",
        commands.recipe,
        "--detector",
        "full",
        "--out",
        str(tmp_path / "scored"),
        "--local",
    )
    assert scored["images"] == 1
    commands(
        "classify",
        str(corpus),
        "--recipe",
        commands.recipe,
        "--output",
        "pool5",
        "--out",
        str(tmp_path / "c"),
        "--local",
    )
    refused = sppnet("run", commands.recipe, "--workspace", mine.root, "--local")
    assert refused.code == 2
    assert "step images: dataset.root: " in refused.json["error"]


def test_a_workspace_of_the_first_format_is_refused(mine: Chain, commands) -> None:
    (mine.root / "workspace.json").unlink()
    for command in ("run", "status", "explain"):
        refused = sppnet(command, commands.recipe, "--workspace", mine.root)
        assert refused.code == 5
        assert "has format 1, this sppnet reads format 2" in refused.json["error"]
    assert json.loads(json.dumps(refused.json))["exit_code"] == 5


def test_commands_that_only_look_write_nothing(bench: Bench) -> None:
    before = sppnet("status", bench.recipe, "--workspace", bench.workspace)
    assert (before.code, before.json["complete"]) == (0, False)
    assert {row["step"]: row["total"] for row in before.json["steps"]}["maps"] == len(SCALES) * SHARDS
    explained = sppnet("explain", bench.recipe, "--workspace", bench.workspace)
    assert explained.code == 0
    assert not bench.workspace.exists()
