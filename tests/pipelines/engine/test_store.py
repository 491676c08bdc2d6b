"""The store's promises, kept by a local folder and by a real S3 server alike."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.engine.store import LocalStore, ObjectStore, Store, is_remote, open_store
from sppnet.errors import ArtifactError, ConfigError, UnreadableError
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[3]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("s3") if request.param == "s3" else str(tmp_path / "store")


@pytest.fixture
def store(uri: str) -> Store:
    return open_store(uri)


def names(store: Store, prefix: str = "") -> list[str]:
    return [entry.name for entry in store.list(prefix)]


def test_what_is_put_is_read_and_listed(store: Store) -> None:
    start = time.time()
    store.put("maps-1/s0688/train/000000-a.parquet", b"\x00\xff" * 1000)
    store.put("maps-1/_commits/train/000000.json", b"{}")
    assert store.read("maps-1/s0688/train/000000-a.parquet") == b"\x00\xff" * 1000
    assert store.read("maps-1/_commits/train/000000.json") == b"{}"
    entries = store.list("maps-1")
    assert [(e.name, e.size) for e in entries] == [
        ("maps-1/_commits/train/000000.json", 2),
        ("maps-1/s0688/train/000000-a.parquet", 2000),
    ]
    assert all(abs(entry.modified - start) < 60 for entry in entries)
    store.put("maps-1/_commits/train/000000.json", b"[]")  # of equal size
    same = [new.stamp == old.stamp for new, old in zip(store.list("maps-1"), entries, strict=True)]
    assert same == [False, True]
    assert store.exists("maps-1/_commits/train/000000.json")
    assert not store.exists("maps-1/_commits/train/00000")
    assert not store.exists("maps-1/_commits")


def test_a_part_of_an_object_is_read(store: Store) -> None:
    store.put("a/data.bin", bytes(range(200)))
    assert store.read_range("a/data.bin", 0, 3) == b"\x00\x01\x02"
    assert store.read_range("a/data.bin", 150, 20) == bytes(range(150, 170))
    assert store.read_range("a/data.bin", 190, 20) == bytes(range(190, 200))
    assert store.read_range("a/data.bin", 5, 0) == b""
    with pytest.raises(ArtifactError, match=r"a/none.bin does not exist"):
        store.read_range("a/none.bin", 0, 3)


def test_a_file_is_published_whole(store: Store, tmp_path: Path) -> None:
    """Over what is there, and in parts if it is large."""
    store.put("a/one.bin", b"before")
    for size in (0, 3, 120 * 1024 * 1024 if isinstance(store, ObjectStore) else 1000):
        body = bytes(range(256)) * (size // 256) + bytes(size % 256)
        (tmp_path / "file").write_bytes(body)
        store.put_file("a/one.bin", tmp_path / "file")
        assert store.read("a/one.bin") == body
    assert [entry.name for entry in store.list("a")] == ["a/one.bin"]


def test_a_listing_takes_a_folder_not_a_prefix_of_names(store: Store) -> None:
    for name in ("a/_commits/1.json", "a/_commits-old/1.json", "ab/1.json"):
        store.put(name, b"1")
    assert names(store, "a") == ["a/_commits-old/1.json", "a/_commits/1.json"]
    assert names(store, "a/_commits") == ["a/_commits/1.json"]
    assert names(store) == ["a/_commits-old/1.json", "a/_commits/1.json", "ab/1.json"]
    assert names(store, "nowhere") == []


@pytest.mark.parametrize("name", ["a name/with  spaces.json", "a+b/50%/c#d?.json", "grün/ñ.txt"])
def test_names_survive_as_they_are(store: Store, name: str) -> None:
    assert store.create(name, b"first")
    assert not store.create(name, b"second")
    assert names(store) == [name]
    assert store.read(name) == b"first"
    store.delete(name)
    assert names(store) == []


def test_an_empty_object_is_an_object(store: Store) -> None:
    store.put("empty", b"")
    assert store.read("empty") == b""
    assert [(e.name, e.size) for e in store.list()] == [("empty", 0)]


def test_an_object_of_more_bytes_than_may_be_is_refused(store: Store) -> None:
    store.put("a", b"12345")
    assert store.read("a", 5) == b"12345"
    with pytest.raises(UnreadableError, match=r"/a has 5 bytes, the limit is 4$") as caught:
        store.read("a", 4)
    assert caught.value.reason == "file-too-large"


def test_delete_removes_one_and_forgives_none(store: Store) -> None:
    store.put("a/1", b"1")
    store.put("a/2", b"2")
    store.delete("a/1")
    store.delete("a/1")
    assert names(store) == ["a/2"]


@pytest.mark.parametrize("name", ["nothing", "nothing/here.json"])
def test_a_missing_object_is_an_artifact_error_with_its_name(store: Store, name: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        store.read(name)
    assert str(caught.value) == f"{store.uri}/{name} does not exist"


def test_eight_threads_create_and_one_wins(store: Store) -> None:
    barrier = threading.Barrier(8)

    def attempt(number: int) -> bool:
        barrier.wait()
        return store.create("race.json", str(number).encode())

    for _ in range(2):
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(attempt, range(8)))
        assert won.count(True) == 1
        assert store.read("race.json") == str(won.index(True)).encode()
        store.delete("race.json")


def create_in_process(store: Store, number: int, barrier: object, results: object) -> None:
    barrier.wait()
    results.put((number, [store.create(f"race-{i}", str(number).encode()) for i in range(5)]))


def test_four_processes_create_and_one_wins(store: Store) -> None:
    barrier, results = SPAWN.Barrier(4), SPAWN.Queue()
    processes = [SPAWN.Process(target=create_in_process, args=(store, i, barrier, results)) for i in range(4)]
    for process in processes:
        process.start()
    won = dict(results.get(timeout=PATIENCE) for _ in processes)
    for process in processes:
        process.join()
    for i in range(5):
        winners = [number for number in won if won[number][i]]
        assert len(winners) == 1
        assert store.read(f"race-{i}") == str(winners[0]).encode()


def put_in_process(store: Store, name: str) -> None:
    store.put(name, b"there")


def test_a_listing_shows_what_another_process_wrote(store: Store) -> None:
    store.put("a/1", b"here")
    assert names(store, "a") == ["a/1"]
    assert not store.exists("a/2")
    process = SPAWN.Process(target=put_in_process, args=(store, "a/2"))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert names(store, "a") == ["a/1", "a/2"]
    assert store.exists("a/2")
    assert store.read("a/2") == b"there"


def test_a_store_works_after_a_fork(store: Store) -> None:
    store.put("a", b"parent")  # s3fs has its thread now
    process = multiprocessing.get_context("fork").Process(target=put_in_process, args=(store, "b"))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert names(store) == ["a", "b"]


WRITER = """
import itertools, os, sys
from pipelines.engine.store import open_store
store, size = open_store(sys.argv[1]), int(sys.argv[2])
data = os.urandom(1) * size
print("ready", flush=True)
for i in itertools.count():
    store.put(f"big/{i}", data)
    print(i, flush=True)
