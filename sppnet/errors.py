"""Every error that sppnet raises on purpose, with the exit code that the command gives it.

Exit codes: 0 done, 2 wrong usage or config, 3 shards incomplete, 4 too many quarantined,
5 corrupt or missing artifact. Messages say what, where (key, shard, config path) and what to do.
"""

from __future__ import annotations

from typing import ClassVar

_LONGEST_DETAIL = 1000


class SppError(Exception):
    """Base of all errors whose message is meant for the person at the keyboard."""

    exit_code: ClassVar[int] = 1


class ConfigError(SppError):
    """Wrong usage, recipe, path or weights: nothing was run, or nothing can be."""

    exit_code: ClassVar[int] = 2


class UnreadableError(ConfigError):
    """A file is there, but it is none that can be read: a device, a pipe, too large, without rights.

    Attributes:
        reason: a short, stable code, which a key is set aside with: `not-a-file`, `file-too-large`, `unreadable`,
            `dangling-link`.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnreadableError], tuple[str, str]]:
        return type(self), (self.reason, str(self))


class IncompleteError(SppError):
    """Some shards could not be finished; the message lists them and why."""

    exit_code: ClassVar[int] = 3


class TooManyQuarantinedError(SppError):
    """A stage quarantined a larger fraction of its keys than `max_quarantined`."""

    exit_code: ClassVar[int] = 4


class ArtifactError(SppError):
    """An artifact is missing, corrupt, or of another kind than its reader expects."""

    exit_code: ClassVar[int] = 5


class DataError(SppError):
    """One key can't be used. It is caught at the key's boundary and becomes a quarantine entry.

    Attributes:
        reason: a short, stable code such as `truncated`, `not-an-image`, `too-large`.
        detail: one line for a person, cut where it is very long.
    """

    exit_code: ClassVar[int] = 4

    def __init__(self, reason: str, detail: str) -> None:
        if len(detail) > _LONGEST_DETAIL:  # it may quote what comes from outside
            detail = f"{detail[:_LONGEST_DETAIL]}..."
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[DataError], tuple[str, str]]:
        return type(self), (self.reason, self.detail)
