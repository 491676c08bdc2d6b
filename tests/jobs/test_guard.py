"""The last word of a command that is ended from outside, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import PATIENCE, wait_for

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no guard elsewhere")

GUARDED = """
import os, signal, sys, time
from jobs.guard import guarded
def command():
    print(os.getpid(), flush=True)
    {body}
guarded(command, ["run", "toy", "--json"])
"""
WAITS = "time.sleep(600)"
WAITS_READY = f"print('ready', flush=True); {WAITS}"


def start(body: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", GUARDED.format(body=body)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def child_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.mark.parametrize(("body", "code"), [("pass", 0), ("sys.exit(4)", 4), ("sys.exit('no')", 1), ("1 / 0", 1)])
def test_a_command_that_ends_by_itself_has_its_own_code_and_says_nothing_more(body: str, code: int) -> None:
    process = start(body)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert len(out.splitlines()) == 1
    assert "sppnet:" not in err


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("os._exit(1)", 3, "ended without a word (exit code 1), as when Ray is lost"),
        ("os.abort()", 3, "ended without a word (signal 6), as when Ray is lost"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 3, "killed, perhaps as memory ran out"),
    ],
)
def test_a_command_that_is_ended_without_a_word_gets_a_line_and_its_json(body: str, code: int, line: str) -> None:
    process = start(body)
    out, err = process.communicate(timeout=PATIENCE)
    told = f"{line}; finished units are kept, run again to go on"
    assert process.returncode == code
    assert err.splitlines()[-1] == f"sppnet: {told}"
    assert json.loads(out.splitlines()[-1]) == {"command": "run", "exit_code": code, "error": told}


def test_what_ends_badly_after_its_last_word_has_ended_as_it_said() -> None:
    process = start("import atexit; atexit.register(os.abort); sys.exit(2)")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "sppnet:" not in err


@pytest.mark.parametrize(
    ("number", "body", "code"),
    [
        (
            signal.SIGINT,
            f"""try: {WAITS_READY}
    except KeyboardInterrupt: sys.exit(130)""",
            130,
        ),
        (
            signal.SIGTERM,
            f"""try: {WAITS_READY}
    except SystemExit: sys.exit(143)""",
            143,
        ),
    ],
)
def test_signals_reach_the_command(number: signal.Signals, body: str, code: int) -> None:
    process = start(body)
    child_of(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"  # within its `try`
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == code


def test_a_second_signal_does_not_disturb_the_end() -> None:
    """A group's signal may be passed on too, so that a command that ends gets it again."""
    body = f"""import concurrent.futures.thread as pool
    def work():  # what the interpreter waits for when it ends
        while not pool._shutdown: time.sleep(0.01)
        print("ending", flush=True)
        time.sleep(1)
    pool.ThreadPoolExecutor(1).submit(work)
    print("waiting", flush=True)
    {WAITS}"""
    process = start(body)
    child = child_of(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "ending\n"
    os.kill(child, signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (15, "")


def test_a_signal_that_meets_a_callback_ends_the_command_after_all() -> None:
    """What is raised in a weak reference's callback is lost, with a trace: the signal comes again."""
    body = f"""import weakref
    class Thing: pass
    thing = Thing()
    reference = weakref.ref(thing, lambda _: (print("waiting", flush=True), {WAITS}))
    del thing
    {WAITS}"""
    process = start(body)
    child_of(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (15, "")


def test_a_command_does_not_outlive_its_guard() -> None:
    process = start(WAITS)
    child = child_of(process)
    assert child != process.pid
    process.kill()
    process.communicate(timeout=PATIENCE)
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
