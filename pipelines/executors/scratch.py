"""Folders in the machine's temporary folder that belong to one process: whoever finds one can tell whether it lives.

The owner holds a lock on a file in its folder, and with it every process that it forks. The lock goes with them,
however they end, and it is seen from other containers that share the temporary folder, which process ids are not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "spp-"
_LOCK = "owner.lock"
# Ray's sockets lie about 67 characters below its folder, and a unix socket's path may have 107.
_LONGEST_FOLDER = 38
_held: dict[Path, int] = {}


def _base() -> Path:
    """Return the temporary folder, or one with a shorter name where that is too long for a path of unix sockets."""
    base = tempfile.gettempdir()
    return Path(base if len(base) <= _LONGEST_FOLDER else "/tmp")  # noqa: S108


def make_scratch() -> Path:
    """Make a folder of this process's own, with a path short enough for unix sockets below it."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_base()))
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    _held[folder] = lock
    return folder


def leave_scratch(folder: Path, *, remove: bool = True) -> None:
    """Give a folder of this process up, and remove it unless a person is to look at it."""
    lock = _held.pop(folder, None)
    if remove:
        shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)


@dataclass(frozen=True, slots=True)
class Scratch:
    """A folder whose owner is gone.

    Attributes:
        folder: Where it is.
        size: Bytes of its files.
        modified: When anything in it was last written, seconds since the epoch.
    """

    folder: Path
    size: int
    modified: float


def dead_scratch() -> list[Scratch]:
    """List the folders of this user whose owners are gone, sorted by path."""
    found = []
    for folder in sorted({*Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"), *_base().glob(f"{_PREFIX}*")}):
        with contextlib.suppress(OSError):  # it goes while it is looked at, or is another user's
            status = folder.lstat()
            if folder.is_symlink() or not folder.is_dir() or status.st_uid != os.getuid() or _lives(folder):
                continue
            files = list(_statuses(folder))
            found.append(
                Scratch(folder, sum(one.st_size for one in files), max(one.st_mtime for one in [status, *files]))
            )
    return found


def remove_scratch(scratch: Scratch) -> None:
    """Remove a folder whose owner is gone."""
    shutil.rmtree(scratch.folder, ignore_errors=True)


def _lives(folder: Path) -> bool:
    """Tell whether a process holds the folder's lock; one without a lock is nobody's."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    for inside, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            with contextlib.suppress(OSError):
                yield Path(inside, name).lstat()
