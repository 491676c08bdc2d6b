"""Files of shards appear as they are committed, are written once, and are accounted for, whatever happens."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.apply.out_folder import OutFolder
from jobs.apply.shard_files import Account, ShardFile, ShardFiles, files_of, shard_name
from jobs.run.making import make_missing
from pipelines.engine.commits import Commit
from pipelines.engine.store import LocalStore, StoreUnreachableError
from pipelines.engine.work import build_stage, run_unit
from pipelines.executors.local import LocalExecutor
from sppnet.errors import IncompleteError
from tests.support.toy_fixtures import Toys


class Writing:
    """The files of the toy step `raise`, whose shards' files hold the names of their units."""

    def __init__(self, toys: Toys, out: Path, shards: int = 4, **powers: Any) -> None:
        self.engine = toys.engine(shards, refuse=5, max_quarantined=1.0, **powers)
        self.step = self.engine.steps[1]
        self.stage = build_stage(self.step.spec)
        self.folder = OutFolder(str(out), self.engine.workspace.store, {"artifact": self.step.spec.artifact})
        units = [f"all/{number:06d}" for number in range(shards)]
        files = list(files_of(("all",), lambda _: units, lambda _, unit: f"{unit[-2:]}123456", ".txt"))
        self.encoded: list[str] = []
        self.begun = 0
        self.shards = ShardFiles("raise", self.stage, self.folder, files, encode=self.encode, before=self.begin)

    def encode(self, file: ShardFile, commit: Commit) -> bytes:
        assert file.unit == commit.unit
        self.encoded.append(commit.unit)
        return commit.unit.encode()

    def begin(self) -> None:
        self.begun += 1
        self.folder.claim({})

    def run(self, *observers: Any) -> Account:
        with self.shards as shards:
            make_missing(self.engine, LocalExecutor, Console(file=io.StringIO()), *observers, shards)
            return shards.finish()


class Told:
    """An observer that calls when units of a step are done."""

    def __init__(self, step: str, call: Callable[[str], None]) -> None:
        self._step, self._call = step, call

    def step_started(self, *_: Any) -> None: ...

    def unit_done(self, step: Any, phase: Any, commit: Commit) -> None:
        if step.name == self._step:
            self._call(commit.unit)

    def unit_failed(self, *_: Any) -> None: ...

    def step_done(self, *_: Any) -> None: ...


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def found(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((out / "all").glob("*"))}


FOUR = {f"{n:06d}-0{n}123456.txt": f"all/{n:06d}" for n in range(4)}


def test_names_tell_what_a_file_is_made_of() -> None:
    assert shard_name("all", 12, "0123456789abcdef", ".parquet") == "all/000012-01234567.parquet"
    made_of = {("a", "u"): "1" * 9, ("b", "u"): "2" * 9, ("b", "v"): "3" * 9}
    files = files_of(("a", "b"), {"a": ["u"], "b": ["u", "v"]}.__getitem__, lambda *place: made_of[place], ".x")
    assert list(files) == [
        ShardFile("u", "a", "a/000000-11111111.x"),
        ShardFile("u", "b", "b/000000-22222222.x"),
        ShardFile("v", "b", "b/000001-33333333.x"),
    ]


def test_every_shard_has_a_file_and_an_account(toys: Toys, out: Path) -> None:
    writing = Writing(toys, out)
    account = writing.run()
    assert found(out) == FOUR
    assert (writing.shards.count, writing.shards.written, writing.begun) == (4, 4, 1)
    assert (account.images, account.rows) == (12, 13)  # the sum's row too
    aside = [(shard, entry.key) for shard, entry in account.aside]
    assert aside == [("all/000000", "0"), ("all/000001", "5"), ("all/000002", "10"), ("all/000003", "15")]


def test_files_appear_while_the_run_goes_on(toys: Toys, out: Path) -> None:
    """When the last unit is done, files of earlier ones are there."""
    seen: list[int] = []
    writing = Writing(toys, out, shards=12, pause=0.05)
    writing.run(Told("raise", lambda _: seen.append(len(found(out)))))
    assert seen[0] == 0
    assert seen[11] >= 6


