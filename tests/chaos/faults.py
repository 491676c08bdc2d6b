"""What is done to a run: to its storage by a proxy, to its processes by signals; and how the run may end then."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from pipelines.training.checkpoints import FOLDER as CHECKPOINTS
from tests.support.fault_proxy import Fault, Rule, away, once, since, since_part, sometimes

_GO_ON = "; finished units are kept, run again"


@dataclass(frozen=True)
class StorageFault:
    """A fault of the server or the network.

    Attributes:
        name: What it is called.
        rule: Makes the proxy's rule from dice.
        code: Exit code of a run that meets it.
        says: What the run's last line then matches.
        training: Whether it needs a training on Ray.
    """

    name: str
    rule: Callable[[random.Random], Rule]
    code: int = 0
    says: str = ""
    training: bool = False


def _share(fault: Fault, share: float, part: str = "", method: str = "") -> Callable[[random.Random], Rule]:
    return lambda dice: sometimes(fault, dice.randrange(2**32), share, part, method)


def _since(fault: Fault) -> Callable[[random.Random], Rule]:
    return lambda dice: since(fault, dice.randrange(8, 60))


_REFUSES = r"can't .*: the store refuses \(.*\); check credentials(, quota)? and bucket"
STORAGE = (
    StorageFault("503 to a sixth of the requests", _share("503", 1 / 6)),
    StorageFault("500 after a put that succeeded", _share("500-after", 1 / 3, method="PUT")),
    StorageFault("reset after a put that succeeded", _share("reset-after", 1 / 3, method="PUT")),
    StorageFault("reset in the body of a read", _share("reset-in-body", 1 / 4, method="GET")),
    StorageFault("answers shorter than the object", _share("wrong-length", 1 / 5, "-", method="GET")),
    StorageFault("half of the requests slow", _share("slow", 1 / 2)),
    StorageFault("listings as they were before", _share("stale", 1 / 2)),
    StorageFault("one request hangs", lambda dice: once("hang", dice.choice(["GET", "PUT"]), "-")),
    StorageFault("the server is away for 5 s", lambda dice: away(dice.randrange(8, 60), 5.0)),
    StorageFault("the token expires", _since("expired"), 2, _REFUSES),
    StorageFault("the key is refused from some time on", _since("denied"), 2, _REFUSES),
    StorageFault(
        "the key is refused while it trains",
        lambda dice: since_part("denied", f"/{CHECKPOINTS}/"),
        2,
        _REFUSES,
        training=True,
    ),
    StorageFault("the clock is wrong", _since("skewed"), 2, _REFUSES),
    StorageFault(
        "403 for one key", lambda dice: sometimes("denied", 0, 1.0, f"00000{dice.randrange(3)}-"), 2, _REFUSES
    ),
)


@dataclass(frozen=True)
class ProcessFault:
    """A signal to one of a run's processes, at a random time.

    Attributes:
        name: What it is called.
        target: Part of the process's title; `driver` is the command itself.
        number: The signal.
        codes: Exit codes with which the run may end.
        says: What its last line matches where it does not end with 0.
        ray: Whether it needs Ray.
        training: Whether it needs a training on Ray.
    """

    name: str
    target: str
    number: signal.Signals
    codes: tuple[int, ...]
    says: str = ""
    ray: bool = True
    training: bool = False


_LOST = (
    rf"(the local Ray|Ray's node on this machine.*) has (not answered for 30 s|died){_GO_ON}.*"
    rf"|ended without a word \(exit code 1\), as when Ray is lost{_GO_ON} to go on"
)
KILL, STOP = signal.SIGKILL, signal.SIGSTOP
DRIVER_KILLED = ProcessFault(
    "driver killed", "driver", KILL, (3,), f"killed, perhaps as memory ran out{_GO_ON} to go on", ray=False
)
PROCESS = (
    DRIVER_KILLED,
    ProcessFault("driver terminated", "driver", signal.SIGTERM, (143,), f"terminated{_GO_ON} to go on", ray=False),
    ProcessFault("driver interrupted", "driver", signal.SIGINT, (130,), f"interrupted{_GO_ON} to go on", ray=False),
    ProcessFault("task killed", "ray::raise:raise|ray::maps|ray::svms", KILL, (0,)),
    ProcessFault("task stopped", "ray::raise:raise", STOP, (0,)),
    ProcessFault("raylet killed", "raylet", KILL, (0, 3), _LOST),
    ProcessFault("raylet stopped", "raylet", STOP, (0, 3), _LOST),
    ProcessFault("head killed", "gcs_server", KILL, (0, 3), _LOST),
    ProcessFault("head stopped", "gcs_server", STOP, (0, 3), _LOST),
    ProcessFault("trainer killed", "RayTrainWorker", KILL, (0,), training=True),
    ProcessFault("trainer stopped", "RayTrainWorker", STOP, (0,), training=True),
    ProcessFault("controller killed", "ray::TrainController", KILL, (0,), training=True),
    ProcessFault("controller terminated", "ray::TrainController", signal.SIGTERM, (0,), training=True),
)


@dataclass(frozen=True)
class NetworkFault:
    """A machine of a cluster that is cut off: from the others, and from the store.

    Attributes:
        name: What it is called.
        head: Whether it is the head's machine, where the command runs too, or one that only takes units.
        seconds: After how long it is back, at least and at most; None if it never is.
        codes: Exit codes with which the run may end.
        says: What its last line matches where it does not end with 0.
    """

    name: str
    head: bool
    seconds: tuple[float, float] | None
    codes: tuple[int, ...] = (0,)
    says: str = ""


NETWORK = (
    NetworkFault("node cut off", head=False, seconds=None),
    NetworkFault("node cut off for a while", head=False, seconds=(5, 60)),
    NetworkFault("head cut off for a while", head=True, seconds=(5, 25)),
)


class Family:
    """A command's guard, the command, and all processes that it has started.

    Args:
        guard: Process id of what was started.
    """

    def __init__(self, guard: int) -> None:
        self._guard = psutil.Process(guard)
        self._known: dict[int, psutil.Process] = {}

    def look(self) -> list[psutil.Process]:
        """All that descend from the guard, also those seen before that live."""
        with suppress(psutil.NoSuchProcess):
            self._known |= {one.pid: one for one in self._guard.children(recursive=True)}
        return [one for one in self._known.values() if _lives(one)]

    def find(self, target: str) -> psutil.Process | None:
        """A process of a title, the last that was started; `driver`: the command itself."""
        family = self.look()
        if target == "driver":
            return next((one for one in family if _parent(one) == self._guard.pid), None)
        hits = [one for one in family if re.search(target, _title(one)) and not _is_stopped(one)]
        return hits[-1] if hits else None

    def hit(self, fault: ProcessFault, seconds: float, ended: Callable[[], bool]) -> bool:
        """Send the fault's signal to its target as soon as there is one; tell whether it was sent."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not ended():
            target = self.find(fault.target)
            if target is not None:
                try:
                    target.send_signal(fault.number)
                except psutil.NoSuchProcess:
                    continue
                return True
            time.sleep(0.02)
        return False

    def leftovers(self, seconds: float) -> list[str]:
        """What still lives some seconds after; Ray's agents give a cluster that is gone a minute, and end then."""
        _, alive = psutil.wait_procs([one for one in self.look() if "Agent" not in _title(one)], timeout=seconds)
        return [_title(one) for one in alive if _lives(one)]

    def end(self) -> None:
        """Kill what is left."""
        for one in self.look():
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return 0


def _title(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
        return f"{process.name()} {words[0] if words else ''}"
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
