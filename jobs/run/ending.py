"""How a command or a run ends: its exit code, and one line that says what went wrong."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.extras import missing_extra
from pipelines.engine.disk_faults import disk_fault
from sppnet.errors import ConfigError, SppError

DEFECT = 1
"""Exit code of an error that is none of `sppnet.errors`: a defect of this program."""
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Ending:
    """How something ended.

    Attributes:
        exit_code: 0 for done, else that of the error (see `sppnet.errors`).
        error: One line for a person; None if it is done.
    """

    exit_code: int = 0
    error: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Ending:
        """Tell how an error ends what it stops."""
        if isinstance(error, SppError):
            return cls(error.exit_code, " ".join(str(error).split()))
        if isinstance(error, KeyboardInterrupt):
            return cls(INTERRUPTED, "interrupted; finished units are kept, run again to go on")
        fault = disk_fault(error) if isinstance(error, OSError) else None
        if fault is not None:
            return cls(fault.exit_code, str(fault))
        line = missing_extra(error)
        if line:
            return cls(ConfigError.exit_code, line)
        return cls(DEFECT, " ".join(f"{type(error).__name__}: {error}".split()))