def test_a_command_that_was_killed_writes_what_is_missing_only(toys: Toys, out: Path) -> None:
    toys.marks.set("fail", "all/000002", 9)
    with pytest.raises(IncompleteError):
        Writing(toys, out).run()
    assert sorted(found(out).values()) == ["all/000000", "all/000001", "all/000003"]
    lost = next(path for path in (out / "all").iterdir() if path.read_text() == "all/000003")
    lost.unlink()  # as if killed before it was written
    toys.marks.set("fail", "all/000002", 0)
    again = Writing(toys, out)
    account = again.run()
    assert sorted(again.encoded) == ["all/000002", "all/000003"]
    assert found(out) == FOUR
    assert (account.images, account.rows, len(account.aside)) == (12, 13, 4)
    third = Writing(toys, out)
    assert third.run() == account
    assert (third.encoded, third.shards.written) == ([], 0)


def test_what_another_run_has_committed_is_written_too(toys: Toys, out: Path) -> None:
    writing = Writing(toys, out)

    def other(unit: str) -> None:
        if unit == "all/000003":
            for name in ("all/000001", "all/000002"):
                run_unit(writing.step.spec, name)

    writing.run(Told("count", other))
    assert found(out) == FOUR


def test_shards_that_are_no_more_lose_their_files(toys: Toys, out: Path) -> None:
    Writing(toys, out).run()
    (out / "all/000009-aaaaaaaa.txt").write_text("of a larger corpus")
    (out / "all/notes.txt").write_text("somebody's own")
    (out / "all/000001-aaaaaaaa.txt").write_text("of what the shard was")
    Writing(toys, out).run()
    assert found(out) == {**FOUR, "notes.txt": "somebody's own"}


def test_a_store_that_fails_ends_the_run_and_nothing_is_lost(
    toys: Toys, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = LocalStore.put, []

    def put(store: LocalStore, name: str, data: bytes) -> None:
        if name.startswith("all/000001") and store.uri == str(out):
            tried.append(name)
            raise StoreUnreachableError("can't write: the network is down (8 tries)")
        real(store, name, data)

    monkeypatch.setattr(LocalStore, "put", put)
    writing = Writing(toys, out, pause=0.1)
    with pytest.raises(StoreUnreachableError, match="the network is down"):
        writing.run()
    assert len(tried) == 1
    monkeypatch.setattr(LocalStore, "put", real)
    assert not list(out.rglob("*.tmp"))
    Writing(toys, out).run()
    assert found(out) == FOUR


def test_an_encoder_that_fails_ends_the_run_at_its_end(toys: Toys, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = Writing(toys, out)

    def broken(file: ShardFile, commit: Commit) -> bytes:
        raise StoreUnreachableError(f"{commit.unit} can't be read")

    monkeypatch.setattr(writing.shards, "_encode", broken)
    with pytest.raises(StoreUnreachableError, match="can't be read"):
        writing.run()
    assert not (out / "all").exists()


def test_an_interruption_waits_for_what_is_at_work_only(toys: Toys, out: Path) -> None:
    writing = Writing(toys, out)

    def interrupt(unit: str) -> None:
        if unit == "all/000001":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writing.run(Told("raise", interrupt))
    assert set(found(out)) <= {*list(FOUR)[:2]}
    Writing(toys, out).run()
    assert found(out) == FOUR


def test_one_listing_each(toys: Toys, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many shards there are: one of the results, one of the commits; and no commit is read twice."""
    Writing(toys, out, shards=30).run()
    listed, read = [], []
    real_list, real_read = LocalStore.list, LocalStore.read

    def counted_list(store: LocalStore, prefix: str = "") -> Any:
        listed.append((store.uri, prefix.rsplit("/", maxsplit=1)[-1]))
        return real_list(store, prefix)

    def counted_read(store: LocalStore, name: str) -> bytes:
        read.append(name)
        return real_read(store, name)

    writing = Writing(toys, out, shards=30)
    monkeypatch.setattr(LocalStore, "list", counted_list)
    monkeypatch.setattr(LocalStore, "read", counted_read)
    with writing.shards as shards:
        shards.finish()
    assert listed == [(str(out), "")]
    assert len([name for name in read if "_commits" in name]) == 31
