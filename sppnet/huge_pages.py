"""Huge pages for torch's large buffers: a map's cells and a layer's output lie in a few pages, not in thousands."""

from __future__ import annotations

import os

_WISHES = {"THP_MEM_ALLOC_ENABLE": "1"}
"""What torch reads at its first allocation; the kernel gives what `transparent_hugepage` allows."""


def huge_page_variables() -> dict[str, str]:
    """Return the environment variables that ask for huge pages; what this process was given otherwise stays."""
    return {name: os.environ.get(name, wish) for name, wish in _WISHES.items()}


def ask_for_huge_pages() -> None:
    """Ask for them in this process and its children; torch must not have allocated yet."""
    os.environ.update(huge_page_variables())
