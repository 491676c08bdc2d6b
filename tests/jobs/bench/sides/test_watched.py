from __future__ import annotations

import os

import psutil
import pytest

from jobs.bench.sides.watched import run_watched, tree_memory
from sppnet.errors import IncompleteError


def test_the_last_line_is_the_result_and_memory_is_that_of_the_process() -> None:
    found = run_watched("tests.support.echoed_job", b'{"seconds": 1.5}', {"TOLD": "yes"})
    assert found.pop("peak_mb") >= 0
    assert found == {"seconds": 1.5, "told": "yes"}


def test_a_process_that_fails_is_told_with_its_last_lines() -> None:
    with pytest.raises(IncompleteError, match=r"tests\.support\.no_module ended with code 1: .*No module named"):
        run_watched("tests.support.no_module", b"", {})


def test_memory_is_of_the_tree_and_none_of_what_has_ended() -> None:
    own = psutil.Process(os.getpid())
    assert 1e6 < tree_memory(own) <= psutil.virtual_memory().total
