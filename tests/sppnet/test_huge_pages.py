"""Huge pages: torch's buffers lie in them, unless someone said otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sppnet.huge_pages import huge_page_variables
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
ALLOCATE = """
from sppnet.huge_pages import ask_for_huge_pages
ask_for_huge_pages()
import torch
kept = torch.ones(16 << 20)
print(sum(int(line.split()[1]) for line in open("/proc/self/smaps") if line.startswith("AnonHugePages")))
"""


def huge_kib(**variables: str) -> int:
    """KiB of huge pages of a process that fills 64 MiB."""
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATE],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return int(done.stdout)


@pytest.mark.skipif(
    not SETTING.exists() or "[madvise]" not in SETTING.read_text(), reason="this kernel gives huge pages to all or none"
)
def test_a_large_buffer_lies_in_huge_pages_unless_they_are_refused() -> None:
    assert huge_kib() - huge_kib(THP_MEM_ALLOC_ENABLE="0") >= 32 << 10


def test_what_the_process_was_given_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    assert huge_page_variables() == {"THP_MEM_ALLOC_ENABLE": "1"}
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    assert huge_page_variables() == {"THP_MEM_ALLOC_ENABLE": "0"}
