"""What steps are made from: looks outside the workspace, taken anew or as they were, and what follows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engine.looks import LookBook
from pipelines.engine.store import open_store
from pipelines.executors.local import LocalExecutor
from sppnet.errors import ArtifactError, ConfigError
from tests.support.toy_fixtures import Toys


@pytest.fixture
def outside(toys: Toys, tmp_path: Path) -> Path:
    """A file outside the workspace whose content the numbers follow."""
    path = tmp_path / "outside.txt"
    path.write_text("one")
    toys.file = str(path)
    return path


def names(toys: Toys, fresh: tuple[str, ...] | None = None) -> list[str]:
    return [step.spec.artifact for step in toys.engine(fresh=fresh).steps]


def looks(toys: Toys) -> list[str]:
    return [entry.name for entry in open_store(toys.workspace).list("looks") if entry.name.endswith("look.json")]


def test_what_lies_outside_is_in_the_names_of_all_that_follows(toys: Toys, outside: Path) -> None:
    before = names(toys)
    outside.write_text("two")
    after = names(toys)
    assert before[0] != after[0]
    assert before[1] != after[1]
    outside.write_text("one")
    assert names(toys) == before


def test_planning_records_nothing_and_a_run_records_once(toys: Toys, outside: Path) -> None:
    toys.engine()
    assert looks(toys) == []
    toys.run(LocalExecutor())
    toys.run(LocalExecutor())
    assert len(looks(toys)) == 1
    outside.write_text("two")
    toys.run(LocalExecutor())
    assert len(looks(toys)) == 2


def test_steps_that_are_not_fresh_take_what_was_found_last(toys: Toys, outside: Path) -> None:
    toys.run(LocalExecutor())
    made = names(toys)
    outside.write_text("two")
    assert names(toys, fresh=()) == made
    outside.unlink()
    assert names(toys, fresh=()) == made
    assert [status.summary is not None for status in toys.engine(fresh=()).status()] == [True, True]
    with pytest.raises(ConfigError, match=r"outside.txt can't be read"):
        toys.engine()


def test_steps_that_never_looked_look_now(toys: Toys, outside: Path) -> None:
    assert names(toys, fresh=()) == names(toys)
    outside.unlink()
    with pytest.raises(ConfigError, match=r"outside.txt can't be read"):
        toys.engine(fresh=())


def test_the_newest_look_counts_and_its_objects_are_kept(toys: Toys, outside: Path) -> None:
    store = open_store(toys.workspace)
    for text in ("one", "two", "three"):
        outside.write_text(text)
        toys.run(LocalExecutor())
    place = {"file": str(outside)}
    past = LookBook(store).past("numbers", place, place)
    last = past.same
    assert last is not None
    assert past.looks == (last,)
    assert last.read("file.txt").decode() == last.look.digests["file"] == toys.engine().steps[0].look.digests["file"]
    other = LookBook(store).past("numbers", place, {"file": "another thing in that place"})
    assert (other.same, other.newest) == (None, last)
    assert LookBook(store).past("numbers", {"file": "another place"}, place).looks == ()
    assert LookBook(store).past("powers", place, place).looks == ()


def test_a_corrupt_look_is_told(toys: Toys, outside: Path) -> None:
    toys.run(LocalExecutor())
    store = open_store(toys.workspace)
    (record,) = looks(toys)
    store.put(record, b'{"digests": 3}')
    with pytest.raises(ArtifactError, match=r"look.json is corrupt: .*; remove it and run again"):
        toys.engine()
    store.delete(record)  # without its record a look is none: it was cut off
    assert names(toys, fresh=()) == names(toys)
    assert outside.exists()
