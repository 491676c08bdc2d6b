"""Full disks, quotas, limits and rights: one line, nothing half-committed, and the next run goes on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.run.ending import Ending
from pipelines.engine import work
from pipelines.engine.commits import Output
from pipelines.engine.disk_faults import disk_fault, telling_disk_faults
from pipelines.engine.store import LocalStore
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError

FAULTS = {
    errno.ENOSPC: "the disk is full; free space and run again",
    errno.EDQUOT: "the quota is used up; free space or raise it and run again",
    errno.EFBIG: "a file would be larger than the file system or a limit",
    errno.EIO: "the disk fails",
    errno.EMFILE: "too many open files",
}
RIGHTS = (errno.EROFS, errno.EACCES, errno.EPERM)


def raised(number: int, name: str = "/some/file") -> OSError:
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(("number", "told"), FAULTS.items())
def test_each_fault_is_one_line(number: int, told: str) -> None:
    fault = disk_fault(raised(number))
    assert str(fault).startswith(f"can't write /some/file: {told}")
    assert Ending.of(raised(number)) == Ending(2, str(fault))


def test_what_is_none_stays_itself() -> None:
    assert disk_fault(raised(errno.ENOENT)) is None
    with pytest.raises(FileNotFoundError), telling_disk_faults():
        raise raised(errno.ENOENT)
    with pytest.raises(ConfigError, match="read-only"), telling_disk_faults():
        raise raised(errno.EROFS)


def test_no_temporary_folder() -> None:
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    assert "set TMPDIR" in str(disk_fault(error))


def test_a_unit_that_finds_the_disk_full_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise raised(errno.ENOSPC, "/tmp/model")

    monkeypatch.setattr(work, "_run_units", run)
    with pytest.raises(ConfigError, match=r"^can't write /tmp/model: the disk is full; "):
        work.run_units(None, ["a"])  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["fsync", "link"])
@pytest.mark.parametrize("number", [*FAULTS, *RIGHTS])
def test_nothing_is_half_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, number: int) -> None:
    """The data's write or the commit's fails; the next attempt makes the unit."""
    artifact = Workspace(LocalStore(str(tmp_path))).artifact("maps-1")

    def fail(*_: object) -> None:
        raise raised(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, place, fail)
        with pytest.raises(ConfigError) as caught:
            artifact.publish("a", Output(b"data", ".bin", 1, 1), 0.0)
    assert "\n" not in str(caught.value)
    assert artifact.committed() == set()
    assert list(tmp_path.rglob("*.tmp")) == []
    artifact.publish("a", Output(b"data", ".bin", 1, 1), 0.0)
    assert artifact.read("a") == b"data"


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError
artifact = Workspace.open(sys.argv[1]).artifact("maps-1")
artifact.publish("small", Output(b"x", ".bin", 1, 1), 0.0)
try:
    artifact.publish("large", Output(b"x" * 5000, ".bin", 1, 1), 0.0)
except ConfigError as error:
    print(error)
"""


def test_a_write_that_is_really_cut_off(tmp_path: Path) -> None:
    """The kernel takes the first 2000 bytes and no more, as a disk does that fills."""
    said = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True)
    assert said.stdout.startswith(f"can't write {tmp_path}/maps-1/large-")
    assert "a file would be larger than the file system or a limit (`ulimit -f`)" in said.stdout
    artifact = Workspace.open(str(tmp_path)).artifact("maps-1")
    assert artifact.committed() == {"small"}
    assert sorted(path.name.split("-")[0] for path in tmp_path.rglob("maps-1/*.*")) == ["small"]


def test_folders_without_rights_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = LocalStore(str(tmp_path))
    store.put("a/open/x", b"1")
    store.put("a/closed/y", b"2")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [entry.name for entry in store.list("a")] == ["a/open/x"]
    assert f"{tmp_path}/a/closed/ can't be listed and is passed over: Permission denied" in caplog.text
    with pytest.raises(ConfigError, match="/a/closed can't be listed: Permission denied; check its rights"):
        store.list("a/closed")
    with pytest.raises(ConfigError, match="can't be listed"):
        LocalStore(f"{tmp_path}/a/closed").folders()
    assert store.list("a/none") == []
