"""What of this machine would make a run fail."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jobs.doctor.check import Check, run_checks
from sppnet.errors import SppError

_PAIRS = {"2.11": "0.26", "2.12": "0.27", "2.13": "0.28", "2.14": "0.29"}
_GIB = 2**30
_LITTLE_SHARED_MEMORY = 2 * _GIB
_LITTLE_DISK = 5 * _GIB


def examine(workspace: str) -> list[Check]:
    """Run every check; none of them stops the others."""
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("python", _python),
        ("packages", _packages),
        ("torch pair", _torch_pair),
        ("devices", _devices),
        ("memory", memory),
        ("shared memory", shared_memory),
        ("spill disk", spill_disk),
        ("ray", _ray),
        ("workspace", lambda: _workspace(workspace)),
    ]
    return run_checks(checks)


def _python() -> Check:
    good = sys.version_info >= (3, 11)
    return Check(
        "python", "ok" if good else "fail", platform.python_version() + ("" if good else "; needs 3.11 or newer")
    )


def _packages() -> Check:
    wanted = (
        "torch",
        "torchvision",
        "ray",
        "pyarrow",
        "fsspec",
        "s3fs",
        "webdataset",
        "numpy",
        "numba",
        "scikit-learn",
    )
    found, missing = [], []
    for name in wanted:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        only_ray = missing == ["ray"]
        hint = "only --local works" if only_ray else "install the project's requirements.lock"
        return Check("packages", "warn" if only_ray else "fail", f"missing: {', '.join(missing)}; {hint}")
    return Check("packages", "ok", ", ".join(found))


def _torch_pair() -> Check:
    import torch
    import torchvision

    pair = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    expected = _PAIRS.get(".".join(torch.__version__.split(".")[:2]))
    if expected and not torchvision.__version__.startswith(expected):
        return Check("torch pair", "fail", f"{pair}; this torch needs torchvision {expected}")
    kept = torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)  # fails for a wrong pair
    return Check("torch pair", "ok" if len(kept) == 1 else "fail", pair)


def _devices() -> Check:
    import torch

    cpus = len(os.sched_getaffinity(0))
    if not torch.cuda.is_available():
        return Check("devices", "ok", f"{cpus} CPUs, no GPU: everything runs on the CPU")
    from sppnet.devices import has_bfloat_units

    gpus = {index: torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())}
    found = f"{cpus} CPUs, {len(gpus)} GPUs: {', '.join(gpus.values())}"
    slow = [name for index, name in gpus.items() if not has_bfloat_units(torch.device("cuda", index))]
    if slow:
        need = "sppnet's kernels need NVIDIA's Ampere or later"
        return Check("devices", "warn", f"{found}; {need}: torch's own layers serve {', '.join(slow)}, slower")
    return Check("devices", "ok", found)


def memory() -> Check:
    """Look at what is free of the machine's memory."""
    import psutil

    found = psutil.virtual_memory()
    text = f"{found.available / _GIB:.1f} of {found.total / _GIB:.1f} GiB free"
    return Check("memory", "ok" if found.available > 4 * _GIB else "warn", text)


def shared_memory() -> Check:
    """Look at what is free of the memory in which Ray keeps its objects."""
    folder = Path("/dev/shm")  # noqa: S108
    if not folder.is_dir():
        return Check("shared memory", "warn", "no /dev/shm: Ray will keep its object store on disk, which is slow")
    free = shutil.disk_usage(folder).free
    text = f"{free / _GIB:.1f} GiB free in {folder}"
    if free < _LITTLE_SHARED_MEMORY:
        return Check("shared memory", "warn", f"{text}; in a container raise it (--shm-size=4g)")
    return Check("shared memory", "ok", text)


def spill_disk(folder: str | None = None) -> Check:
    """Look at what is free of the disk to which Ray moves what its memory can't hold.

    Args:
        folder: Where it keeps its files; None for the machine's folder of temporary files.
    """
    folder = folder or tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    text = f"{free / _GIB:.1f} GiB free in {folder}"
    return Check("spill disk", "ok" if free > _LITTLE_DISK else "warn", text)


def _ray() -> Check:
    import ray

    token = Path.home() / ".ray" / "auth_token"
    if token.is_file() and token.stat().st_mode & 0o077:
        return Check("ray", "warn", f"ray {ray.__version__}; {token} can be read by others: chmod 600 it")
    mode = os.environ.get("RAY_AUTH_MODE", "Ray's default")
    return Check("ray", "ok", f"ray {ray.__version__}, token auth: {mode}")


def _workspace(uri: str) -> Check:
    from pipelines.engine.workspace import Workspace

    try:
        Workspace.open(uri).check_writable()
    except SppError as error:
        return Check("workspace", "fail", str(error))
    if "://" not in uri:
        free = shutil.disk_usage(Path(uri).expanduser()).free
        return Check(
            "workspace", "ok" if free > _LITTLE_DISK else "warn", f"{uri}: writable, {free / _GIB:.1f} GiB free"
        )
    return Check("workspace", "ok", f"{uri}: writable")
