"""Which unit comes when: the steps of a recipe overlap, and whatever the order, what one reads was made before."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.engine.executor import Job, OpenPhase, Outcome, WorkQueue
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.registry import stage_type
from pipelines.engine.runner import Engine
from pipelines.engine.schedule import Schedule
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from sppnet.errors import ArtifactError, ConfigError, IncompleteError
from tests.support.toy_fixtures import Recorder, Toys

SHARDS = 3
UNITS = [f"all/{number:06d}" for number in range(SHARDS)]


def steps_of(toys: Toys, *, total: bool = False) -> dict[str, Any]:
    """`count` is halved twice, shard by shard; with `total`, `quarter` also reads all of `raise`."""
    halves = {"stage": "halves", "marks": str(toys.marks.folder)}
    steps: dict[str, Any] = {
        "count": {"stage": "numbers", "shards": SHARDS},
        "half": {**halves, "numbers": "count"},
        "quarter": {**halves, "numbers": "half"},
    }
    if total:
        steps["raise"] = {"stage": "powers", "numbers": "count"}
        steps["quarter"]["total"] = "raise"
    return steps


def engine_of(toys: Toys, steps: dict[str, Any]) -> Engine:
    raw = {"version": 1, "name": "toy", "seed": 0, "steps": steps}
    return Engine(parse_recipe(raw, "toy.yaml"), Workspace.open(toys.workspace))


def run(toys: Toys, steps: dict[str, Any], executor: Any = None) -> Recorder:
    recorder = Recorder()
    engine_of(toys, steps).run(executor or LocalExecutor(), recorder)
    return recorder


def test_what_was_begun_is_ended_before_more_is_begun(toys: Toys) -> None:
    recorder = run(toys, steps_of(toys))
    assert recorder.done == [(step, unit) for unit in UNITS for step in ("count", "half", "quarter")]
    assert recorder.started == [("count", 3, 3), ("half", 3, 3), ("quarter", 3, 3)]
    assert [summary.step for summary in recorder.summaries] == ["count", "half", "quarter"]


def test_what_is_read_whole_is_waited_for(toys: Toys) -> None:
    recorder = run(toys, steps_of(toys, total=True))
    quarters = [number for number, (step, _) in enumerate(recorder.done) if step == "quarter"]
    assert len(quarters) == 3
    assert recorder.done.index(("raise", "sum/0_1_2")) < min(quarters)
    assert recorder.done[:2] == [("count", UNITS[0]), ("half", UNITS[0])]


def test_whoever_waits_for_a_step_looks_at_it_as_soon_as_it_is_complete(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`raise` reads `count` whole, and is in its turn long before all halves are made; it is asked before that."""
    told: list[tuple[str, str]] = []

    def look(stage: Any, field: str) -> None:
        told.append((stage.spec.step, field))
        raise ConfigError("step raise: there is nothing to raise")

    monkeypatch.setattr(stage_type("powers"), "check_input", look)
    recorder = Recorder()
    with pytest.raises(ConfigError, match="nothing to raise"):
        engine_of(toys, steps_of(toys, total=True)).run(LocalExecutor(), recorder)
    assert told == [("raise", "numbers")]
    assert {step for step, _ in recorder.done} == {"count", "half"}
    assert "raise" not in {step for step, _, _ in recorder.started}


def test_a_failed_unit_holds_up_its_own_shard_only(toys: Toys) -> None:
    toys.marks.set("fail", UNITS[1], 1)
    recorder = Recorder()
    with pytest.raises(IncompleteError) as caught:
        engine_of(toys, steps_of(toys)).run(LocalExecutor(), recorder)
    assert str(caught.value) == (
        "step half: 1 of 3 units failed: all/000001: ValueError: told to fail (1 tries). "
        "Finished units are kept; mend the cause and run again"
    )
    assert [unit for step, unit in recorder.done if step == "quarter"] == [UNITS[0], UNITS[2]]
    assert [summary.step for summary in recorder.summaries] == ["count"]
    again = run(toys, steps_of(toys))
    assert again.done == [("half", UNITS[1]), ("quarter", UNITS[1])]


def test_failures_of_several_steps_are_told_together(toys: Toys, tmp_path: Any) -> None:
    other = Toys(toys.workspace, tmp_path / "other")
    steps = steps_of(toys)
    steps["third"] = {"stage": "halves", "numbers": "quarter", "marks": str(other.marks.folder), "shards": [0, 2]}
    toys.marks.set("fail", UNITS[1], 1)
    other.marks.set("artifact", UNITS[0], 1)
    with pytest.raises(ArtifactError) as caught:
        run(toys, steps)
    assert str(caught.value) == (
        "step half: 1 of 3 units failed: all/000001: ValueError: told to fail (1 tries); "
        "step third: 1 of 2 units failed: all/000000: all/000000 is not there (1 tries). "
        "Finished units are kept; mend the cause and run again"
    )


def test_two_steps_that_make_the_same_artifact_make_it_once(toys: Toys) -> None:
    steps = steps_of(toys)
    steps["twin"] = {"stage": "halves", "numbers": "count", "marks": str(toys.marks.folder)}
    recorder = run(toys, steps)
    assert len(recorder.done) == len(set(recorder.done)) == 9
    assert len({step for step, _ in recorder.done} & {"half", "twin"}) == 1
    assert {summary.step: summary.units for summary in recorder.summaries} == dict.fromkeys(steps, 3)


