"""Rules about the code itself: who may import whom, what is never used, how long a module is."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sppnet", "pipelines", "jobs")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]

TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".j2", ".css", ".sh", ".txt", ".cfg", ".json", ""}
LEFT_OUT = {".git", ".venv", "workspace", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}


def imports(path: Path) -> Iterator[str]:
    """Every dotted module that a file imports anywhere, functions and type checking included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(module: str, *, submodules: bool = True) -> set[str]:
    """The files that import a module."""
    found = set()
    for path, name in zip(FILES, NAMES, strict=True):
        for wanted in imports(path):
            if wanted == module or (submodules and wanted.startswith(module + ".")):
                found.add(name)
    return found


def test_the_files_are_there() -> None:
    assert len(FILES) > 60
    assert {"sppnet/detection/svm.py", "pipelines/engine/store.py", "jobs/cli.py"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_imports_go_one_way(name: str) -> None:
    """`jobs -> pipelines -> sppnet`, and never back."""
    package = name.split("/", maxsplit=1)[0]
    above = {"sppnet": {"pipelines", "jobs"}, "pipelines": {"jobs"}, "jobs": set[str]()}[package] | {"tests"}
    wrong = {module for module in imports(ROOT / name) if module.split(".")[0] in above}
    assert wrong == set()


@pytest.mark.parametrize(
    "module", ["ray", "fsspec", "s3fs", "boto3", "botocore", "pyarrow", "webdataset", "pydantic", "typer", "rich"]
)
def test_the_method_knows_neither_cluster_nor_storage(module: str) -> None:
    assert {name for name in importers(module) if name.startswith("sppnet/")} == set()


@pytest.mark.parametrize(
    ("module", "places"),
    [
        ("ray.train", {"pipelines/executors/ray_train.py"}),
        ("fsspec", {"pipelines/engine/store.py", "pipelines/engine/object_store.py"}),
        ("s3fs", set()),
        ("boto3", set()),
        ("botocore", set()),
        ("pyarrow.fs", {"pipelines/engine/store.py"}),
        ("pyarrow.parquet", {"pipelines/artifacts/parquet.py"}),
        ("webdataset", {"pipelines/artifacts/image_tars.py"}),
        ("tarfile", {"pipelines/artifacts/image_tars.py"}),
        ("torch.distributed", {"pipelines/executors/ray_train.py", "pipelines/training/loop.py"}),
    ],
)
def test_each_library_has_its_place(module: str, places: set[str]) -> None:
    assert importers(module) <= places


def test_ray_is_met_in_few_places() -> None:
    """Ray's core in its executor, Ray Train in its own module; `doctor` looks at the installed version."""
    assert importers("ray") == {"pipelines/executors/ray_core.py", "pipelines/executors/ray_train.py", "jobs/doctor.py"}


def test_arrow_is_met_in_few_places() -> None:
    layouts = {
        f"pipelines/artifacts/{name}.py"
        for name in ("parquet", "windows_and_maps", "detections", "scores", "examples", "file_contents")
    }
    assert importers("pyarrow") == {*layouts, "pipelines/engine/store.py"}


@pytest.mark.parametrize("module", ["pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"])
def test_nothing_is_pickled(module: str) -> None:
    assert importers(module) == set()


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the dotted name of what is called."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


FORBIDDEN = re.compile(r"(.*\.cuda|.*\.to_pickle|.*\.read_pickle|eval|exec|os\.system|yaml\.unsafe_load|breakpoint)")


@pytest.mark.parametrize("name", NAMES)
def test_calls_that_are_never_made(name: str) -> None:
    for called, node in calls(ROOT / name):
        assert not FORBIDDEN.fullmatch(called), f"{name}:{node.lineno}: {called}"
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in ("torch.load", "torch.save"):  # files exchanged with torchvision, tensors only
            assert name == "sppnet/networks/state_dicts.py", f"{name}:{node.lineno}: {called}"
            assert called == "torch.save" or keywords["weights_only"] == "True", f"{name}:{node.lineno}: {called}"
        assert keywords.get("shell", "False") == "False", f"{name}:{node.lineno}: shell=True"
        assert keywords.get("allow_pickle", "False") == "False", f"{name}:{node.lineno}: allow_pickle"


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_not_swallowed(name: str) -> None:
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{name}:{node.lineno}: a bare except"
            broad = ast.unparse(node.type) in ("Exception", "BaseException")
            silent = all(isinstance(part, ast.Pass) for part in node.body)
            assert not (broad and silent), f"{name}:{node.lineno}: except Exception: pass"


@pytest.mark.parametrize("name", NAMES)
def test_modules_are_short_and_say_what_they_are(name: str) -> None:
    text = (ROOT / name).read_text()
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text)), "no docstring"


def test_tests_are_short_too() -> None:
    long = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def project_files() -> Iterator[Path]:
    for folder, inner, names in os.walk(ROOT):
        inner[:] = sorted(name for name in inner if name not in LEFT_OUT and not name.endswith(".egg-info"))
        yield from (Path(folder, name) for name in sorted(names) if Path(name).suffix in TEXT)


def test_no_file_knows_a_machine() -> None:
    """No home folder, no place of anybody's checkout."""
    wrong = re.compile(r"(?<![\w.])/(?:home|Users|root|mnt|work|workspaces?)/[\w.-]+")
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
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(done.stdout))


CLUSTER = {"ray"}
STORAGE = {"fsspec", "s3fs", "boto3", "botocore", "aiobotocore", "pyarrow", "webdataset"}
HEAVY = {"torch", "torchvision", "numba", "sklearn", "cv2", "matplotlib", "scipy"}


def test_importing_the_package_is_light() -> None:
    assert loaded_by("sppnet") & (CLUSTER | STORAGE | HEAVY | {"numpy", "pipelines", "jobs"}) == set()


def test_the_whole_method_needs_neither_cluster_nor_storage() -> None:
    modules = [
        n.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for n in NAMES if n.startswith("sppnet/")
    ]
    found = loaded_by(", ".join(modules))
    assert "torch" in found
    assert found & (CLUSTER | STORAGE | {"pipelines", "jobs", "pydantic", "typer"}) == set()


def test_the_command_answers_without_torch_or_ray() -> None:
    assert loaded_by("jobs.cli") & (CLUSTER | STORAGE | HEAVY) == set()


def test_stages_run_without_ray() -> None:
    assert loaded_by("pipelines.engine.runner, pipelines.stages.score, pipelines.stages.evaluate") & CLUSTER == set()
