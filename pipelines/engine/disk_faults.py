"""Disks that are full, read-only, over a quota or closed to this user: each one line, whoever wrote.

No other unit and no other try escapes them, so they end a run; what is committed is kept, and running again goes on.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from sppnet.errors import ConfigError

_KEPT = "and run again, finished shards are kept"
_TOLD = {
    errno.ENOSPC: f"the disk is full; free space {_KEPT}",
    errno.EDQUOT: f"the quota is used up; free space or raise it {_KEPT}",
    errno.EFBIG: f"a file would be larger than the file system or a limit (`ulimit -f`) lets it be; raise it {_KEPT}",
    errno.EROFS: "it is read-only; mount it for writing or choose another place",
    errno.EACCES: "no permission; check its rights or choose another place",
    errno.EPERM: "it is not permitted; check its rights or choose another place",
    errno.EIO: f"the disk fails (input/output error); mend or replace it {_KEPT}",
    errno.EMFILE: f"too many open files; raise the limit (`ulimit -n`) {_KEPT}",
    errno.ENFILE: f"the machine has too many open files; end what holds them {_KEPT}",
}


def disk_fault(error: OSError, where: str = "") -> ConfigError | None:
    """Return what is wrong with a disk, as an error of one line.

    Args:
        error: What the system said.
        where: What was written; default: the file that the error names.

    Returns:
        None for an error that is of another kind.
    """
    if error.errno == errno.ENOENT and "temporary directory" in str(error):  # tempfile's own
        return ConfigError(f"{error.strerror}: it is full or can't be written; free space or set TMPDIR to another")
    told = _TOLD.get(error.errno or 0)
    place = where or str(error.filename or "")
    return None if told is None else ConfigError(f"can't write{' ' * bool(place)}{place}: {told}")


@contextmanager
def telling_disk_faults() -> Iterator[None]:
    """Guard work that writes temporary files: what is wrong with their disk is raised as `ConfigError`."""
    try:
        yield
    except OSError as error:
        fault = disk_fault(error)
        if fault is None:
            raise
        raise fault from error
