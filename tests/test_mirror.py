"""The tests mirror the packages: every source file has a test file of its name, or its room says where it is tried."""

from __future__ import annotations

import ast
import re
from pathlib import PurePosixPath

from tests.support.source_tree import NAMES, ROOT, parse

TRIED_ELSEWHERE = re.compile(r"^Tests: (.*?)(?:\n\n|\Z)", re.DOTALL | re.MULTILINE)


def excused(room: str) -> set[str]:
    """The files that a room's docstring names in backticks after `Tests:`."""
    found = TRIED_ELSEWHERE.search(ast.get_docstring(parse(f"{room}/__init__.py")) or "")
    return set(re.findall(r"`(\w+)`", found[1])) if found else set()


def untested() -> dict[str, set[str]]:
    """By room, the files without a test file of their name."""
    rooms: dict[str, set[str]] = {}
    for path in map(PurePosixPath, NAMES):
        tests = ROOT / "tests" / path.parent / f"test_{path.name}"
        if path.name not in ("__init__.py", "__main__.py") and not tests.is_file():
            rooms.setdefault(str(path.parent), set()).add(path.stem)
    return rooms


def rooms() -> set[str]:
    return {str(PurePosixPath(name).parent) for name in NAMES}


def test_every_file_has_a_test_file_or_its_room_says_why_not() -> None:
    found = untested()
    missing = [f"{room}/{name}.py" for room in sorted(found) for name in sorted(found[room] - excused(room))]
    assert not missing, "\n" + "\n".join(missing)


def test_no_reason_outlives_its_file() -> None:
    found = untested()
    stale = [f"{room}: {name}" for room in sorted(rooms()) for name in sorted(excused(room) - found.get(room, set()))]
    assert not stale, "\n" + "\n".join(stale)


def test_the_folders_of_tests_are_the_rooms() -> None:
    tests = ROOT / "tests"
    folders = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}
    assert {"sppnet/pooling", "jobs/report/page"} <= folders
    assert folders - rooms() == {".", "chaos", "e2e", "infra"}
