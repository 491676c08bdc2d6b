"""Fixtures of the end-to-end tests: the run that nothing disturbs, and commands as processes."""

from __future__ import annotations

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
def undisturbed(scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    """`sppnet demo --local` on the small data set, once a session."""
    folder = tmp_path_factory.mktemp("undisturbed")
    options = overrides((*SCALES, SLOW_SCALE))
    command = Command.start(folder, scratch, "demo", "--local", "--workspace", str(folder / "workspace"), *options)
    try:
        yield Undisturbed(folder / "workspace", command.finish(), command)
    finally:
        command.end()
