"""Folders that belong to one process: found when it has gone, and not before."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.executors.scratch import dead_scratch, leave_scratch, make_scratch, remove_scratch
from tests.support.source_tree import ROOT

OWNER = """
import sys
from pathlib import Path
from pipelines.executors import scratch
scratch._base = lambda: Path(sys.argv[1])
print(scratch.make_scratch(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of our own; others' are not looked at."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("pipelines.executors.scratch._base", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def owner(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process with a folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", OWNER, str(temporary)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_a_folder_is_private_and_its_path_short_enough_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    folder = make_scratch()
    try:
        assert len(str(folder)) <= 40 + len("/spp-12345678")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder not in [scratch.folder for scratch in dead_scratch()]
    finally:
        leave_scratch(folder)
    assert not folder.exists()


def test_a_folder_is_dead_when_its_owner_is_killed(owner: tuple[subprocess.Popen[str], Path]) -> None:
    process, folder = owner
    (folder / "log").write_bytes(b"x" * 1000)
    assert folder.is_dir()
    assert dead_scratch() == []
    process.send_signal(signal.SIGKILL)
    process.wait()
    (found,) = dead_scratch()
    assert (found.folder, found.size) == (folder, 1000)
    assert found.modified == pytest.approx((folder / "log").stat().st_mtime, abs=5)
    remove_scratch(found)
    assert not folder.exists()


def test_what_is_kept_for_a_person_is_dead_at_once(temporary: Path) -> None:
    folder = make_scratch()
    assert dead_scratch() == []
    leave_scratch(folder, remove=False)
    assert [scratch.folder for scratch in dead_scratch()] == [folder]


def test_links_and_files_are_no_scratch(temporary: Path) -> None:
    (temporary / "spp-file").write_text("")
    (temporary / "elsewhere").mkdir()
    (temporary / "spp-link").symlink_to(temporary / "elsewhere")
    (temporary / "spp-none").symlink_to(temporary / "gone")
    assert dead_scratch() == []
