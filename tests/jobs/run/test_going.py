"""Which runs of a workspace go on, by what they say themselves."""

from __future__ import annotations

import time

import pytest

from jobs.run import going
from jobs.run.going import going_on, is_at_work, runs_at_work
from jobs.run.history import start_run
from sppnet.errors import ArtifactError
from tests.support.recorded_runs import files
from tests.support.toy_fixtures import Toys


def test_a_run_goes_on_for_as_long_as_the_block_lasts(toys: Toys) -> None:
    engine = toys.engine()
    folder = start_run(engine)
    assert not is_at_work(folder)
    with going_on(folder, engine.steps):
        (found,) = runs_at_work(folder.store, time.time()).items()
        assert found[0] == folder.key
        assert set(found[1].artifacts) == {step.spec.artifact for step in engine.steps}
        assert is_at_work(folder)
    assert not is_at_work(folder)
    assert files(folder) == ["recipe.yaml"]


def test_the_word_of_a_killed_driver_counts_for_five_minutes(toys: Toys) -> None:
    engine = toys.engine()
    folder = start_run(engine)
    with going_on(folder, engine.steps):
        assert set(runs_at_work(folder.store, time.time() + 290)) == {folder.key}
        assert runs_at_work(folder.store, time.time() + 310) == {}


def test_a_run_that_lasts_says_it_again(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(going, "_EVERY_SECONDS", 0.01)
    engine = toys.engine()
    folder = start_run(engine)
    with going_on(folder, engine.steps):
        (entry,) = (each for each in folder.store.list(folder.path("")) if "/going-" in each.name)
        folder.store.delete(entry.name)
        end = time.monotonic() + 60
        while not is_at_work(folder):
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_corrupt_word_is_named(toys: Toys) -> None:
    folder = start_run(toys.engine())
    folder.write("going-0123456789ab.json", b"[]")
    with pytest.raises(ArtifactError, match=r"/going-0123456789ab\.json is corrupt"):
        runs_at_work(folder.store, time.time())


def test_a_corrupt_word_elsewhere_is_nothing_to_a_run_that_is_looked_at(toys: Toys) -> None:
    start_run(toys.engine(power=3)).write("going-0123456789ab.json", b"[]")
    assert not is_at_work(start_run(toys.engine()))
