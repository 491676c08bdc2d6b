"""CSV tables of boxes: any bytes are a table or one error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.csv_tables import CsvColumns, CsvReading, key_named, parse_classes
from sppnet.errors import ConfigError, DataError

HEADER = b"ImageID,LabelName,XMin,YMin,XMax,YMax\n"


def reading() -> CsvReading:
    return CsvReading(CsvColumns(), "fraction", None, None, "train")


def told(data: bytes) -> str:
    """What is said of a table and its images; objects are of the table's categories."""
    rows, said = reading(), ""
    try:
        rows.add(HEADER + data, "b.csv", "b.csv")
        table = rows.table()
        for key in table.images:
            assert all(thing.category in table.categories for thing in table.objects(key, 10, 10))
    except (ConfigError, DataError) as error:
        said = str(error)
    return said


@given(st.binary(max_size=80))
def test_any_bytes_are_rows_or_one_error_with_its_line(data: bytes) -> None:
    said = told(data)
    assert not said or "b.csv: line " in said


def test_two_tables_are_one() -> None:
    rows = reading()
    rows.add(HEADER + b"a,cat,0,0,0.5,1\nb,dog,0,0,1,1\n", "1.csv", "1.csv")
    rows.add(HEADER + b"a,dog,0.5,0,1,1\n", "2.csv", "2.csv")
    table = rows.table()
    found = [(thing.category, thing.box) for thing in table.objects("a", 40, 20)]
    assert found == [("cat", (0.0, 0.0, 20.0, 20.0)), ("dog", (20.0, 0.0, 40.0, 20.0))]
    assert (table.objects("c", 40, 20), table.digest("c")) == ([], table.digest("d"))
    assert table.digest("a") != table.digest("b")


def test_names_of_images() -> None:
    for name in ("x/a.b", "train/x/a.b.jpg", ".\\x\\a.b.PNG", "./train/x/a.b.jpeg"):
        assert key_named(name, "train") == "x/a%2Eb"


def test_classes_with_a_header_and_without() -> None:
    assert (
        parse_classes(b"LabelName,DisplayName\r\n/m/1,Cat\r\n", "c")
        == parse_classes(b"/m/1,Cat\n", "c")
        == {"/m/1": "Cat"}
    )
    for data, message in ((b"/m/1,Cat\n/m/2,Cat\n", "names the category 'Cat' twice"), (b"", "holds no categories")):
        with pytest.raises(ConfigError, match=message):
            parse_classes(data, "c")
