"""Writes a file for each shard as soon as its unit is committed, and keeps the account of all of them.

Files are written on threads beside the run. Each has a name that tells what it is made of, so that a command that was
cut off writes what is missing only; a file appears whole or not at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pipelines.engine.commits import Commit, Quarantined
from pipelines.engine.executor import UnitFailure
from pipelines.engine.ledger import StepSummary, units_of
from pipelines.engine.phases import Phase
from pipelines.engine.planning import PlannedStep
from pipelines.engine.stage import Stage

if TYPE_CHECKING:
    from jobs.apply.out_folder import OutFolder

_WRITERS = 4
_WAITING = 256
"""So many commits wait to be written; then the run waits for the writers."""
_BATCH = 512
"""Commits that are read at a time."""
_NAME = re.compile(r".+/\d{6}-[0-9a-f]{8}\.\w+")
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A shard's file.

    Attributes:
        unit: The shard's unit.
        split: The split that it is of.
        name: Its name in the folder.
    """

    unit: str
    split: str
    name: str


def shard_name(split: str, number: int, made_of: str, suffix: str) -> str:
    """Return the name of a shard's file: `all/000012-0123abcd.parquet`.

    Args:
        split: The shard's split.
        number: Its place in there.
        made_of: Hexadecimal digest of all that the file is made of.
        suffix: The format's.
    """
    return f"{split}/{number:06d}-{made_of[:_DIGITS]}{suffix}"


@dataclass(frozen=True, slots=True)
class Account:
    """What the shards account for.

    Attributes:
        images: Images that are done.
        rows: Rows that their units hold.
        aside: Images that were set aside, with their shards.
    """

    images: int
    rows: int
    aside: tuple[tuple[str, Quarantined], ...]


class ShardFiles:
    """Writes the files of one step of a run, of which it is an observer; to be used in a `with` block.

    What can't be written ends the run at its next unit, or `finish`. The block's end waits for what was begun.

    Args:
        step: Name of the step.
        stage: Its stage.
        folder: Where to.
        files: The files to write; none for an account alone.
        encode: Makes a file of its unit's commit. It runs on several threads.
        before: Is called once, before the first file is written.
    """

    def __init__(
        self,
        step: str,
        stage: Stage[Any],
        folder: OutFolder,
        files: Sequence[ShardFile],
        encode: Callable[[ShardFile, Commit], bytes],
        before: Callable[[], None],
    ) -> None:
        self._step, self._stage, self._folder = step, stage, folder
        self._encode, self._before = encode, before
        self._files = files
        self._missing: dict[str, list[ShardFile]] = {}
        self._stale: list[str] = []
        self._written: Counter[str] = Counter()
        self._accounts: dict[str, Account] = {}
        self._error: BaseException | None = None
        self._begun, self._beginning = False, Lock()
        self._room = BoundedSemaphore(_WAITING)
        # What was committed before this run is written beside what is committed now, and doesn't hold it up.
        self._now, self._before_now = (ThreadPoolExecutor(_WRITERS, thread_name_prefix="shard-files") for _ in range(2))

    def __enter__(self) -> ShardFiles:
        """List what is there, and begin to write what is committed and missing."""
        listed = {entry.name for entry in self._folder.store.list()}
        for file in self._files:
            if file.name not in listed:
                self._missing.setdefault(file.unit, []).append(file)
        wanted = {file.name for file in self._files}
        self._stale = sorted(name for name in listed - wanted if _NAME.fullmatch(name))
        committed = self._stage.artifact.committed() if self._missing else set()
        for unit in self._missing:
            if unit in committed:
                self._before_now.submit(self._unless_failed, unit).add_done_callback(self._ended)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is at work, and for what this run has committed unless it was interrupted."""
        self._before_now.shutdown(cancel_futures=True)
        self._now.shutdown(cancel_futures=self._error is not None or not isinstance(error, Exception | None))

    # --- an observer of the run -----------------------------------------------------------------------------------

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: Collection[str], total: int) -> None:
        """Wait for units."""

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """Hand a shard to the writers; raise what an earlier one could not be written for."""
        if step.name != self._step:
            return
        self._check()
        self._take(commit)
        if commit.unit in self._missing:
            self._room.acquire()
            written = self._now.submit(self._unless_failed, commit.unit, commit)
            written.add_done_callback(self._ended)
            written.add_done_callback(lambda _: self._room.release())

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: UnitFailure) -> None:
        """Leave the shard out: the run will tell."""

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """Wait for `finish`."""

    # --- the end --------------------------------------------------------------------------------------------------

    def finish(self) -> Account:
        """Write what is missing still, remove files of shards that are no more, and sum up; the run is complete.

        Raises:
            SppError: A file could not be written.
        """
        for pool in (self._before_now, self._now):
            pool.shutdown()
        self._check()
        self._begin()
        left = [unit for unit in self._missing if unit not in self._written]  # another run has committed them
        with ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(self._write, left))
        for name in self._stale:
            self._folder.store.delete(name)
        return self._account()

    @property
    def count(self) -> int:
        """How many files there are in all."""
        return len(self._files)

    @property
    def written(self) -> int:
        """How many files were written now."""
        return self._written.total()

    def _account(self) -> Account:
        units = units_of(self._stage.phases())
        unknown = [unit for unit in units if unit not in self._accounts]
        for start in range(0, len(unknown), _BATCH):
            for commit in self._stage.artifact.commits(unknown[start : start + _BATCH]):
                self._take(commit)
        found = [self._accounts[unit] for unit in units]
        return Account(
            images=sum(one.images for one in found),
            rows=sum(one.rows for one in found),
            aside=tuple(entry for one in found for entry in one.aside),
        )

    def _take(self, commit: Commit) -> None:
        aside = tuple((self._stage.title(commit.unit), entry) for entry in commit.quarantined)
        self._accounts[commit.unit] = Account(commit.done, commit.rows, aside)

    # --- on the writers' threads ----------------------------------------------------------------------------------

    def _unless_failed(self, unit: str, commit: Commit | None = None) -> None:
        if self._error is None:
            self._write(unit, commit)

    def _ended(self, written: Future[None]) -> None:
        """Keep the first error: it is raised where the run can end by it."""
        if self._error is None and not written.cancelled():
            self._error = written.exception()

    def _write(self, unit: str, commit: Commit | None = None) -> None:
        if commit is None:
            commit = self._stage.artifact.commit(unit)
            self._take(commit)
        self._begin()
        for file in self._missing[unit]:
            self._folder.store.put(file.name, self._encode(file, commit))
            self._written[unit] += 1

    def _begin(self) -> None:
        with self._beginning:
            if not self._begun:
                self._before()
                self._begun = True

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


def files_of(
    splits: Sequence[str], units: Callable[[str], Sequence[str]], made_of: Callable[[str, str], str], suffix: str
) -> Iterator[ShardFile]:
    """Yield the files of splits, one a shard.

    Args:
        splits: The splits.
        units: Returns a split's shards.
        made_of: Digests what the file of a split's shard is made of.
        suffix: The format's.
    """
    for split in splits:
        for number, unit in enumerate(units(split)):
            yield ShardFile(unit, split, shard_name(split, number, made_of(split, unit), suffix))
