"""ingest of inputs as people have them: shards that are none, pipes and devices, pictures replaced in place."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from jobs.run.history import folder_of
from jobs.run.making import MadeRun, make_missing
from jobs.run.status import status_table
from jobs.run.summary import read_summary
from pipelines.engine.ledger import shards_missing
from pipelines.executors.local import LocalExecutor
from pipelines.shards.reading import read_images
from sppnet.errors import IncompleteError, TooManyQuarantinedError
from sppnet.images.decoding import decode_image
from tests.support.chain import Chain
from tests.support.made_tars import jpeg, write_tar


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Two tars whose keys restart, and three that are none."""
    folder = tmp_path / "tars"
    for name, grey in (("0", 10), ("1", 20)):
        write_tar(folder / f"{name}.tar", *((f"{n}.jpg", jpeg(grey + n)) for n in range(2)), ("0.cls", b"5"))
    (folder / "2.tar").write_bytes((folder / "0.tar").read_bytes()[:1500])
    write_tar(folder / "3.tar")
    os.mkfifo(folder / "4.tar")
    return folder


def ingest(root: Path, dataset: dict[str, object], **fields: object) -> Chain:
    return Chain(root, {"images": {"stage": "ingest", "dataset": dataset, **fields}}, root.parent / "ws")


def dataset(folder: Path, pattern: str = "*.tar") -> dict[str, object]:
    return {"kind": "tars", "root": str(folder), "splits": {"train": pattern}, "labelled": False}


def made(chain: Chain) -> MadeRun:
    return make_missing(chain.engine, LocalExecutor, Console(file=io.StringIO()))


@pytest.mark.parametrize("by_reference", [False, True])
def test_shards_that_are_none_are_set_aside_by_name_and_the_run_is_incomplete(tars: Path, by_reference: bool) -> None:
    chain = ingest(tars, dataset(tars, "[0123].tar"), by_reference=by_reference, max_quarantined=0.5)
    run = made(chain)
    with pytest.raises(IncompleteError, match=r"step images: 2 of 4 shards set aside: shard-broken: 2.tar: .*All else"):
        run.check()
    images = chain.artifact("images")
    done = {entry.key: entry.reason for unit in chain.shards() for entry in images.commit(unit).quarantined}
    assert done == {"2%2Etar": "shard-broken", "3%2Etar": "shard-empty"}
    keys = [key for shard in chain.manifest.shards("train") for key in shard.keys]
    assert keys == ["0%2Etar/0", "0%2Etar/1", "1%2Etar/0", "1%2Etar/1", "2%2Etar", "3%2Etar"]
    _, status = status_table(chain.engine)
    (row,) = status["steps"]
    assert (row["keys"], row["done"], row["quarantined"]) == (6, 4, 2)
    assert row["failures"]["3%2Etar"] == "shard-empty: 3.tar: holds no samples"
    folder = folder_of(chain.engine)
    assert folder is not None
    ended = read_summary(folder)
    assert ended is not None
    assert (ended.exit_code, ended.state) == (3, "failed (3)")


def test_too_many_of_them_fail_the_step(tars: Path) -> None:
    """Two of four shards are more than a fifth, though two of a hundred keys would not be."""
    for name in ("0", "1"):
        write_tar(tars / f"{name}.tar", *((f"{name}{n}.jpg", jpeg()) for n in range(30)))
    chain = ingest(tars, dataset(tars, "[0123].tar"), max_quarantined=0.2)
    with pytest.raises(
        TooManyQuarantinedError, match=r"2 of 4 shards set aside \(1 shard-broken, 1 shard-empty; first"
    ):
        chain.run()


