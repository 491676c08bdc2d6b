"""Files outside the workspace: one message wherever they are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.datasets.outside_files import find_outside, read_outside, seen_outside
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError


def test_reading_a_local_file_or_uri(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"abc")
    assert read_outside(str(path), "path: x") == read_outside(f"file://{path}", "path: x") == b"abc"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_missing_file_is_named_with_its_field(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(ConfigError, match=r"path: the x .*none\.bin"):
        read_outside(f"{scheme}{tmp_path}/none.bin", "path: the x")
    with pytest.raises(ConfigError, match="path: the x"):
        read_outside(str(tmp_path), "path: the x")


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_file_is_looked_at(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"abc")
    (tmp_path / "x.bin2").write_bytes(b"more")
    first = seen_outside(f"{scheme}{path}", "path: x")
    assert (first.place, first.read()) == (f"{scheme}{path}", b"abc")
    assert seen_outside(f"{scheme}{path}", "path: x").stamp == first.stamp
    path.write_bytes(b"abd")
    second = seen_outside(f"{scheme}{path}", "path: x")
    assert (second.place, second.read(), second.stamp != first.stamp) == (first.place, b"abd", True)
    for missing in (tmp_path / "none.bin", tmp_path, tmp_path / "x.bin" / "deep"):
        with pytest.raises(ConfigError, match=r"path: the x .* can't be read: there is no such file"):
            seen_outside(f"{scheme}{missing}", "path: the x")


def test_a_file_in_an_object_store_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store("memory://outside").put("deep/x.bin", b"abc")
    seen = seen_outside("memory://outside/deep/x.bin", "path: x")
    assert (seen.place, seen.read()) == ("memory://outside/deep/x.bin", b"abc")
    with pytest.raises(ConfigError, match=r"path: x memory://outside/deep/y.bin can't be read"):
        seen_outside("memory://outside/deep/y.bin", "path: x")
    monkeypatch.chdir(tmp_path)
    Path("own.bin").write_bytes(b"1")
    assert seen_outside("own.bin", "path: x").place == str(tmp_path / "own.bin")


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    for name in ("b.json", "sub/a.mat", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    folder = str(tmp_path)
    assert find_outside([folder + "/"], (".mat", ".json"), "w") == [f"{folder}/b.json", f"{folder}/sub/a.mat"]
    assert find_outside([f"{folder}/b.json", f"{folder}/sub"], (".mat", ".json"), "w") == [
        f"{folder}/b.json",
        f"{folder}/sub/a.mat",
    ]
    assert find_outside(["s3://b/x.mat"], (".mat",), "w") == ["s3://b/x.mat"]
    with pytest.raises(ConfigError, match=r"w .*nowhere is no file or folder of files with \.mat"):
        find_outside([f"{folder}/nowhere"], (".mat",), "w")
