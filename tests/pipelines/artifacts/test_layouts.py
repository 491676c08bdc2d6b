"""Parquet layouts: what is written is read back bit for bit, by us and by plain pyarrow."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.artifacts.detections import DetectionRow, decode_detections
from pipelines.artifacts.examples import Examples, encode_examples
from pipelines.artifacts.scores import (
    SCORES,
    ScoresRow,
    decode_scores,
    encode_plain_scores,
    encode_scores,
    write_plain_scores,
)
from pipelines.artifacts.stepped_rows import to_steps
from pipelines.artifacts.windows_and_maps import (
    MAPS,
    WINDOWS,
    MapRow,
    WindowsRow,
    decode_maps,
    decode_windows,
    encode_maps,
    encode_windows,
)
from sppnet.errors import ArtifactError
from sppnet.sizes import Size
from tests.support.chain import equal_bytes
from tests.support.stored_rows import decode_examples, encode_detections

KEYS = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=8)
FINITE = st.floats(-1e6, 1e6, width=32)


def boxes(n: int) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float32, (n, 4), elements=FINITE)


@st.composite
def windows_rows(draw: st.DrawFn) -> WindowsRow:
    windows = draw(st.integers(0, 5).flatmap(boxes))
    return WindowsRow(draw(KEYS), draw(st.integers(1, 9000)), draw(st.integers(1, 9000)), windows)


@st.composite
def map_rows(draw: st.DrawFn) -> MapRow:
    bits, dtype = draw(st.sampled_from([(np.uint16, np.float16), (np.uint32, np.float32)]))
    shape = draw(st.tuples(*[st.integers(1, 4)] * 3))
    values = draw(hnp.arrays(bits, shape)).view(dtype)
    return MapRow(
        draw(KEYS), draw(st.integers(1, 9999)), Size(draw(st.integers(1, 99)), draw(st.integers(1, 99))), values
    )


@st.composite
def detection_rows(draw: st.DrawFn) -> DetectionRow:
    box = st.tuples(FINITE, FINITE, FINITE, FINITE)
    return DetectionRow(draw(KEYS), draw(KEYS), draw(FINITE), draw(box), draw(st.none() | box))


@st.composite
def example_groups(draw: st.DrawFn, category: str) -> Examples:
    n = draw(st.integers(0, 4))
    return Examples(
        category=category,
        keys=tuple(draw(st.lists(KEYS, min_size=n, max_size=n))),
        windows=draw(hnp.arrays(np.int32, n)),
        scores=draw(hnp.arrays(np.float32, n, elements=FINITE)),
        boxes=draw(boxes(n)),
        targets=draw(boxes(n)),
        features=draw(hnp.arrays(np.uint16, (n, 3))).view(np.float16),
    )


def make_examples(category: str, n: int, dimension: int = 6) -> Examples:
    rng = np.random.default_rng(n)
    return Examples(
        category=category,
        keys=tuple(f"{category}-{i}" for i in range(n)),
        windows=np.arange(n, dtype=np.int32) - 1,
        scores=rng.normal(size=n).astype(np.float32),
        boxes=rng.uniform(0, 50, (n, 4)).astype(np.float32),
        targets=np.zeros((n, 4), np.float32),
        features=rng.normal(size=(n, dimension)).astype(np.float16),
    )


def read(data: bytes) -> pq.ParquetFile:
    return pq.ParquetFile(io.BytesIO(data))


class TestWindows:
    @settings(max_examples=40)
    @given(st.lists(windows_rows(), max_size=4))
    def test_round_trip(self, rows: list[WindowsRow]) -> None:
        found = decode_windows(encode_windows(rows), "here")
        assert [(r.key, r.width, r.height) for r in found] == [(r.key, r.width, r.height) for r in rows]
        assert all(equal_bytes(a.windows, b.windows) for a, b in zip(found, rows, strict=True))

    def test_plain_pyarrow_reads_each_column(self) -> None:
        windows = np.array([[0, 1, 20.5, 30], [2, 3, 40, 50]], np.float32)
        data = encode_windows([WindowsRow("a", 60, 70, windows), WindowsRow("b", 80, 90, windows[:1])])
        columns = {name: read(data).read(columns=[name]).column(0).to_pylist() for name in WINDOWS.names}
        assert columns == {
            "key": ["a", "b"],
            "width": [60, 80],
            "height": [70, 90],
            "windows": [[0, 1, 20.5, 30, 2, 3, 40, 50], [0, 1, 20.5, 30]],
        }


class TestMaps:
    @settings(max_examples=40)
    @given(st.lists(map_rows(), max_size=6))
    def test_round_trip_is_bit_for_bit(self, rows: list[MapRow]) -> None:
        found = list(decode_maps(encode_maps(rows), "here"))
        assert [(r.key, r.scale, r.image_wh) for r in found] == [(r.key, r.scale, r.image_wh) for r in rows]
        assert all(equal_bytes(a.map, b.map) for a, b in zip(found, rows, strict=True))

    def test_every_half_float_survives(self) -> None:
        every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(16, 64, 64)
        (row,) = decode_maps(encode_maps([MapRow("a", 160, Size(9, 9), every)]), "here")
        assert equal_bytes(row.map, every)

    def test_strided_maps_are_written_in_order(self) -> None:
        grid = np.arange(24, dtype=np.float32).reshape(4, 2, 3).transpose(1, 2, 0)
        (row,) = decode_maps(encode_maps([MapRow("a", 160, Size(9, 9), grid)]), "here")
        np.testing.assert_array_equal(row.map, grid)

    def test_decoded_maps_are_read_only(self) -> None:
        data = encode_maps([MapRow("a", 160, Size(9, 9), np.ones((1, 1, 1), np.float16))])
        (row,) = decode_maps(data, "here")
        with pytest.raises(ValueError, match="read-only"):
            row.map[0, 0, 0] = 2

    def test_plain_pyarrow_reads_each_column(self) -> None:
        grid = np.arange(12, dtype=np.float16).reshape(2, 3, 2)
        file = read(encode_maps([MapRow(str(i), 160 + i, Size(30, 20), grid + i) for i in range(5)]))
        columns = {name: file.read(columns=[name]).column(0).to_pylist() for name in MAPS.names}
        assert columns["scale"] == [160, 161, 162, 163, 164]
        assert columns["image_width"] == [30] * 5
        assert columns["image_height"] == [20] * 5
        shape = [columns[name][4] for name in ("height", "width", "channels")]
        assert shape == [2, 3, 2]
        assert columns["dtype"] == ["float16"] * 5
        cells = np.bitwise_xor.accumulate(np.frombuffer(columns["mask"][4], np.uint8).reshape(6, 8))
        there = np.unpackbits(cells, axis=1, count=2, bitorder="little").astype(bool)
        found = np.zeros((6, 2), "<u2")
        found[there] = np.frombuffer(columns["nonzeros"][4], np.uint8).reshape(2, -1).T.copy().view("<u2")[:, 0]
        assert equal_bytes(found.view(np.float16).reshape(shape), grid + np.float16(4))
        assert file.num_row_groups == 2  # a reader holds four maps at a time

    def test_a_map_of_zeros(self) -> None:
        (row,) = decode_maps(encode_maps([MapRow("a", 160, Size(9, 9), np.zeros((2, 3, 4), np.float32))]), "here")
        assert equal_bytes(row.map, np.zeros((2, 3, 4), np.float32))

    @settings(max_examples=60)
    @given(st.data())
    def test_a_damaged_file_is_told(self, data: st.DataObject) -> None:
        """Or else only a value is another one."""
        grid = np.arange(130, dtype=np.float16).reshape(1, 1, 130)
        file = bytearray(encode_maps([MapRow("a", 160, Size(9, 9), grid)]))
        file[data.draw(st.integers(0, len(file) - 1))] ^= data.draw(st.integers(1, 255))
        told = ""
        try:
            rows = list(decode_maps(bytes(file), "store/unit"))
        except ArtifactError as error:
            rows, told = [], str(error)
        assert told.startswith("store/unit: ") or {row.map.dtype.name for row in rows} <= {"float16"}

    @pytest.mark.parametrize(
        ("column", "value", "message"),
        [
            ("width", 2**31 - 1, "the map of a is damaged (8 bytes of mask are not of 1 x 2147483647 x 3 "),
            ("channels", -3, "the map of a is damaged (8 bytes of mask are not of 1 x 1 x -3 "),
            ("dtype", "float128", "the map of a is damaged (8 bytes of mask are not of 1 x 1 x 3 float128 "),
            ("nonzeros", b"x", "the map of a is damaged (1 bytes are not 3 float16 values"),
            ("mask", None, "a row lacks a value"),
        ],
    )
    def test_a_row_that_does_not_fit_is_told(self, column: str, value: object, message: str) -> None:
        (row,) = read(encode_maps([MapRow("a", 160, Size(9, 9), np.ones((1, 1, 3), np.float16))])).read().to_pylist()
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([row | {column: value}], MAPS), sink)
        with pytest.raises(ArtifactError, match="^" + re.escape("store/unit: " + message)):
            list(decode_maps(sink.getvalue(), "store/unit"))

    def test_real_maps_of_the_chain(self, chain) -> None:
        artifact = chain.artifact("maps")
        rows = list(decode_maps(artifact.read(chain.unit("s0160/train/000000")), "here"))
        again = list(decode_maps(encode_maps(rows), "here"))
        assert len(rows) == 4
        assert all(equal_bytes(a.map, b.map) for a, b in zip(rows, again, strict=True))


class TestDetections:
    @settings(max_examples=40)
    @given(st.lists(detection_rows(), max_size=6))
    def test_round_trip(self, rows: list[DetectionRow]) -> None:
        found = decode_detections(encode_detections(rows), "here")
        plain = [(r.key, r.category, r.score, r.box, r.regressed) for r in found]
        assert plain == [(r.key, r.category, r.score, r.box, r.regressed) for r in rows]

    def test_plain_pyarrow_reads_each_column(self) -> None:
        rows = [
            DetectionRow("a", "car", 0.5, (1, 2, 3, 4), None),
            DetectionRow("b", "cat", -1.25, (5, 6, 7, 8), (4, 6, 7, 9)),
        ]
        table = read(encode_detections(rows)).read()
        assert table.to_pydict() == {
            "key": ["a", "b"],
            "category": ["car", "cat"],
            "score": [0.5, -1.25],
            "x0": [1, 5],
            "y0": [2, 6],
            "x1": [3, 7],
            "y1": [4, 8],
            "regressed": [None, [4, 6, 7, 9]],
        }


class TestExamples:
    @settings(max_examples=30)
    @given(example_groups("a"), example_groups("b"))
    def test_round_trip(self, first: Examples, second: Examples) -> None:
        data = encode_examples([first, second])
        for group in (first, second):
            found = decode_examples(data, "here", group.category)
            assert found.keys == group.keys
            for name in ("windows", "scores", "boxes", "targets"):
                assert equal_bytes(getattr(found, name), getattr(group, name))
            if group.keys:
                assert equal_bytes(found.features, group.features)

    def test_features_may_be_kept_in_steps(self) -> None:
        group = make_examples("car", 4)
        features = np.abs(group.features).astype(np.float16)
        features[2] = 0
        values, steps = to_steps(features)
        data = encode_examples([replace(group, features=values, steps=steps)])
        found = decode_examples(data, "here", "car")
        assert found.keys == group.keys
        assert equal_bytes(found.features, values)
        assert equal_bytes(found.steps, steps)
        greatest = features.astype(np.float32).max(axis=1, keepdims=True)
        assert (np.abs(found.floats().astype(np.float32) - features) <= greatest / 255).all()
        assert not found.floats()[2].any()

    def test_a_category_reads_its_row_group_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pipelines.artifacts.examples._GROUP_BYTES", 0)
        groups = [make_examples(name, n) for name, n in (("", 3), ("car", 2), ("cat", 4))]
        data = encode_examples(groups)
        file = read(data)
        assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [3, 2, 4]
        # Destroy the features of the others: they must not be needed.
        damaged = bytearray(data)
        for group in (0, 2):
            columns = [file.metadata.row_group(group).column(i) for i in range(file.metadata.num_columns)]
            (part,) = (column for column in columns if column.path_in_schema == "nonzeros")
            start, size = part.data_page_offset, part.total_compressed_size
            damaged[start : start + size] = b"\xff" * size
        found = decode_examples(bytes(damaged), "here", "car")
        assert equal_bytes(found.features, groups[1].features)
        assert found.keys == ("car-0", "car-1")

    def test_an_absent_category_is_empty(self) -> None:
        found = decode_examples(encode_examples([make_examples("car", 2)]), "here", "cat")
        assert found.keys == ()
        assert found.boxes.shape == (0, 4)

    def test_select_takes_masks_and_indices(self) -> None:
        group = make_examples("car", 4)
        by_mask = group.select(np.array([True, False, False, True]))
        by_index = group.select(np.array([3, 0]))
        assert by_mask.keys == ("car-0", "car-3")
        assert by_index.keys == ("car-3", "car-0")
        np.testing.assert_array_equal(by_index.features, group.features[[3, 0]])


@st.composite
def scores_rows(draw: st.DrawFn) -> ScoresRow:
    bits, dtype = draw(st.sampled_from([(np.uint16, np.float16), (np.uint32, np.float32)]))
    return ScoresRow(draw(KEYS), draw(KEYS), draw(hnp.arrays(bits, st.integers(0, 9))).view(dtype))


class TestScores:
    @settings(max_examples=40)
    @given(st.lists(scores_rows(), max_size=6))
    def test_round_trip_is_bit_for_bit(self, rows: list[ScoresRow]) -> None:
        found = decode_scores(encode_scores(rows), "here")
        assert [(r.key, r.views) for r in found] == [(r.key, r.views) for r in rows]
        assert all(equal_bytes(a.values, b.values) for a, b in zip(found, rows, strict=True))

    def test_plain_pyarrow_and_numpy_read_each_column(self) -> None:
        values = np.array([0.25, 0.5, 0.25], np.float32)
        table = read(encode_scores([ScoresRow("a", "full", values), ScoresRow("a", "crop", values[::-1])])).read()
        assert table.column("key").to_pylist() == ["a", "a"]
        assert table.column("views").to_pylist() == ["full", "crop"]
        assert table.column("dtype").to_pylist() == ["float32", "float32"]
        found = [np.frombuffer(raw, "float32").tolist() for raw in table.column("values").to_pylist()]
        assert found == [[0.25, 0.5, 0.25], [0.25, 0.5, 0.25]]

    def test_rows_for_other_programs_have_lists_and_labels(self) -> None:
        called = "{}.jpg".format
        rows = [ScoresRow("a", "full", np.array(v, np.float32)) for v in ([0.25, 0.75], [0.5, 0.5])]
        table = read(encode_plain_scores(rows, ("ant", "bee"), called)).read().to_pydict()
        values = [[0.25, 0.75], [0.5, 0.5]]
        keys = {"key": ["a", "a"], "file": ["a.jpg", "a.jpg"]}
        assert table == {**keys, "views": ["full", "full"], "label": ["bee", "ant"], "values": values}
        half = ScoresRow("a", "full", np.array([1.5, 2], np.float16))
        found = read(encode_plain_scores([half], (), called)).read()
        assert found.to_pylist() == [
            {"key": "a", "file": "a.jpg", "views": "full", "label": None, "values": [1.5, 2.0]}
        ]
        assert found.schema.field("values").type == pa.list_(pa.float16())
        assert read(encode_plain_scores([], ("ant",), called)).read().num_rows == 0
        sink = io.BytesIO()
        write_plain_scores(([], rows[:1], [], rows[1:]), ("ant", "bee"), called, sink)
        assert read(sink.getvalue()).read().to_pydict() == table
        assert read(sink.getvalue()).num_row_groups == 2
        sink = io.BytesIO()
        write_plain_scores(([],), ("ant",), called, sink)
        assert read(sink.getvalue()).read().num_rows == 0

    def test_values_are_read_only_and_of_their_type(self) -> None:
        (row,) = decode_scores(encode_scores([ScoresRow("a", "full", np.ones(3, np.float16))]), "here")
        with pytest.raises(ValueError, match="read-only"):
            row.values[0] = 2
        table = pa.table({"key": ["a"], "views": ["full"], "dtype": ["float32"], "values": [b"abc"]}, schema=SCORES)
        sink = io.BytesIO()
        pq.write_table(table, sink)
        with pytest.raises(ArtifactError, match=r"^store/unit: a row is not of its type"):
            decode_scores(sink.getvalue(), "store/unit")


DECODERS = {
    "windows": lambda data: decode_windows(data, "store/unit"),
    "maps": lambda data: list(decode_maps(data, "store/unit")),
    "detections": lambda data: decode_detections(data, "store/unit"),
    "examples": lambda data: decode_examples(data, "store/unit", "car"),
    "scores": lambda data: decode_scores(data, "store/unit"),
}
FILES = {
    "windows": encode_windows([WindowsRow("a", 6, 7, np.zeros((1, 4), np.float32))]),
    "maps": encode_maps([MapRow("a", 160, Size(9, 9), np.ones((1, 1, 1), np.float16))]),
    "detections": encode_detections([DetectionRow("a", "car", 0.5, (1, 2, 3, 4), None)]),
    "examples": encode_examples([make_examples("car", 2)]),
    "scores": encode_scores([ScoresRow("a", "full", np.zeros(3, np.float32))]),
}


@pytest.mark.parametrize("reader", DECODERS)
@pytest.mark.parametrize("written", FILES)
def test_another_layout_is_refused(reader: str, written: str) -> None:
    if reader == written:
        assert DECODERS[reader](FILES[written])
        return
    with pytest.raises(ArtifactError, match=r"^store/unit: columns are key|^store/unit: columns are category"):
        DECODERS[reader](FILES[written])


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize(
    "damage", [lambda d: b"", lambda d: b"not parquet", lambda d: d[:-9], lambda d: d[: len(d) // 2]]
)
def test_broken_files_are_refused(kind: str, damage) -> None:
    with pytest.raises(ArtifactError, match=r"^store/unit: not a Parquet file"):
        DECODERS[kind](damage(FILES[kind]))


def test_same_names_of_other_types_are_told() -> None:
    table = pa.table({"key": ["a"], "width": [6], "height": [7], "windows": [[1.0]]})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    with pytest.raises(ArtifactError, match=r"width int64.*expected .*width int32"):
        decode_windows(sink.getvalue(), "here")


@pytest.mark.parametrize("kind", FILES)
def test_no_rows(kind: str) -> None:
    empty = {
        "windows": encode_windows([]),
        "maps": encode_maps([]),
        "detections": encode_detections([]),
        "examples": encode_examples([]),
        "scores": encode_scores([]),
    }[kind]
    assert len(getattr(found := DECODERS[kind](empty), "keys", found)) == 0