def test_a_mended_shard_is_made_and_the_others_stay(tars: Path) -> None:
    chain = ingest(tars, dataset(tars, "[012].tar"), max_quarantined=0.5)
    before = chain.run()["images"]
    assert [entry.key for entry in before.shards_aside] == ["2%2Etar"]
    write_tar(tars / "2.tar", ("other.jpg", jpeg(1)))
    again = ingest(tars, dataset(tars, "[012].tar"), max_quarantined=0.5)
    assert again.shards()[:2] == chain.shards()[:2]
    assert shards_missing(list(again.run().values())) is None
    assert again.manifest.keys(again.shards()[2]) == ("other",)


def test_a_pipe_or_a_device_is_refused_before_it_is_read(tars: Path) -> None:
    """As an image and as a tar: named, and nothing waits for it."""
    folder = tars / "images"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg())
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "self.jpg").symlink_to("self.jpg")
    os.mkfifo(folder / "pipe.jpg")
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)
    chain = ingest(folder, {"kind": "images", "root": str(folder)}, max_quarantined=1)
    summary = chain.run()["images"]
    assert {entry.key: entry.reason for entry in summary.quarantined} == {
        "huge": "file-too-large",
        "pipe": "not-a-file",
        "self": "unreadable",
        "zero": "not-a-file",
    }
    assert summary.done == 1
    aside = ingest(tars, dataset(tars, "[04].tar"), max_quarantined=1).run()["images"].shards_aside
    assert [(entry.key, entry.reason) for entry in aside] == [("4%2Etar", "shard-unreadable")]


def test_a_tar_that_is_replaced_is_read_anew_by_the_same_process(tmp_path: Path) -> None:
    """What a process remembers of the tars that it read last is of the shards that they were then."""
    folder = tmp_path / "tars"
    for grey in (10, 20, 30):
        write_tar(folder / "0.tar", ("a.jpg", jpeg(grey)))
        chain = ingest(folder, dataset(folder), by_reference=True)
        chain.run()
        records, _ = read_images(chain.artifact("images"), chain.shards()[0])
        assert [record.data for record in records] == [jpeg(grey)]


def bmp(grey: int) -> bytes:
    """What a camera writes that gives every picture the same size."""
    sink = io.BytesIO()
    Image.new("RGB", (40, 30), (grey, grey, grey)).save(sink, "BMP")
    return sink.getvalue()


@pytest.mark.parametrize("by_reference", [False, True])
@pytest.mark.parametrize("how", ["written over", "moved into its place"])
def test_a_picture_replaced_by_one_of_equal_size_and_time_is_noticed(
    tmp_path: Path, how: str, by_reference: bool
) -> None:
    """The file system tells by the time of the file's own record, which nobody can set."""
    folder = tmp_path / "camera"
    folder.mkdir()
    first, second = folder / "cam0.bmp", folder / "cam1.bmp"
    for path in (first, second):
        path.write_bytes(bmp(90))
    times = (first.stat().st_atime_ns, first.stat().st_mtime_ns)

    def shown() -> dict[str, int]:
        chain = ingest(folder, {"kind": "images", "root": str(folder)}, by_reference=by_reference)
        chain.run()
        records, _ = read_images(chain.artifact("images"), chain.shards()[0])
        return {record.key: int(decode_image(record.data)[0, 0, 0]) for record in records}

    assert shown() == {"cam0": 90, "cam1": 90}
    wait_for_other_times(first)
    if how == "written over":
        first.write_bytes(bmp(20))
    else:
        (tmp_path / "new.bmp").write_bytes(bmp(20))
        (tmp_path / "new.bmp").rename(first)
    os.utime(first, ns=times)
    assert (first.stat().st_size, first.stat().st_mtime_ns) == (second.stat().st_size, times[1])
    assert shown() == {"cam0": 20, "cam1": 90}


def wait_for_other_times(path: Path) -> None:
    """Wait until a file that is written now has another time than this one: clocks of file systems are coarse."""
    probe = path.parent.parent / "probe"
    while not probe.exists() or probe.stat().st_ctime_ns <= path.stat().st_ctime_ns:
        probe.write_bytes(b"")
