"""Where units run: what the executors in `pipelines.executors` have in common, and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from pipelines.engine.commits import Commit
from pipelines.engine.phases import Needs, Phase
from pipelines.engine.stage import StageSpec
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


@dataclass(frozen=True, slots=True, eq=False)
class OpenPhase:
    """A phase of a step whose units are handed out; each is itself alone.

    Attributes:
        spec: The step.
        phase: Its phase.
    """

    spec: StageSpec
    phase: Phase


class Job(NamedTuple):
    """What is handed out: a unit, with those others that are made with it at one go."""

    phase: OpenPhase
    unit: str
    others: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[str, ...]:
        """All its units."""
        return (self.unit, *self.others)


Outcome: TypeAlias = Commit | UnitFailure
"""What came of one unit."""


class WorkQueue(Protocol):
    """The units that are ready to be made, of any number of steps; more become ready as others are made."""

    @property
    def ready(self) -> bool:
        """Whether there is a unit to take now."""

    def take(self, room: Callable[[OpenPhase], bool], feeding: Callable[[OpenPhase], bool] | None = None) -> Job | None:
        """Take the most urgent unit that is ready; None if there is none.

        Args:
            room: Whether a unit of a phase may be taken now.
            feeding: Phases that starve: units that make one of theirs ready are the most urgent ones.
        """

    def open_phases(self) -> Sequence[OpenPhase]:
        """Return the phases that have units left to be handed out, ready or not."""

    def needs(self) -> Sequence[Needs]:
        """Return what the steps ask for that are not complete."""


class Executor(Protocol):
    """Makes units."""

    name: str

    def run(self, queue: WorkQueue) -> Generator[tuple[Job, Outcome], None, None]:
        """Make units until none is ready and none is at work; yield each one's commit or failure as it ends.

        A job of several units is yielded once for each.

        Closing the iterator ends what is at work.

        Raises:
            ConfigError: A unit met an error that no other attempt and no other unit can escape, or a step asks for
                more than there is.
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
        make: Makes the executor; what it raises comes out of the first `run` or `train`.
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

    def run(self, queue: WorkQueue) -> Generator[tuple[Job, Outcome], None, None]:
        """See `Executor.run`."""
        if queue.ready:
            yield from self._executor.run(queue)

    def train(self, spec: StageSpec, phase: Phase, unit: str) -> Commit:
        """See `Executor.train`."""
        return self._executor.train(spec, phase, unit)

    def close(self) -> None:
        """Close the executor, if one was made."""
        if self._made is not None:
            self._made.close()
            self._made = None
