from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from pipelines.engine.codec import decode, encode
from pipelines.engine.commits import Commit, Quarantined
from pipelines.engine.executor import UnitFailure
from pipelines.engine.ledger import StepSummary, check_quarantine, wall_seconds
from pipelines.engine.store import LocalStore, open_store
from pipelines.executors.local import LocalExecutor
from sppnet.errors import ArtifactError, ConfigError, IncompleteError, TooManyQuarantinedError
from tests.support.toy_fixtures import Toys

UNITS = tuple(f"all/{i:06d}" for i in range(4))


def folders(toys: Toys) -> set[str]:
    return {entry.name.split("/")[0] for entry in open_store(toys.workspace).list()}


def attempts(toys: Toys, **fields: Any) -> dict[str, str]:
    artifact = toys.powers(**fields)
    return {unit: artifact.commit(unit).attempt for unit in artifact.committed()}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every call to the store from now on."""
    made: list[tuple[str, str]] = []

    def recorded(method: str, real: Any) -> Any:
        def record(store: LocalStore, name: str = "", *rest: Any) -> Any:
            made.append((method, name))
            return real(store, name, *rest)

        return record

    for method in ("read", "put", "create", "list", "delete", "exists"):
        monkeypatch.setattr(LocalStore, method, recorded(method, getattr(LocalStore, method)))
    return made


def test_a_recipe_runs_end_to_end(toys: Toys) -> None:
    recorder = toys.run(LocalExecutor(), power=2)
    assert recorder.started == [("count", 3, 3), ("raise", 4, 4)]
    assert recorder.done == [
        *(("count", unit) for unit in UNITS[:3]),
        *(("raise", u) for u in (*UNITS[:3], "sum/0_1_2")),
    ]
    artifact = toys.powers()
    assert json.loads(artifact.read("all/000002")) == {"8": 64, "9": 81, "10": 100, "11": 121}
    assert json.loads(artifact.read("sum/0_1_2")) == sum(n * n for n in range(12))
    described = json.loads(artifact.store.read(f"{artifact.name}/artifact.json"))
    assert described == {
        "stage": "powers",
        "schema": 1,
        "config": {"power": 2, "refuse": 0},
        "inputs": {"numbers": [recorder.summaries[0].artifact]},
        "external": {},
        "seed": 0,
    }


def test_a_second_run_makes_nothing_and_lists_once_a_step(toys: Toys, calls: list[tuple[str, str]]) -> None:
    first = toys.run(LocalExecutor())
    calls.clear()
    second = toys.run(LocalExecutor())
    assert second.started == [("count", 0, 3), ("raise", 0, 4)]
    assert second.done == []
    assert second.summaries == first.summaries
    counted = Counter(method for method, _ in calls)
    assert [name for method, name in calls if method == "list"] == [s.artifact for s in first.summaries]
    assert counted["put"] == counted["delete"] == 1  # the probe
    assert counted["create"] == 3  # the workspace's format, and what each artifact is made from
    version, *reads = [name for method, name in calls if method == "read"]
    assert version == "workspace.json"
    assert [name.split("/")[1] for name in reads] == ["_summaries", "_summaries"]


def test_the_number_of_calls_of_a_second_run_does_not_grow(toys: Toys, calls: list[tuple[str, str]]) -> None:
    def second_run(shards: int) -> int:
        toys.run(LocalExecutor(), shards=shards)
        calls.clear()
        toys.run(LocalExecutor(), shards=shards)
        return len(calls)

    assert second_run(20) == second_run(2)


def test_a_semantic_change_gives_a_new_folder_beside_the_old(toys: Toys) -> None:
    toys.run(LocalExecutor(), power=2)
    before, made = folders(toys), attempts(toys)
    recorder = toys.run(LocalExecutor(), power=3)
    assert recorder.started == [("count", 0, 3), ("raise", 4, 4)]
    assert folders(toys) - before == {toys.powers(power=3).name}
    assert attempts(toys) == made


def test_a_change_upstream_changes_all_that_follows(toys: Toys) -> None:
    toys.run(LocalExecutor(), shards=3)
    recorder = toys.run(LocalExecutor(), shards=4)  # semantic for `count`, coverage for `raise`
    assert recorder.started == [("count", 4, 4), ("raise", 5, 5)]


def test_a_change_of_coverage_makes_only_the_new_units(toys: Toys) -> None:
    executor = LocalExecutor()
    few = toys.run(executor, shards=4, wanted=[0, 2])
    assert few.started[1] == ("raise", 3, 3)
    made = attempts(toys, shards=4)
    more = toys.run(executor, shards=4)
    assert more.done == [("raise", UNITS[1]), ("raise", UNITS[3]), ("raise", "sum/0_1_2_3")]
    assert attempts(toys, shards=4).items() >= made.items()
    assert few.summaries[1].artifact == more.summaries[1].artifact
    assert (few.summaries[1].keys, more.summaries[1].keys) == (8, 16)
    again = toys.run(executor, shards=4, wanted=[0, 2])
    assert again.done == []
    assert again.summaries == few.summaries


def test_a_runtime_change_makes_nothing(toys: Toys) -> None:
    toys.run(LocalExecutor())
    recorder = toys.run(LocalExecutor(), pause=0.1, cpus=4, deadline=5, max_quarantined=1)
    assert recorder.done == []


def test_the_seed_changes_only_stages_that_draw(toys: Toys) -> None:
    from pipelines.engine.planning import plan
    from pipelines.engine.recipe import parse_recipe
    from pipelines.engine.workspace import Workspace

    workspace = Workspace.open(toys.workspace)
    names = [
        [step.spec.artifact for step in plan(parse_recipe({**toys.raw(), "seed": seed}, "r"), workspace)]
        for seed in (0, 1)
    ]
    assert names[0][0] == names[1][0]
    assert names[0][1] != names[1][1]


def test_the_ledger_adds_up(toys: Toys) -> None:
    recorder = toys.run(LocalExecutor(), refuse=5, max_quarantined=0.5)
    count, powers = recorder.summaries
    assert (count.keys, count.done, count.own_quarantined, count.units) == (12, 12, 0, 3)
    assert (powers.keys, powers.done, powers.own_quarantined, powers.units) == (12, 9, 3, 4)
    assert powers.keys == powers.done + len(powers.quarantined)
    assert [(q.key, q.reason, q.stage) for q in powers.quarantined] == [
        (k, "refused", "powers") for k in ("0", "5", "10")
    ]
    assert powers.rows == 9 + 1
    assert powers.metrics == {"kept": 9, "total": sum(n * n for n in range(12) if n % 5)}
    listed = open_store(toys.workspace).list(powers.artifact)
    assert powers.bytes == sum(e.size for e in listed if e.name.split("/")[1] in ("all", "sum"))
    assert 0 <= powers.seconds <= powers.wall_seconds + 0.01
    assert decode(StepSummary, encode(powers), "summary") == powers


def test_too_many_quarantined_keys_fail_the_step(toys: Toys) -> None:
    with pytest.raises(TooManyQuarantinedError) as caught:
        toys.run(LocalExecutor(), refuse=5, max_quarantined=0.2)
    assert str(caught.value) == (
        "step raise: 3 of 12 keys quarantined (3 refused; first: 0: 0 is refused), more than max_quarantined=0.2; "
        "mend the inputs or raise steps.raise.max_quarantined"
    )
    recorder = toys.run(LocalExecutor(), refuse=5, max_quarantined=0.25)
    assert recorder.done == []


def test_keys_that_were_set_aside_before_do_not_count_against_a_step() -> None:
    lost = tuple(Quarantined(str(i), "truncated", "", "ingest") for i in range(6))
    check_quarantine(StepSummary("raise", "powers", "p-1", 1, 10, 4, 0, lost, 0, 0, 0.0, 0.0), allowed=0.05)


def test_a_failed_unit_keeps_the_finished_ones(toys: Toys) -> None:
    toys.marks.set("fail", UNITS[1], 1)
    with pytest.raises(IncompleteError) as caught:
        toys.run(LocalExecutor())
    assert str(caught.value) == (
        "step raise: 1 of 3 units failed: all/000001: ValueError: told to fail (1 tries). "
        "Finished units are kept; mend the cause and run again"
    )
    kept = attempts(toys)
    assert set(kept) == {UNITS[0], UNITS[2]}  # the next phase was not begun
    recorder = toys.run(LocalExecutor())
    assert recorder.done == [("raise", UNITS[1]), ("raise", "sum/0_1_2")]
    assert attempts(toys).items() >= kept.items()


def test_many_failures_are_told_in_one_line(toys: Toys) -> None:
    class Failing(LocalExecutor):
        def _outcomes(self, job: Any) -> list[UnitFailure]:
            return [UnitFailure(job.unit, "no", 2)]

    with pytest.raises(IncompleteError) as caught:
        toys.run(Failing(), shards=8)
    assert str(caught.value) == (
        "step count: 8 of 8 units failed: "
        + "; ".join(f"all/{i:06d}: no (2 tries)" for i in range(5))
        + "; and 3 more. Finished units are kept; mend the cause and run again"
    )


def test_a_config_error_ends_the_run(toys: Toys) -> None:
    toys.marks.set("config", UNITS[0], 1)
    with pytest.raises(ConfigError, match="can never work"):
        toys.run(LocalExecutor())


def test_altered_input_data_is_found(toys: Toys) -> None:
    toys.run(LocalExecutor())
    count = toys.engine().steps[0].spec.artifact
    store = open_store(toys.workspace)
    (data,) = (entry.name for entry in store.list(f"{count}/all") if "000001" in entry.name)
    store.delete(data)
    store.put(data, b"[4, 5, 6, 8]")
    with pytest.raises(ArtifactError, match=r"all/000001: .*000001-\w+\.json is not what was committed"):
        toys.run(LocalExecutor(), power=5)


def test_a_unit_that_is_made_again_is_summed_up_again(toys: Toys) -> None:
    toys.run(LocalExecutor())
    artifact = toys.powers()
    artifact.store.delete(f"{artifact.name}/_commits/{UNITS[1]}.json")
    recorder = toys.run(LocalExecutor())
    assert recorder.done == [("raise", UNITS[1])]
    fresh = artifact.commits([*UNITS[:3], "sum/0_1_2"])
    assert recorder.summaries[1].seconds == round(sum(commit.seconds for commit in fresh), 3)
    assert recorder.summaries[1].wall_seconds == wall_seconds(fresh)


def test_the_time_between_two_runs_is_no_work() -> None:
    def commit(seconds: float, created: float) -> Commit:
        return Commit("u", "a", None, 0, None, 0, 1, (), seconds, {}, "h", created, {})

    assert wall_seconds([]) == 0
    assert wall_seconds([commit(10, 10), commit(7, 12), commit(2, 9), commit(1, 604_801)]) == 13


def test_status_before_during_and_after(toys: Toys) -> None:
    def status() -> list[tuple[int, int | None, bool]]:
        return [(s.committed, s.total, s.summary is not None) for s in toys.engine().status()]

    assert status() == [(0, 3, False), (0, 4, False)]
    toys.marks.set("fail", UNITS[2], 1)
    with pytest.raises(IncompleteError):
        toys.run(LocalExecutor())
    assert status() == [(3, 3, True), (2, 4, False)]
    recorder = toys.run(LocalExecutor())
    assert status() == [(3, 3, True), (4, 4, True)]
    assert [s.summary for s in toys.engine().status()] == recorder.summaries


def test_a_corrupt_commit_is_reported_not_trusted(toys: Toys) -> None:
    toys.run(LocalExecutor())
    artifact = toys.powers()
    for name in (
        f"_commits/{UNITS[0]}.json",
        *(e.name.split("/", 1)[1] for e in artifact.store.list(f"{artifact.name}/_summaries")),
    ):
        artifact.store.delete(f"{artifact.name}/{name}")
    artifact.store.put(f"{artifact.name}/_commits/{UNITS[0]}.json", b"{")
    with pytest.raises(ArtifactError, match=r"_commits/all/000000\.json: not a commit"):
        toys.run(LocalExecutor())


def test_an_unwritable_workspace_ends_the_run_before_anything(toys: Toys, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    toys.workspace = str(tmp_path / "file" / "workspace")
    with pytest.raises(ConfigError, match=r"^workspace can't be written at .*: Not a directory; "):
        toys.run(LocalExecutor())


def test_a_damaged_unit_that_nothing_needs_any_more_is_said_by_status_and_run(toys: Toys) -> None:
    first = toys.run(LocalExecutor())
    numbers, powers = (toys.powers().store, first.summaries[0].artifact), toys.powers()
    store, name = numbers
    commit = store.read(f"{name}/_commits/all/000001.json")
    data = f"{name}/{json.loads(commit)['data']}"
    whole = store.read(data)
    store.delete(data)
    store.put(data, whole[1:])
    count, raised = toys.engine().status()
    assert [(one.unit, one.reason) for one in count.damaged] == [("all/000001", "size")]
    assert (count.committed, count.total, count.summary) == (3, 3, None)
    assert (raised.damaged, raised.summary) == ((), first.summaries[1])
    with pytest.raises(ArtifactError) as caught:
        toys.run(LocalExecutor())
    assert str(caught.value) == (
        f"step count: 1 unit is damaged: {name}/_commits/all/000001.json: {data} has {len(whole) - 1} bytes, "
        f"{len(whole)} were committed. Finished units are kept; take the damaged ones away (sppnet verify --repair) "
        "and run again"
    )
    store.delete(f"{name}/_commits/all/000001.json")
    assert toys.run(LocalExecutor()).done == [("count", "all/000001")]
    assert powers.committed() == {"all/000000", "all/000001", "all/000002", "sum/0_1_2"}


def test_all_that_can_be_made_without_what_is_damaged_is_made(toys: Toys) -> None:
    toys.run(LocalExecutor(), shards=4, wanted=[0])
    store = toys.powers().store
    (entry,) = [entry for entry in store.list() if "/all/000003-" in entry.name]
    store.delete(entry.name)
    with pytest.raises(ArtifactError, match=r"step count: 1 unit is damaged: .*000003.* is missing"):
        toys.run(LocalExecutor(), shards=4, wanted=[0, 1, 2])
    assert toys.powers(4).committed() >= {"all/000000", "all/000001", "all/000002"}


def test_a_commit_that_cannot_be_read_is_damage_to_status(toys: Toys) -> None:
    toys.run(LocalExecutor())
    powers = toys.powers()
    for entry in powers.store.list(f"{powers.name}/_summaries"):
        powers.store.delete(entry.name)
    name = powers.commit_name("all/000000")
    powers.store.delete(name)
    powers.store.put(name, b"{")
    _, raised = toys.engine().status()
    assert [(one.unit, one.reason) for one in raised.damaged] == [("all/000000", "not-a-commit")]
