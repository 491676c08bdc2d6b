"""Where units run: what the executors in `pipelines.executors` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.engine.stage import Phase, StageSpec
from pipelines.engine.workspace import Commit
from sppnet.errors import SppError


@dataclass(frozen=True, slots=True)
class UnitFailure:
    """A unit that could not be made.

    Attributes:
        unit: Its name.
        reason: One line: the last error.
        tries: How often it was tried.
        corrupt: Whether what it reads is missing or corrupt, so that its inputs are to be mended.
    """

    unit: str
    reason: str
    tries: int
    corrupt: bool = False


class Executor(Protocol):
    """Runs phases of units."""

    name: str

    def run_units(self, spec: StageSpec, phase: Phase, units: Sequence[str]) -> Iterator[Commit | UnitFailure]:
        """Run the units in any order and yield each one's commit or failure as it ends.

        Raises:
            ConfigError: A unit met an error that no other attempt and no other unit can escape.
        """

    def train(self, spec: StageSpec, phase: Phase, unit: str) -> Commit:
        """Run a training phase's one unit on `phase.workers` workers until it is committed."""

    def close(self) -> None:
        """Releases what the executor holds."""


def one_line(error: BaseException) -> str:
    """Return the error's class and first line."""
    text = str(error).strip().splitlines()
    head = text[0] if text else ""
    return head if isinstance(error, SppError) else f"{type(error).__name__}: {head}"


class DeferredExecutor:
    """Makes another executor when there is first something to run: a complete run starts no Ray and joins no cluster.

    Args:
        make: Makes the executor; what it raises comes out of the first `run_units` or `train`.
    """

    name = "deferred"

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self._made: Executor | None = None

    @property
    def _executor(self) -> Executor:
        if self._made is None:
            self._made = self._make()
        return self._made

    def run_units(self, spec: StageSpec, phase: Phase, units: Sequence[str]) -> Iterator[Commit | UnitFailure]:
        """See `Executor.run_units`."""
        return self._executor.run_units(spec, phase, units)

    def train(self, spec: StageSpec, phase: Phase, unit: str) -> Commit:
        """See `Executor.train`."""
        return self._executor.train(spec, phase, unit)

    def close(self) -> None:
        """Close the executor, if one was made."""
        if self._made is not None:
            self._made.close()
            self._made = None