def test_units_that_a_starving_phase_waits_for_come_first(toys: Toys) -> None:
    """`quarter` is the last step, but while GPUs starve whose next work follows `count`, `count` leads."""
    steps = steps_of(toys)
    steps["pictures"] = {"stage": "halves", "numbers": "count", "divisor": 3, "gpus": 1, "shards": [1, 2]}
    schedule = Schedule(engine_of(toys, steps).steps, Recorder())
    schedule.open()

    def on_gpu(phase: OpenPhase) -> bool:
        return phase.phase.resources.gpus == 1

    def take(feeding: Any = None) -> str:
        job = schedule.take(lambda phase: not on_gpu(phase), feeding)
        assert job is not None
        for outcome in LocalExecutor()._outcomes(job):
            schedule.settle(job, outcome)
        return job.phase.spec.step

    assert [take(), take()] == ["count", "half"]
    assert schedule.take(on_gpu) is None
    assert take(on_gpu) == "count"  # of the second shard, which `pictures` waits for; `quarter` is ready too
    assert take() == "quarter"
    assert {phase.spec.step for phase in schedule.open_phases()} == {"count", "half", "quarter", "pictures"}
    job = schedule.take(on_gpu)
    assert job is not None
    assert (job.phase.spec.step, job.unit) == ("pictures", UNITS[1])


def test_what_incomplete_steps_ask_for_is_told(toys: Toys) -> None:
    run(toys, {"count": steps_of(toys)["count"]})
    schedule = Schedule(engine_of(toys, steps_of(toys)).steps, Recorder())
    schedule.open()
    assert [needs.step for needs in schedule.needs()] == ["half", "quarter"]


class Shuffled(LocalExecutor):
    """Takes units when it likes, holds some back, and so checks that what each reads is there."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def run(self, queue: WorkQueue) -> Generator[tuple[Job, Outcome], None, None]:
        held: list[Job] = []
        while queue.ready or held:
            while queue.ready and (not held or self.random.random() < 0.5):
                job = queue.take(lambda phase: self.random.random() < 0.7)
                if job is not None:
                    held.append(job)
            job = held.pop(self.random.randrange(len(held)))
            # An ArtifactError, if what it reads were missing.
            yield from ((job, outcome) for outcome in self._outcomes(job))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), total=st.booleans(), together=st.integers(1, 3))
def test_whatever_the_order_nothing_is_made_before_what_it_reads(
    toys: Toys, tmp_path_factory: pytest.TempPathFactory, seed: int, total: bool, together: int
) -> None:
    toys.workspace = str(tmp_path_factory.mktemp("shuffled"))
    steps = steps_of(toys, total=total)
    steps["half"]["together"] = together
    recorder = run(toys, steps, Shuffled(seed))
    assert recorder.failed == []
    assert len(set(recorder.done)) == len(recorder.done) == (13 if total else 9)
    assert len(recorder.summaries) == (4 if total else 3)


class Noting(LocalExecutor):
    """Notes which units are handed out together."""

    def __init__(self) -> None:
        self.handed: list[tuple[str, ...]] = []

    def _outcomes(self, job: Job) -> Sequence[Outcome]:
        self.handed.append(job.units)
        return super()._outcomes(job)


def bundled(toys: Toys, together: int, shards: int) -> dict[str, Any]:
    steps = steps_of(toys)
    steps["count"]["shards"] = shards
    steps["half"] |= {"shards": list(range(shards)), "together": together}
    return {name: steps[name] for name in ("count", "half")}


def test_what_is_made_together_is_handed_out_together(toys: Toys) -> None:
    steps, units = bundled(toys, 2, 5), [f"all/{number:06d}" for number in range(5)]
    run(toys, {"count": steps["count"]})
    executor = Noting()
    recorder = run(toys, steps, executor)
    assert executor.handed == [(units[0], units[1]), (units[2], units[3]), (units[4],)]
    assert recorder.done == [("half", unit) for unit in units]


def test_only_what_is_missing_of_a_bundle_is_made(toys: Toys) -> None:
    run(toys, bundled(toys, 1, 3))
    half = Workspace.open(toys.workspace).artifact(engine_of(toys, bundled(toys, 3, 3)).steps[1].spec.artifact)
    made = {unit: half.read(unit) for unit in UNITS}
    for unit in UNITS[1:]:
        half.store.delete(f"{half.name}/_commits/{unit}.json")
    executor = Noting()
    recorder = run(toys, bundled(toys, 3, 3), executor)
    assert executor.handed == [(UNITS[1], UNITS[2])]
    assert recorder.done == [("half", UNITS[1]), ("half", UNITS[2])]
    assert {unit: half.read(unit) for unit in UNITS} == made


def test_every_unit_of_a_bundle_that_fails_is_told(toys: Toys) -> None:
    steps = bundled(toys, 2, 3)
    run(toys, {"count": steps["count"]})
    toys.marks.set("fail", UNITS[1], 1)
    recorder = Recorder()
    with pytest.raises(IncompleteError, match="2 of 3 units failed: all/000000: ValueError: told to fail"):
        engine_of(toys, steps).run(LocalExecutor(), recorder)
    assert recorder.done == [("half", UNITS[2])]
    assert sorted(run(toys, steps).done) == [("half", UNITS[0]), ("half", UNITS[1])]
