"""Reading windows of other programs: every layout, every convention, and every file that is something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.io import loadmat, savemat

from pipelines.artifacts.parquet import write_tables
from pipelines.artifacts.windows_and_maps import WINDOWS, WindowsRow, encode_windows
from pipelines.datasets.contents import Contents
from pipelines.datasets.window_files import digest_window_files, read_window_files
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError, DataError

BOXES = {"a": np.array([[1, 2, 11, 12], [3, 4, 30, 40]]), "b": np.array([[5, 6, 20, 22]]), "c": np.zeros((0, 4))}


def digests(paths: list[str]) -> list[list[str]]:
    return digest_window_files(paths, Contents())


def cells(values: list[Any]) -> np.ndarray:
    array = np.empty((1, len(values)), object)
    array[0] = values
    return array


def write_mat(path: Path, boxes: dict[str, np.ndarray], dtype: type = np.float64, packed: bool = False) -> Path:
    """As R-CNN and SPP-net publish them: cells of names (a column) and of boxes (a row)."""
    content = {"images": cells(list(boxes)).T, "boxes": cells([found.astype(dtype) for found in boxes.values()])}
    savemat(path, content, do_compression=packed)
    return path


@pytest.mark.parametrize("dtype", [np.float64, np.uint16, np.int32])
def test_a_published_mat_file(tmp_path: Path, dtype: type) -> None:
    found = read_window_files([str(write_mat(tmp_path / "voc.mat", BOXES, dtype))], "yxyx-1-inclusive")
    assert sorted(found.boxes) == ["a", "b", "c"]
    assert found.windows("a", 99, 99, "yxyx-1-inclusive").tolist() == [[1, 0, 12, 11], [3, 2, 40, 30]]
    assert found.windows("c", 99, 99, "yxyx-1-inclusive").shape == (0, 4)
    with pytest.raises(DataError, match="no-windows: the files hold no windows of this image"):
        found.windows("d", 99, 99, "yxyx-1-inclusive")


def test_the_demo_of_fast_rcnn(shared: Path) -> None:
    folder = shared / "data" / "fixtures" / "selective_search_demo"
    found = read_window_files([str(folder)], "xyxy-0-inclusive")
    assert sorted(found.boxes) == ["000004", "001551"]
    windows = found.windows("000004", 500, 406, "xyxy-0-inclusive")
    raw = loadmat(folder / "000004_boxes.mat")["boxes"].astype(int)
    assert len(windows) == 2888
    first = windows[:3].tolist()
    assert first == (raw[:3] + np.array([0, 0, 1, 1])).tolist() == [[0, 0, 24, 16], [0, 0, 24, 17], [0, 0, 26, 17]]
    assert windows.max(0).tolist() == [499, 405, 500, 406]


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "windows.json"
    path.write_text(
        json.dumps({"a.jpg": [[0, 1, 5, 6.5]], "b": [], "c.1": [[1, 2], [3]], "d": "no", "e": [[1, 2, 3, "x"]]})
    )
    found = read_window_files([str(path)], "xyxy-0-half-open")
    assert found.windows("a", 9, 9, "xyxy-0-half-open").tolist() == [[0, 1, 5, 6.5]]
    assert found.windows("b", 9, 9, "xyxy-0-half-open").shape == (0, 4)
    for key in ("c%2E1", "d", "e"):
        with pytest.raises(DataError) as caught:
            found.windows(key, 9, 9, "xyxy-0-half-open")
        assert caught.value.reason == "bad-windows"


def test_parquet_alone_or_as_an_artifact(tmp_path: Path) -> None:
    rows = [WindowsRow("a", 40, 30, np.array([[1, 2, 8, 9]], np.float32))]
    data = encode_windows(rows)
    (tmp_path / "part.parquet").write_bytes(data)
    artifact = Workspace.open(str(tmp_path / "ws")).artifact("windows-0123")
    artifact.describe({"kind": "windows"})
    artifact.publish("train/000000", Output(data, ".parquet", 1, 1), 0)
    (tmp_path / "ws/windows-0123/train/000000-lost.parquet").write_bytes(data)  # of an attempt that lost
    for place in ("part.parquet", "ws/windows-0123", "ws/windows-0123/"):
        found = read_window_files([str(tmp_path / place)], "xyxy-0-half-open")
        assert found.windows("a", 40, 30, "xyxy-0-half-open").tolist() == [[1, 2, 8, 9]]
        with pytest.raises(DataError, match="size-mismatch: the windows are of 40 x 30 pixels, the image is 40 x 31"):
            found.windows("a", 40, 31, "xyxy-0-half-open")
    with pytest.raises(ConfigError, match="convention: windows in Parquet are 'xyxy-0-half-open', not 'xywh-0'"):
        read_window_files([str(tmp_path / "part.parquet")], "xywh-0")


def test_files_count_by_content_wherever_they_lie(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one/x.json").write_text("{}")
    (tmp_path / "two/y.json").write_text("{}")
    (tmp_path / "two/notes.txt").write_text("not read")
    one, two = ([str(tmp_path / name)] for name in ("one", "two"))
    assert digests(one) == digests(two) != []
    (tmp_path / "two/y.json").write_text('{"a": []}')
    assert digests(one) != digests(two)
    assert digests([*one, *two]) == digests([*two, *one])
    # The name of a file with one image's boxes tells which.
    savemat(tmp_path / "one/a_boxes.mat", {"boxes": BOXES["a"]})
    (tmp_path / "two/b_boxes.mat").write_bytes((tmp_path / "one/a_boxes.mat").read_bytes())
    named = [digests([str(tmp_path / name)]) for name in ("one/a_boxes.mat", "two/b_boxes.mat")]
    assert [rows[0][1] for rows in named] == ["a", "b"]
    assert named[0][0][0] == named[1][0][0]


def test_an_image_may_come_once(tmp_path: Path) -> None:
    for name in ("one.mat", "two.mat"):
        write_mat(tmp_path / name, BOXES)
    with pytest.raises(ConfigError, match=r"two\.mat: image 'a' comes twice"):
        read_window_files([str(tmp_path)], "yxyx-1-inclusive")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.mat", None, "paths: windows .*none.mat can't be read: No such file"),
        ("x.mat", b"", "not a MATLAB file"),
        ("x.mat", b"MATLAB 5.0 MAT-file" + bytes(200), "x.mat"),
        ("x.mat", b"plain words that are long enough for a header of a file" * 9, "not a MATLAB file"),
        ("x.mat", {"other": 1}, "holds no variable 'boxes'"),
        ("x.mat", {"boxes": np.zeros((2, 4))}, "no variable 'images'; one image's boxes are in <key>_boxes.mat"),
        ("x.mat", {"boxes": cells([np.zeros((1, 4))]), "images": cells(["a", "b"])}, "2 images but 1 cells of boxes"),
        ("x.mat", {"boxes": cells([1, 2]), "images": cells(["a", 7])}, "where a name belongs"),
        ("x.json", b"{", "not JSON"),
        ("x.json", b"[1]", "expected a mapping"),
        ("x.json", b"\xff\xfe\x00", "not JSON"),
        ("x.json", b'{"a":' * 100_000, "not JSON .nested too deep"),
        ("x.parquet", b"PAR1", "not a Parquet file"),
        ("folder", None, "is no file or folder of files with .mat or .json or .parquet"),
    ],
)
def test_what_is_something_else_is_named(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        savemat(path, content)
    with pytest.raises(ConfigError, match=message):
        read_window_files([str(path)], "xyxy-0-half-open")


def test_a_mat_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    whole = write_mat(tmp_path / "voc.mat", BOXES, np.uint16, packed=True).read_bytes()
    path = tmp_path / "short.mat"
    for length in range(0, len(whole) - 1, 9):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match=r"short\.mat"):
            read_window_files([str(path)], "yxyx-1-inclusive")


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ([np.zeros(5, np.float32)], "the windows of 'a' are 5 numbers, not 4 each"),
        ([None], "a row lacks a value"),
        ([[1.0, None, 3.0, 4.0]], "a row lacks a value"),
        ([np.zeros(40_000_000, np.float32)], "bytes claim 40000003 values"),
    ],
)
def test_parquet_that_holds_something_else_is_named(tmp_path: Path, windows: list[Any], message: str) -> None:
    path = tmp_path / "x.parquet"
    rows = {"key": ["a"], "width": [10], "height": [10], "windows": windows}
    path.write_bytes(write_tables([pa.table(rows, schema=WINDOWS)], WINDOWS))
    with pytest.raises(ConfigError, match=rf"^paths: windows .*x\.parquet: .*{message}"):
        read_window_files([str(path)], "xyxy-0-half-open")
