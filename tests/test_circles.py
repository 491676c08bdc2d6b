"""No circle of files or of rooms, neither for types only nor inside functions."""

from __future__ import annotations

import pytest

from tests.support.source_tree import circles, file_graph, room_graph, room_of


def test_no_circle_of_files() -> None:
    files = file_graph()
    assert len(files) > 200
    assert files["pipelines.engine.registry"] <= set(files)
    found = circles(files)
    assert not found, "\n" + "\n".join(" <-> ".join(group) for group in found)


def test_no_circle_of_rooms() -> None:
    """What is told of a circle is every import that goes from one of its rooms to another."""
    files = file_graph()
    rooms = room_graph(files)
    assert {"sppnet.pooling", "pipelines.stages", "jobs.report.page", "jobs.cli"} <= set(rooms)
    closing = [
        f"{module} imports {other}"
        for group in circles(rooms)
        for module, found in files.items()
        for other in sorted(found)
        if room_of(module) != room_of(other) and {room_of(module), room_of(other)} <= {*group}
    ]
    assert not closing, "\n" + "\n".join(closing)


@pytest.mark.parametrize(
    ("graph", "groups"),
    [
        ({}, []),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}, [["a", "b", "c"], ["d", "e"]]),
        ({"a": {"outside"}}, []),
    ],
)
def test_circles_of_small_graphs(graph: dict[str, set[str]], groups: list[list[str]]) -> None:
    assert circles(graph) == groups


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("sppnet.pooling.pyramid", "sppnet.pooling"),
        ("sppnet.boxes", "sppnet.boxes"),
        ("jobs.plan.table", "jobs.plan"),
        ("jobs.report.page.render", "jobs.report.page"),
        ("jobs.report", "jobs.report"),
        ("jobs.cli", "jobs.cli"),
    ],
)
def test_rooms_are_the_folders(module: str, room: str) -> None:
    assert room_of(module) == room
