"""Rules about the code itself: who may import whom, what is never used, how long a module is."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.source_tree import NAMES, PACKAGES, ROOT, importers, imports, module_of, parse
from tests.support.waiting import PATIENCE

TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".j2", ".css", ".sh", ".txt", ".cfg", ".json", ""}
CACHES = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
LEFT_OUT = {".git", ".venv", ".venv-docs", "build", "workspace", *CACHES}


def test_the_files_are_there() -> None:
    assert len(NAMES) > 60
    assert {"sppnet/detection/svm.py", "pipelines/engine/store.py", "jobs/cli.py"} <= set(NAMES)


def test_imports_go_one_way() -> None:
    """`jobs -> pipelines -> sppnet`, and never back."""
    above = {"sppnet": {"pipelines", "jobs", "tests"}, "pipelines": {"jobs", "tests"}, "jobs": {"tests"}}
    wrong = [
        f"{name}: {module}"
        for name in NAMES
        for module in imports(name)
        if module.split(".")[0] in above[name.split("/")[0]]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "module", ["ray", "fsspec", "s3fs", "boto3", "botocore", "pyarrow", "webdataset", "pydantic", "typer", "rich"]
)
def test_the_method_knows_neither_cluster_nor_storage(module: str) -> None:
    assert {name for name in importers(module) if name.startswith("sppnet/")} == set()


COMES_WITH = {
    "llvmlite": "numba",
    "markupsafe": "jinja2",
    "pydantic_core": "pydantic",
    "grpc": "ray",
    "aiohttp": "ray",
    "triton": "torch",
}
"""Libraries that another one brings in the version that fits it: a range of ours could only be wrong."""


distributions = cache(packages_distributions)


def declared(*extras: str) -> set[str]:
    """Names of the packages that an installation with some extras asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return {re.split(r"[\[<>=!~ ]", line)[0].lower() for line in lines}


@pytest.mark.parametrize(
    ("package", "extras"),
    [
        ("sppnet", ("timm",)),
        ("pipelines", ("pipeline",)),
        ("jobs", ("pipeline", "bench", "tensorboard", "mlflow", "wandb", "onnx")),
    ],
)
def test_each_package_uses_what_its_installation_asks_for(package: str, extras: tuple[str, ...]) -> None:
    known, owners = declared(*extras), distributions()
    wrong = []
    for name in NAMES:
        libraries = {module.split(".")[0] for module in imports(name)} - sys.stdlib_module_names - {*PACKAGES}
        for library in libraries if name.startswith(f"{package}/") else ():
            found = owners.get(COMES_WITH.get(library, library), [library])
            if not known & {owner.lower() for owner in found}:
                wrong.append(f"{name}: {library}")
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "places"),
    [
        ("ray.train", {"pipelines/executors/ray_train.py"}),
        ("fsspec", {"pipelines/engine/store.py", "pipelines/engine/object_store.py"}),
        ("timm", {"sppnet/networks/timm_models.py"}),
        ("s3fs", set()),
        ("boto3", set()),
        ("botocore", set()),
        ("pyarrow.fs", {"pipelines/engine/store.py"}),
        (
            "pyarrow.parquet",
            {"pipelines/artifacts/parquet.py", "jobs/bench/maps.py"},
        ),
        ("webdataset", {"pipelines/artifacts/image_tars.py"}),
        ("tarfile", {"pipelines/artifacts/tar_members.py"}),
        ("torch.distributed", {"pipelines/executors/ray_train.py", "pipelines/training/loop.py"}),
    ],
)
def test_each_library_has_its_place(module: str, places: set[str]) -> None:
    assert importers(module) <= places


def test_ray_is_met_in_few_places() -> None:
    """Ray's core where tasks are, Ray Train in its own module; `doctor` looks at the installed version."""
    assert importers("ray") == {
        "pipelines/executors/ray_core.py",
        "pipelines/executors/ray_metrics.py",
        "pipelines/executors/ray_nodes.py",
        "pipelines/executors/ray_train.py",
        "pipelines/executors/ray_work.py",
        "jobs/doctor/machine.py",
        "jobs/bench/peers/on_ray_data.py",
    }


def test_arrow_is_met_in_few_places() -> None:
    layouts = {
        f"pipelines/artifacts/{name}.py"
        for name in (
            *("parquet", "windows_and_maps", "detections", "scores", "examples", "file_contents"),
            *("packed_rows", "window_samples", "object_rows"),
        )
    }
    measured = {"jobs/bench/maps.py", "jobs/bench/sides/outputs.py"}
    assert importers("pyarrow") == {*layouts, "pipelines/engine/store.py", *measured}


