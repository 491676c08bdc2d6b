"""Fixtures of the end-to-end tests: the run that nothing disturbs, and commands as processes."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.small_demo import SCALES, SLOW_SCALE, Command, Undisturbed, overrides


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder for temporary files with a path short enough for Ray's sockets; killed runs leave theirs in it."""
    folder = Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start(tmp_path: Path, scratch: Path) -> Iterator[Callable[..., Command]]:
    """Starts `python -m jobs` commands, and ends what is left of them."""
    started: list[Command] = []

    def begin(*arguments: str) -> Command:
        started.append(Command.start(tmp_path / "commands", scratch, *arguments))
        return started[-1]

    yield begin
    for command in started:
        command.end()


@pytest.fixture(scope="session")
def undisturbed(scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """`sppnet demo --local` on the small data set, once for all processes of the tests: who comes second waits."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "undisturbed"
    folder.mkdir(exist_ok=True)
    workspace, told = folder / "workspace", folder / "told.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            shutil.rmtree(workspace, ignore_errors=True)
            options = overrides((*SCALES, SLOW_SCALE))
            command = Command.start(folder, scratch, "demo", "--local", "--workspace", str(workspace), *options)
            try:
                result = command.finish()
            finally:
                command.end()
            told.write_text(json.dumps({"folder": str(command.folder), "result": result}))
    ran = json.loads(told.read_text())
    return Undisturbed(workspace, Path(ran["folder"]), ran["result"])
