"""A command's last word: said by a process above it, where the command's own was ended without one.

Ray ends a driver whose head is lost with exit code 1 and no message; the kernel ends what uses too much memory. So the
command runs in a child, and this process, which has loaded next to nothing, waits for how it ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from jobs.run.ending import Ending

_PR_SET_PDEATHSIG = 1
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AWAITED = (*_PASSED_ON, signal.SIGCHLD)
_AGAIN_SECONDS = 0.1
_GOODBYE_SECONDS = 60.0
"""For a command that has said all to end: Ray may wait for a head that is gone."""


def guarded(run: Callable[[], None], arguments: Sequence[str]) -> None:
    """Run a command in a child, exit with its code, and say in one line how it ended where it did not say so itself.

    Where there is no Linux, the command runs in this process.

    Args:
        run: The command; it has said all that is to be said when it returns or raises.
        arguments: Those of the command line, for the JSON line of a command that can't print it any more.
    """
    if not sys.platform.startswith("linux"):
        run()
        return
    inherited = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    read_end, write_end = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(read_end)
        _die_with(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, inherited)
        signal.signal(signal.SIGTERM, _terminate)
        sys.unraisablehook = _end_after_all
        _run_and_tell(run, write_end)
        return
    os.close(write_end)
    sys.exit(_watch(child, read_end, arguments))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was before that
        os._exit(1)


def _terminate(number: int, frame: object) -> None:
    """End as Ray's own handler ends a driver, which takes this one's place."""
    sys.exit(number)


def _end_after_all(lost: sys.UnraisableHookArgs) -> None:
    """Send a signal again whose exception was lost: one that is raised in a weak reference's callback ends nothing."""
    if issubclass(lost.exc_type, SystemExit | KeyboardInterrupt):
        number = signal.SIGINT if issubclass(lost.exc_type, KeyboardInterrupt) else signal.SIGTERM
        threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()
    else:
        sys.__unraisablehook__(lost)


def _ignore_more() -> None:
    """Have no signal raise in the midst of ending: a group's may well come twice, once passed on."""
    for number in _PASSED_ON:
        signal.signal(number, signal.SIG_IGN)


def _run_and_tell(run: Callable[[], None], write_end: int) -> None:
    """Run, and tell the parent the exit code as soon as all has been said."""
    code = 1
    try:
        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        _ignore_more()
        with suppress(OSError):  # whoever watched has gone
            os.write(write_end, bytes([code & 0xFF]))
        os.close(write_end)


def _watch(child: int, read_end: int, arguments: Sequence[str]) -> int:
    """Wait for the child's end and pass signals on; return the exit code."""
    told: bytes | None = None
    killed_at = 0.0
    os.set_blocking(read_end, False)
    while True:
        info = signal.sigtimedwait(_AWAITED, 0.5)
        if info is not None and info.si_signo in _PASSED_ON and info.si_code <= 0:
            # What a terminal sends goes to its whole group; what a process sends may be for this one alone.
            with suppress(ProcessLookupError):
                os.kill(child, info.si_signo)
        with suppress(BlockingIOError):
            told = told or os.read(read_end, 1) or None
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with suppress(BlockingIOError):
                told = told or os.read(read_end, 1) or None
            return told[0] if told else _say(status, arguments)
        if told:
            killed_at = killed_at or time.monotonic() + _GOODBYE_SECONDS
            if time.monotonic() > killed_at:
                os.kill(child, signal.SIGKILL)


def _say(status: int, arguments: Sequence[str]) -> int:
    """Say how a command ended that said nothing; return the exit code."""
    ending = Ending.without_a_word(os.waitstatus_to_exitcode(status))
    print(f"sppnet: {ending.error}", file=sys.stderr)  # noqa: T201
    if "--json" in arguments:
        name = next((one for one in arguments if not one.startswith("-")), "")
        line = {"command": name, "exit_code": ending.exit_code, "error": ending.error}
        print(json.dumps(line), flush=True)  # noqa: T201
    return ending.exit_code
