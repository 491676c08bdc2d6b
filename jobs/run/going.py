"""Which runs of a workspace go on: each attempt says so in its run's folder, and says it again every minute.

    runs/<name>/<when>-<fingerprint>/going-<attempt>.json     gone when the attempt ends

A driver that is killed leaves its word behind; it counts no more once it is five minutes old, and `gc` takes it.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from jobs.run.history import ROOT, RunFolder, RunKey
from pipelines.engine.codec import decode, encode
from pipelines.engine.planning import PlannedStep
from pipelines.engine.store import Store
from sppnet.errors import ArtifactError, SppError

logger = logging.getLogger(__name__)

FRESH_SECONDS = 300.0
"""How long an attempt's word counts."""
_EVERY_SECONDS = 60.0
_FILE = re.compile(r"going-\w+\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """An attempt's word that it goes on.

    Attributes:
        host: Where its driver is.
        artifacts: Names of those that it reads or makes.
    """

    host: str
    artifacts: tuple[str, ...]


@contextmanager
def going_on(folder: RunFolder, steps: Sequence[PlannedStep]) -> Iterator[None]:
    """Say that an attempt goes on for as long as the block lasts.

    Args:
        folder: Its run's.
        steps: Its run's.

    Raises:
        SppError: It can't be said the first time; what fails later is logged.
    """
    file = f"going-{uuid.uuid4().hex[:12]}.json"
    word = encode(Going(host=socket.gethostname(), artifacts=_used(steps)))
    folder.write(file, word)
    ended = threading.Event()

    def say() -> None:
        while not ended.wait(_EVERY_SECONDS):
            _try_to(lambda: folder.write(file, word))

    thread = threading.Thread(target=say, name="going-on", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _try_to(lambda: folder.store.delete(folder.path(file)))


def runs_at_work(store: Store, now: float) -> dict[RunKey, Going]:
    """Find the runs of a workspace that go on.

    Args:
        store: The workspace's.
        now: Seconds since the epoch by the store's clock.

    Raises:
        ArtifactError: A run's word is corrupt.
    """
    found = {}
    for entry in store.list(ROOT):
        parts = entry.name.split("/")
        key = RunKey.parse(parts[1], parts[2]) if len(parts) == 4 and _FILE.fullmatch(parts[3]) else None
        if key is not None and entry.modified > now - FRESH_SECONDS:
            try:
                found[key] = decode(Going, store.read(entry.name), f"{store.uri}/{entry.name}")
            except ArtifactError:
                if store.exists(entry.name):
                    raise
    return found


def is_at_work(folder: RunFolder) -> bool:
    """Tell whether a run goes on, by this machine's clock."""
    since = time.time() - FRESH_SECONDS
    entries = folder.store.list(folder.path(""))
    return any(entry.modified > since and _FILE.fullmatch(entry.name.rpartition("/")[2]) for entry in entries)


def _used(steps: Sequence[PlannedStep]) -> tuple[str, ...]:
    specs = [step.spec for step in steps]
    read = {name for spec in specs for _, names in spec.inputs for name in names}
    return tuple(sorted(read.union(*((spec.artifact, *spec.made) for spec in specs))))


def _try_to(act: Callable[[], object]) -> None:
    try:
        act()
    except SppError as error:
        logger.warning("that the run goes on, or ended, can't be told: %s", error)
