from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from jobs.bench.sides.watched import Watch, run_watched
from sppnet.errors import IncompleteError


def test_the_last_line_is_the_result_and_memory_is_that_of_the_process() -> None:
    found = run_watched("tests.support.echoed_job", b'{"seconds": 1.5}', {"TOLD": "yes"})
    assert found.pop("peak_mb") > 0
    assert found.pop("cpu_s") >= 0
    assert found == {"seconds": 1.5, "told": "yes"}


def test_a_process_that_fails_is_told_with_its_last_lines() -> None:
    with pytest.raises(IncompleteError, match=r"tests\.support\.no_module ended with code 1: .*No module named"):
        run_watched("tests.support.no_module", b"", {})


def test_memory_is_of_the_tree_and_none_of_what_has_ended() -> None:
    watch = Watch(psutil.Process(os.getpid()))
    watch.look()
    assert 1e6 < watch.peak <= psutil.virtual_memory().total
    first = watch.cpu_s
    watch.look()
    assert 0 < first <= watch.cpu_s  # a second look at a process takes the first one's place
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        gone = Watch(psutil.Process(child.pid))
        child.wait()
    gone.look()
    assert gone.peak == gone.cpu_s == 0
