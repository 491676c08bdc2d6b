from __future__ import annotations

import os
import re

import torch

from jobs.bench.this_machine import cpus, machine_name


def test_a_machine_is_told_by_processor_cpus_memory_and_torch() -> None:
    assert 1 <= cpus() <= (os.cpu_count() or 1)
    assert re.fullmatch(rf".+, {cpus()} CPUs, \d+ GiB, torch {re.escape(torch.__version__)}", machine_name())
