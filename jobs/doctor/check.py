"""One check and its finding, and running several so that none stops the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        state: `ok`, `warn` (slower or risky) or `fail` (a run can't work).
        finding: What was found, and what to do.
    """

    name: str
    state: State
    finding: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def run_checks(checks: Sequence[tuple[str, Callable[[], Check]]]) -> list[Check]:
    """Run every check; one that breaks is a finding, and stops no other."""
    found = []
    for name, check in checks:
        try:
            found.append(check())
        except Exception as error:  # noqa: BLE001  # boundary: a broken installation fails in any way, and that is the finding
            found.append(Check(name, "fail", f"{type(error).__name__}: {error}"))
    return found