"""


@pytest.mark.parametrize("part", [0.02, 0.3, 0.8])
def test_a_writer_killed_in_a_put_leaves_no_torn_object(store: Store, part: float) -> None:
    # Above 2 x 50 MiB s3fs writes in parts.
    size, put_seconds = (30_000_000, 0.1) if isinstance(store, LocalStore) else (110_000_000, 1.5)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, store.uri, str(size)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert writer.stdout.readline() == "ready\n"
    time.sleep(part * put_seconds)
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged = len(writer.stdout.read().splitlines())
    writer.wait()
    entries = store.list("big")
    assert all(entry.size == size for entry in entries)
    assert len(entries) - acknowledged in (0, 1)  # one may have been through, its answer not
    for entry in entries[:2]:
        data = store.read(entry.name)
        assert len(data) == size
        assert data.count(data[:1]) == size


def test_a_pickle_carries_the_uri_and_no_secret(store: Store) -> None:
    store.put("a", b"1")
    pickled = pickle.dumps(store)
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        if name in os.environ:
            assert os.environ[name].encode() not in pickled
    again = pickle.loads(pickled)  # noqa: S301  # our own
    assert type(again) is type(store)
    assert again.read("a") == b"1"
    assert repr(store) == f"Store({store.uri})"


# -- the local folder alone


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """Nothing waits for a pipe's writer, and nothing reads a device without an end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"here")
    (tmp_path / "link").symlink_to("file")
    store = LocalStore(tmp_path)
    assert store.read("link") == b"here"
    odd = (
        ("pipe", "not-a-file", "a pipe"),
        ("zero", "not-a-file", "a device"),
        ("self", "unreadable", "can't be read"),
    )
    for name, reason, told in odd:
        with pytest.raises(UnreadableError, match=f"/{name} .*{told}") as caught:
            store.read(name)
        assert caught.value.reason == reason
        with pytest.raises(UnreadableError):
            store.read_range(name, 0, 4)
    for name in ("folder", "none", "nul\0", "file/deep"):
        with pytest.raises(ArtifactError, match="does not exist"):
            store.read(name)
    with pytest.raises(UnreadableError, match="File name too long"):
        store.read("x" * 300)


