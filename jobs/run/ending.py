"""How a command or a run ends: its exit code, and one line that says what went wrong."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from jobs.extras import missing_extra
from sppnet.errors import ConfigError, IncompleteError, SppError

DEFECT = 1
"""Exit code of an error that is none of `sppnet.errors`: a defect of this program."""
INTERRUPTED = 130
TERMINATED = 143
_GO_ON = "finished units are kept, run again to go on"


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
            return cls(INTERRUPTED, f"interrupted; {_GO_ON}")
        if isinstance(error, SystemExit):  # Ray's answer to SIGTERM, and ours
            return cls(TERMINATED, f"terminated; {_GO_ON}")
        if isinstance(error, OSError):
            from pipelines.engine.disk_faults import disk_fault  # here: only the library may be installed

            fault = disk_fault(error)
            if fault is not None:
                return cls(fault.exit_code, str(fault))
        if isinstance(error, MemoryError):
            return cls(IncompleteError.exit_code, f"memory ran out; {_GO_ON}")
        line = missing_extra(error)
        if line:
            return cls(ConfigError.exit_code, line)
        return cls(DEFECT, " ".join(f"{type(error).__name__}: {error}".split()))

    @classmethod
    def without_a_word(cls, code: int) -> Ending:
        """Tell how a process ended that said nothing itself.

        Args:
            code: Its exit code, or minus the signal that killed it.
        """
        if code in (-signal.SIGTERM, -signal.SIGHUP):
            return cls(TERMINATED, f"terminated; {_GO_ON}")
        if code == -signal.SIGKILL:
            return cls(IncompleteError.exit_code, f"killed, perhaps as memory ran out; {_GO_ON}")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return cls(IncompleteError.exit_code, f"ended without a word ({how}), as when Ray is lost; {_GO_ON}")
