"""What a folder holds: linked files and folders too, and what can't be read is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.engine.local_listing import list_files
from pipelines.engine.store import LocalStore


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def names(root: Path, prefix: str = "") -> list[str]:
    return [entry.name for entry in list_files(root, prefix) if not entry.trouble]


def troubles(root: Path) -> dict[str, str]:
    return {entry.name: entry.trouble for entry in list_files(root, "") if entry.trouble}


def test_linked_folders_and_files_are_listed_wherever_they_lead(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root / "a/1.jpg")
    put(tmp_path / "far/x/2.jpg")
    for name in ("b", "c"):  # both of them, though they lead to one place
        (root / name).symlink_to(tmp_path / "far/x")
    (root / "3.jpg").symlink_to(tmp_path / "far/x/2.jpg")
    assert names(root) == ["3.jpg", "a/1.jpg", "b/2.jpg", "c/2.jpg"]
    assert names(root, "b") == ["b/2.jpg"]
    assert names(root, "3.jpg") == ["3.jpg"]
    assert list_files(root, "none") == []


def test_loops_of_links_end(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in "xy":
        put(root / name / f"{name}.jpg")
    (root / "x/up").symlink_to(root)
    (root / "x/above").symlink_to(tmp_path)
    (root / "x/other").symlink_to(root / "y")
    (root / "y/other").symlink_to(root / "x")
    found = names(root)
    assert found == ["x/other/y.jpg", "x/x.jpg", "y/other/x.jpg", "y/y.jpg"]


def test_many_links_among_folders_stay_few(tmp_path: Path) -> None:
    """Of eight folders that link to each other there are 8! ways; each linked folder lists each place once."""
    for one in range(8):
        put(tmp_path / f"d{one}/{one}.jpg")
        for other in range(8):
            (tmp_path / f"d{one}/to{other}").symlink_to(tmp_path / f"d{other}")
    assert len(names(tmp_path)) <= 8 + 8 * 7 * 8
    assert any("listed already" in why for why in troubles(tmp_path).values())


def test_what_cant_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.jpg")
    put(tmp_path / "closed/b.jpg")
    (tmp_path / "gone.jpg").symlink_to("/nowhere/at/all.jpg")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    scandir = os.scandir

    def refused(folder: Path) -> object:  # the tests may run as a user who may read anything
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refused)
    assert troubles(tmp_path) == {
        "closed/": "Permission denied",
        "gone.jpg": "a link to /nowhere/at/all.jpg, which is not there",
        "pipe.jpg": "a pipe or a device",
        "self.jpg": "a link to itself",
    }
    assert [entry.name for entry in LocalStore(str(tmp_path)).list()] == ["a.jpg"]