def test_local_creates_leave_nothing_aside(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a/1", b"1")
    store.create("a/2", b"1")
    store.create("a/2", b"2")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["1", "2"]


def test_local_listing_hides_what_is_being_written(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a/1", b"1")
    (tmp_path / "a" / ".2.0123.tmp").write_bytes(b"to")
    assert names(store) == ["a/1"]


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/out"])
def test_local_names_stay_inside(tmp_path: Path, name: str) -> None:
    store = LocalStore(tmp_path / "in")
    for action in (lambda: store.put(name, b""), lambda: store.create(name, b""), lambda: store.read(name)):
        with pytest.raises(ConfigError, match="leaves the store"):
            action()
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")  # the tests may run as root, who may write anywhere but below a file
    store = LocalStore(tmp_path / "file" / "workspace")
    for action in (store.put, store.create):
        with pytest.raises(ConfigError) as caught:
            action("runs/a", b"")
        assert str(caught.value) == (
            f"workspace can't be written at {tmp_path}/file/workspace/runs/a: Not a directory; "
            "check its rights or choose another"
        )
    assert names(store) == []


def test_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"the disk is full; free space and run again, finished shards are kept$"):
        LocalStore(tmp_path).put("a/1", b"1")
    assert list((tmp_path / "a").iterdir()) == []


def test_file_uris_are_folders(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/w")
    assert isinstance(store, LocalStore)
    assert store.uri == f"{tmp_path}/w"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "the workspace is empty: give a folder or s3://bucket/prefix"),
        ("s3://", "workspace s3://: names no bucket; give s3://bucket/prefix"),
        (
            "nosuch://bucket/x",
            r"workspace nosuch://bucket/x: no file system for nosuch:// \(Protocol not known: nosuch\)",
        ),
        ("s3:/bucket/x", "s3:/bucket/x: two slashes are needed: s3://bucket/x"),
    ],
)
def test_uris_that_name_no_store(uri: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        open_store(uri)


def test_a_path_may_have_colons(tmp_path: Path) -> None:
    for path, remote in ((f"{tmp_path}/a:/b", False), ("a:b", False), ("file:///a", False), ("s3://a/b", True)):
        assert is_remote(path) is remote


def test_a_put_that_was_cut_off_is_found_and_discarded(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a/whole.json", b"{}")
    left = tmp_path / "a" / f".cut.json.{'0123456789abcdef' * 2}.tmp"
    left.write_bytes(b"half")
    (tmp_path / "a" / ".other.tmp").write_bytes(b"somebody's")
    (found,) = store.leftovers()
    assert (found.name, found.size, found.upload) == (left.relative_to(tmp_path).as_posix(), 4, "")
    assert found.modified == pytest.approx(left.stat().st_mtime)
    store.discard(found)
    store.discard(found)
    assert not left.exists()
    assert store.leftovers() == []
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".other.tmp", "whole.json"]


def test_one_object_is_looked_up_by_its_whole_name(store: Store) -> None:
    store.put("a/b.json", b"123")
    store.put("a/b.json.more/c", b"1")
    entry = store.entry("a/b.json")
    assert entry is not None
    assert (entry.name, entry.size) == ("a/b.json", 3)
    assert store.entry("a/b") is None
    assert store.entry("a") is None


def test_what_may_not_be_looked_at_is_not_taken_for_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a repair would take away what a lost permission hides."""
    store = open_store(str(tmp_path))

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(ConfigError, match=r"/a/b\.json can't be read: Permission denied$"):
        store.entry("a/b.json")


def test_a_folder_goes_only_when_it_is_empty(store: Store) -> None:
    store.put("a/b/c.json", b"1")
    store.remove_folder("a")
    assert names(store) == ["a/b/c.json"]
    store.delete("a/b/c.json")
    store.remove_folder("a")
    assert names(store) == []
    if isinstance(store, LocalStore):  # some object stores keep a marker, which is no object
        assert store.folders() == ()


def test_what_may_not_be_removed_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path))
    store.put("a.json", b"1")

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ConfigError, match=r"a\.json: Permission denied; check its rights or choose another$"):
        store.delete("a.json")
