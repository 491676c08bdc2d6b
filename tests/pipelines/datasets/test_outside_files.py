"""Files outside the workspace: one message wherever they are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.datasets.outside_files import find_outside, read_outside
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
