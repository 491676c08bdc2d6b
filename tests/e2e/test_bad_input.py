"""Bad input through the real command: one clear line and the right exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from sppnet.networks.backbones import BackboneSpec
from sppnet.networks.weights import read_safetensors, write_safetensors
from tests.support.chain import write_weights
from tests.support.in_process import Bench, sppnet
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


# --- what is refused with one line --------------------------------------------------------------------------------


def test_an_empty_data_set(bench) -> None:
    (bench.data / "ImageSets" / "Main" / "train.txt").write_text("\n")
    outcome = bench.run()
    assert outcome.code == 2
    assert outcome.lines == [f"sppnet: step images: split 'train' is empty: {bench.data}/ImageSets/Main/train.txt"]


def test_a_data_set_that_does_not_exist(bench) -> None:
    outcome = bench.run("images.dataset.root=/nowhere/at/all")
    assert outcome.code == 2
    assert outcome.lines == ["sppnet: step images: dataset.root: /nowhere/at/all does not exist on this machine"]
    assert not bench.workspace.exists()


def test_all_images_unusable(bench) -> None:
    for path in (bench.data / "JPEGImages").iterdir():
        path.write_bytes(b"")
    outcome = bench.run()
    assert outcome.code == 4
    assert "step images: 18 of 18 keys quarantined (18 not-an-image" in outcome.json["error"]
    allowed = bench.run("images.max_quarantined=1")
    assert allowed.code == 2
    assert "categories 'bottle', 'car', " in allowed.json["error"]
    assert "have no object in split 'train'; remove them from categories" in allowed.json["error"]


@pytest.mark.parametrize(
    ("step", "field", "message"),
    [
        ("windows", "min_sdie", "steps.windows.min_sdie: unknown key; did you mean 'min_side'?"),
        ("images", "dataset.rot", "steps.images.dataset.rot: unknown key; did you mean 'root'?"),
    ],
)
def test_a_misspelt_key(bench, step: str, field: str, message: str) -> None:
    target: Any = bench.steps[step]
    *parents, last = field.split(".")
    for parent in parents:
        target = target[parent]
    target[last] = 3
    outcome = bench.run()
    assert outcome.code == 2
    assert outcome.lines == [f"sppnet: recipe {bench.recipe}: {message}"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("windows.min_side=big", "steps.windows.min_side: input should be a valid integer"),
        ("windows.min_side=0", "steps.windows.min_side: input should be greater than or equal to 1, got 0"),
        ("maps.scales=[160, many]", "steps.maps.scales.1: input should be a valid integer"),
        ("maps.dtype=float8", "steps.maps.dtype: input should be 'float16', 'float32' or 'float10_e5m5', got 'float8'"),
        ("svms.c=.nan", "steps.svms.c: "),
        ("windos.min_side=20", "no steps.windos in the recipe; did you mean 'windows'?"),
        ("windows.min_sdie=20", "steps.windows.min_sdie: unknown key; did you mean 'min_side'?"),
        ("windows", "--set windows: expected step.field=value"),
        ("maps.scales=[160", "--set maps.scales=[160: the value is not YAML"),
        ("seed=soon", "seed 'soon' must be an integer"),
    ],
)
def test_a_bad_override(bench, override: str, message: str) -> None:
    outcome = bench.run(override)
    assert outcome.code == 2
    assert len(outcome.lines) == 1
    assert message in outcome.lines[0]
    assert not bench.workspace.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dmeo", "no recipe 'dmeo': give a .yaml file or a built-in name; did you mean 'demo'?"),
        (
            "nothing-like-it",
            "no recipe 'nothing-like-it': give a .yaml file or a built-in name; built-in recipes:",
        ),
        ("absent.yaml", "recipe absent.yaml can't be read: No such file or directory"),
    ],
)
@pytest.mark.parametrize("command", ["run", "status", "explain", "report"])
def test_an_unknown_recipe(tmp_path, command: str, name: str, message: str) -> None:
    outcome = sppnet(command, name, "--workspace", tmp_path / "ws")
    assert outcome.code == 2
    assert len(outcome.lines) == 1
    assert message in outcome.lines[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [", "not YAML"),
        ("", "expected a mapping with the keys version, name, seed, category_groups, steps"),
        ("version: 9\nname: a\nsteps: {}", "version is 9, this sppnet reads version 1"),
        ("version: 1\nname: a\nsteps: {}", "steps must be a mapping with at least one step"),
        ("version: 1\nname: a\nstep: {}", "unknown key 'step'; did you mean 'steps'?"),
        ("version: 1\nname: a\nsteps: {x: {stage: ingset}}", "unknown stage 'ingset'; did you mean 'ingest'?"),
        ("version: 1\nname: a\nsteps: {w: {stage: propose, images: i}}", "steps.w.images: no step 'i'"),
        ("version: 1\nname: a\nname: b\nsteps: {}", "'name' is given twice"),
    ],
)
def test_a_broken_recipe(tmp_path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    outcome = sppnet("run", tmp_path / "r.yaml", "--workspace", tmp_path / "ws", "--local")
    assert outcome.code == 2
    assert len(outcome.lines) == 1
    assert message in outcome.lines[0]


def test_an_unwritable_workspace(bench) -> None:
    bench.workspace.write_text("a file is in the way")
    outcome = bench.run()
    assert outcome.code == 2
    assert outcome.lines[-1].startswith(f"sppnet: workspace can't be written at {bench.workspace}/runs/")
    assert "choose another" in outcome.lines[-1]


def test_a_read_only_workspace(bench) -> None:
    """Nobody, not even root, makes folders in sysfs."""
    outcome = sppnet("run", bench.recipe, "--workspace", "/sys/sppnet", "--local")
    assert outcome.code == 2
    assert outcome.lines[-1].startswith("sppnet: workspace can't be written at /sys/sppnet/runs/")


@pytest.mark.parametrize("uri", ["", "nosuch://bucket/x", "s3://"])
def test_a_workspace_that_is_none(bench, uri: str) -> None:
    outcome = sppnet("run", bench.recipe, "--workspace", uri, "--local")
    assert outcome.code == 2
    assert outcome.lines == [f"sppnet: {outcome.json['error']}"]
    assert "workspace" in outcome.json["error"]


def test_weights_of_the_wrong_shape(bench) -> None:
    wide = write_weights(bench.folder / "wide.safetensors", BackboneSpec("zf5", width=0.25))
    outcome = bench.run(f"network.path={wide}")
    assert outcome.code == 2
    expected = f"{wide}: tensor 'conv1.weight' has shape [24, 3, 7, 7], the network needs [16, 3, 7, 7]"
    assert outcome.json["error"] == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "can't be read: there is no such file"),
        (
            lambda path: path.write_bytes(b"PK nothing of the kind"),
            "neither a safetensors file nor one that torch saved",
        ),
        (lambda path: path.write_bytes(b""), "not a whole safetensors file"),
    ],
)
def test_weights_that_are_none(bench, make, message: str) -> None:
    path = bench.folder / "w.safetensors"
    make(path)
    outcome = bench.run(f"network.path={path}")
    assert outcome.code == 2
    assert f"{path}" in outcome.json["error"]
    assert message in outcome.json["error"]


def test_an_unknown_architecture(bench) -> None:
    outcome = bench.run("network.architecture=zf6")
    assert outcome.code == 2
    assert "steps.network.backbone.architecture: unknown 'zf6'" in outcome.json["error"]
    assert "did you mean 'zf5'" in outcome.json["error"]


def test_weights_without_bounds_quarantine_every_map(made, weights_file) -> None:
    tensors = read_safetensors(weights_file.read_bytes())
    tensors["conv5.bias"][3] = 3e38
    path = made.folder / "absurd.safetensors"
    path.write_bytes(write_safetensors(tensors))
    outcome = made.run(f"network.path={path}")
    assert outcome.code == 4
    assert outcome.json["error"].startswith("step maps: 38 of 40 keys quarantined (38 nan-features; first: ")
    rows = {row["step"]: row for row in made.status(f"network.path={path}").json["steps"]}
    assert rows["maps"]["reasons"] == {"nan-features": 38, "truncated": 1}


def test_maps_of_another_backbone(made) -> None:
    other = write_weights(made.folder / "other.safetensors", seed=5)
    made.steps["network2"] = {**made.steps["network"], "path": str(other)}
    made.steps["maps2"] = {**made.steps["maps"], "backbone": "network2", "splits": ["val"]}
    made.steps["plain"]["maps"] = "maps2"
    outcome = made.run()
    assert outcome.code == 2
    assert "holds maps of another backbone than the detector was trained on" in outcome.json["error"]


def test_a_category_without_objects(made) -> None:
    outcome = made.run("svms.categories=[car, flower]")
    assert outcome.code == 2
    expected = (
        "step svms: category 'flower' has no object in split 'train' but difficult ones; remove it from categories"
    )
    assert outcome.json["error"] == f"{expected}, or set difficult: true"


def test_a_category_that_the_data_set_does_not_have(made) -> None:
    outcome = made.run("svms.categories=[car, hose]")
    assert outcome.code == 2
    assert outcome.json["error"] == "step svms: categories: the images have no 'hose'; did you mean 'house'?"


# --- artifacts that are damaged, and units that fail --------------------------------------------------------------


def data_object(bench: Bench, step: str, unit: str) -> Path:
    artifact = bench.chain().artifact(step)
    return bench.workspace / artifact.name / artifact.commit(unit).data


@pytest.mark.parametrize("step", ["images", "windows", "maps"])
def test_a_flipped_byte_is_5_and_mending_goes_on(made, step: str) -> None:
    chain = made.chain()
    shard = chain.unit("train/000001")
    units = {"images": chain.manifest.annotations(shard), "windows": shard, "maps": f"s0160/{shard}"}
    unit = units[step]
    made.steps = {name: made.steps[name] for name in ("images", "windows", "network", "maps", "svms")}
    made.steps["svms"]["rounds"] = 0
    path = data_object(made, step, unit)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    outcome = made.run()
    assert outcome.code == 5
    assert outcome.json["error"].startswith("step svms: 1 of 3 units failed: gather/train/000001: ")
    assert f"{path} is not what was committed" in outcome.json["error"]
    assert f"remove _commits/{unit}.json and run again" in outcome.json["error"]
    rows = {row["step"]: row for row in made.status().json["steps"]}
    assert rows["svms"]["committed"] == 2
    assert list(rows["svms"]["failures"]) == ["gather/train/000001"]
    path.write_bytes(whole)
    assert made.run().code == 0


def test_a_missing_data_object_is_5(made) -> None:
    data_object(made, "windows", made.chain().unit("train/000002")).unlink()
    outcome = made.run()
    assert outcome.code == 5
    assert "does not exist" in outcome.json["error"]


def test_a_cut_network_is_5(made) -> None:
    path = data_object(made, "network", "model")
    path.write_bytes(path.read_bytes()[:-10])
    outcome = made.run("maps.scales=[160, 200, 240]")
    assert outcome.code == 5
    assert "is not what was committed" in outcome.json["error"]


@pytest.mark.parametrize(
    "place", ["manifests/{manifest}.json", "{maps}/backbone.json", "{maps}/artifact.json", "workspace.json"]
)
def test_corrupt_small_files_are_5(made, place: str) -> None:
    chain = made.chain()
    name = place.format(manifest=chain.manifest.digest, maps=chain.artifact("maps").name)
    (made.workspace / name).write_text("{")
    outcome = made.run()
    assert outcome.code == 5
    assert f"{name} is corrupt" in outcome.json["error"]


def test_a_corrupt_commit_is_5(made) -> None:
    chain = made.chain()
    commit = f"{chain.artifact('windows').name}/_commits/{chain.unit('train/000000')}.json"
    (made.workspace / commit).write_text("{}")
    outcome = made.run()
    assert outcome.code == 5
    assert "not a commit" in outcome.json["error"]


def test_a_defect_in_one_unit_is_3_and_the_others_are_kept(bench, monkeypatch) -> None:
    from sppnet.proposals import methods

    search = methods.selective_search
    calls = []

    def fail_once(image, **options):
        calls.append(image)
        if len(calls) == 7:  # in the second shard
            raise RuntimeError("no such luck")
        return search(image, **options)

    monkeypatch.setattr(methods, "selective_search", fail_once)
    bench.steps = {name: bench.steps[name] for name in ("images", "windows")}
    outcome = bench.run()
    assert outcome.code == 3
    expected = "step windows: 1 of 5 units failed: train/000001: RuntimeError: no such luck (1 tries). Finished units"
    assert outcome.json["error"].startswith(expected)
    rows = {row["step"]: row for row in bench.status().json["steps"]}
    assert (rows["windows"]["committed"], rows["windows"]["total"]) == (4, 5)
    assert rows["windows"]["failures"] == {"train/000001": "RuntimeError: no such luck"}
    assert bench.run().code == 0


def test_a_defect_of_the_command_itself_is_1(bench, monkeypatch) -> None:
    from jobs.run import status

    monkeypatch.setattr(status, "status_table", lambda engine: 1 / 0)
    outcome = bench.status()
    assert outcome.code == 1
    assert outcome.json["error"] == "ZeroDivisionError: division by zero"


# --- commands on a workspace without anything, and the real process ------------------------------------------------


@pytest.mark.parametrize("command", ["status", "explain", "report"])
def test_nothing_is_there_yet(bench, command: str) -> None:
    outcome = sppnet(command, bench.recipe, "--workspace", bench.workspace)
    assert outcome.code == 0
    assert outcome.json["command"] == command


def test_the_real_process(bench) -> None:
    command = [sys.executable, "-m", "jobs", "run", str(bench.recipe), "--local", "--json", "-w", str(bench.workspace)]
    override = ["--set", "images.dataset.root=/nowhere"]
    done = subprocess.run(
        [*command, *override], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    message = "step images: dataset.root: /nowhere does not exist on this machine"
    assert done.returncode == 2
    assert done.stderr == f"sppnet: {message}\n"
    assert json.loads(done.stdout) == {"command": "run", "exit_code": 2, "error": message}


def test_usage_errors_are_2() -> None:
    for arguments in (["run"], ["nonsense"], ["run", "demo", "--nonsense"], ["run", "demo", "--cpus", "0"]):
        assert CliRunner().invoke(app, arguments).exit_code == 2