@pytest.mark.parametrize("module", ["pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"])
def test_nothing_is_pickled(module: str) -> None:
    assert importers(module) == set()


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the dotted name of what is called."""
    for node in ast.walk(parse(name)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


FORBIDDEN = re.compile(r"(.*\.cuda|.*\.to_pickle|.*\.read_pickle|eval|exec|os\.system|yaml\.unsafe_load|breakpoint)")


def test_calls_that_are_never_made() -> None:
    wrong = []
    for name in NAMES:
        for called, node in calls(name):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            bad = FORBIDDEN.fullmatch(called) is not None
            bad |= keywords.get("shell", "False") != "False" or keywords.get("allow_pickle", "False") != "False"
            if called in ("torch.load", "torch.save"):  # files exchanged with torchvision, tensors only
                bad |= name != "sppnet/networks/state_dicts.py"
                bad |= called == "torch.load" and keywords.get("weights_only") != "True"
            if bad:
                wrong.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
    assert wrong == []


def test_errors_are_not_swallowed() -> None:
    wrong = []
    for name in NAMES:
        for node in ast.walk(parse(name)):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
                silent = all(isinstance(part, ast.Pass) for part in node.body)
                if node.type is None or (broad and silent):
                    wrong.append(f"{name}:{node.lineno}")
    assert wrong == []


def test_modules_are_short_and_say_what_they_are() -> None:
    lines = {name: len((ROOT / name).read_text().splitlines()) for name in NAMES}
    assert {name: count for name, count in lines.items() if count > 400} == {}
    assert [name for name in NAMES if not ast.get_docstring(parse(name))] == []


def test_tests_are_short_too() -> None:
    long = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_no_test_has_a_deadline_of_its_own() -> None:
    """Hypothesis has one profile, in `tests/conftest.py`."""
    pattern = re.compile(r"settings\([^)]*deadline")
    found = {path.name for path in (ROOT / "tests").rglob("*.py") if pattern.search(path.read_text())}
    assert found == set()


def project_files() -> Iterator[Path]:
    for folder, inner, names in os.walk(ROOT):
        inner[:] = sorted(name for name in inner if name not in LEFT_OUT and not name.endswith(".egg-info"))
        texts = {name for name in names if Path(name).suffix in TEXT} - LEFT_OUT  # .git is a file in a linked work tree
        yield from (Path(folder, name) for name in sorted(texts))


def test_no_file_knows_a_machine() -> None:
    """No home folder, no place of anybody's checkout."""
    wrong = re.compile(r"(?<![\w.}])/(?:home|Users|root|mnt|work|workspaces?)/[\w.-]+")
    found = []
    for path in project_files():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            # This file spells the rule out; a container's folders are its own.
            if (match := wrong.search(line)) and path.name not in ("test_architecture.py", "Dockerfile"):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert found == []


LOADED = """
import json, sys
before = set(sys.modules)
import {module}
new = set(sys.modules) - before
print(json.dumps(sorted({{name.split(".")[0] for name in new}})))
"""


def loaded_by(module: str) -> set[str]:
    """Top-level modules that importing a module loads in a fresh process."""
    command = [sys.executable, "-c", LOADED.format(module=module)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return set(json.loads(done.stdout))


CLUSTER = {"ray"}
STORAGE = {"fsspec", "s3fs", "boto3", "botocore", "aiobotocore", "pyarrow", "webdataset"}
HEAVY = {"torch", "torchvision", "numba", "sklearn", "cv2", "matplotlib", "scipy"}


METHOD = [module_of(name) for name in NAMES if name.startswith("sppnet/")]


def test_importing_the_package_is_light() -> None:
    assert loaded_by("sppnet") & (CLUSTER | STORAGE | HEAVY | {"numpy", "pipelines", "jobs"}) == set()


def test_the_whole_method_needs_neither_cluster_nor_storage() -> None:
    found = loaded_by(", ".join(METHOD))
    assert "torch" in found
    assert found & (CLUSTER | STORAGE | {"pipelines", "jobs", "pydantic", "typer"}) == set()


WITHOUT = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
{code}
"""


def run_without(absent: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a fresh process where some libraries are not installed."""
    command = [sys.executable, "-c", WITHOUT.format(absent=absent, code=code)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)


def only_with(extra: str) -> set[str]:
    """The importable names of the packages that an extra adds."""
    added = declared(extra) - declared()
    return {module for module, owners in distributions().items() if added & {o.lower() for o in owners}}


def test_the_method_is_usable_alone() -> None:
    """`pip install sppnet` without the extra: every module of the method is imported, and a head's pyramid pools."""
    absent = only_with("pipeline")
    assert {"ray", "pyarrow", "fsspec", "s3fs", "webdataset", "pydantic", "typer", "yaml", "jinja2"} <= absent
    code = f"import {', '.join(METHOD)}\nfrom sppnet.pooling.pyramid import Pyramid\nprint(Pyramid().bins)"
    done = run_without(absent, code)
    assert (done.returncode, done.stdout) == (0, "50\n"), done.stderr


def command_without(absent: set[str], *arguments: str) -> tuple[int, list[str]]:
    """Exit code and error lines of the command where some libraries are not installed."""
    done = run_without(absent, f"sys.argv = {['sppnet', *arguments]!r}\nfrom jobs.__main__ import main\nmain()")
    return done.returncode, done.stderr.splitlines()


def test_the_command_says_which_extra_it_lacks() -> None:
    line = "sppnet: {} is not installed; it comes with the extra: pip install 'sppnet[pipeline]'"
    assert command_without(only_with("pipeline")) == (2, [line.format("typer")])
    assert command_without({"pydantic"}, "status", "demo") == (2, [line.format("pydantic")])  # typer asks for it first
    assert command_without({"yaml"}, "status", "demo") == (2, [line.format("yaml")])


def test_a_broken_installation_of_the_command_itself_is_no_lack_of_an_extra() -> None:
    code, lines = command_without({"pipelines"}, "status", "demo")
    assert code == 1
    assert "Traceback (most recent call last):" in lines
    assert lines[-1] == "sppnet: ModuleNotFoundError: No module named 'pipelines'"


def test_the_command_answers_without_torch_or_ray() -> None:
    assert loaded_by("jobs.cli") & (CLUSTER | STORAGE | HEAVY) == set()


def test_stages_run_without_ray() -> None:
    assert loaded_by("pipelines.engine.runner, pipelines.stages.score, pipelines.stages.evaluate") & CLUSTER == set()
