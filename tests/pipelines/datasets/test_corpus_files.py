"""A corpus's files: folders, globs, braces and lists; what is passed over, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipelines.datasets.corpus_files import CorpusFiles, absolute, common_root, find_corpus, path_below, place_of
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError

NAMES = ("a.jpg", "day 1/b.PNG", "day 1/deep/c.jpeg", "day 2/d.jpg", "day 2/notes.txt", ".cache/x.jpg", "x[1].jpg")
TARS = ("tars/t-0.tar", "tars/t-1.tar", "tars/deep/t-2.tar", "tars/labels.json")


@pytest.fixture(params=["disk", "object store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same files in a folder and in an object store."""
    place = str(tmp_path) if request.param == "disk" else f"memory://corpus-files/{tmp_path.name}"
    store = open_store(place)
    for name in (*NAMES, *TARS):
        store.put(name, name.encode())
    return place


def names(found: CorpusFiles) -> tuple[list[str], list[str]]:
    return sorted(found.images), [tar.given for tar in found.tars]


@pytest.mark.parametrize(
    ("paths", "images", "tars"),
    [
        ((), ["a.jpg", "day 1/b.PNG", "day 1/deep/c.jpeg", "day 2/d.jpg", "x[1].jpg"], []),
        (("day 1",), ["day 1/b.PNG", "day 1/deep/c.jpeg"], []),
        (("day 1/", "a.jpg"), ["a.jpg", "day 1/b.PNG", "day 1/deep/c.jpeg"], []),
        (("day {1,2}",), ["day 1/b.PNG", "day 1/deep/c.jpeg", "day 2/d.jpg"], []),
        (("day*",), ["day 1/b.PNG", "day 1/deep/c.jpeg", "day 2/d.jpg"], []),
        (("*.jpg",), ["a.jpg", "x[1].jpg"], []),
        (("**/*.jpg",), ["a.jpg", "day 2/d.jpg", "x[1].jpg"], []),
        (("*/?.jpg",), ["day 2/d.jpg"], []),
        (("**/[!a-c].jpg",), ["day 2/d.jpg"], []),
        (("x[1].jpg",), ["x[1].jpg"], []),
        (("tars",), [], ["tars/deep/t-2.tar", "tars/t-0.tar", "tars/t-1.tar"]),
        (("tars/*.tar",), [], ["tars/t-0.tar", "tars/t-1.tar"]),
        (("tars/t-1.tar", "tars/t-{0..1}.tar"), [], ["tars/t-1.tar", "tars/t-0.tar"]),
        (("day 2", "tars/**"), ["day 2/d.jpg"], ["tars/deep/t-2.tar", "tars/t-0.tar", "tars/t-1.tar"]),
    ],
)
def test_what_is_named(root: str, paths: tuple[str, ...], images: list[str], tars: list[str]) -> None:
    found = find_corpus(paths, root)
    assert names(found) == (images, tars)
    assert [found.images[name].read() for name in images] == [name.encode() for name in images]
    assert [tar.read() for tar in found.tars] == [tar.encode() for tar in tars]
    assert [found.images[name].place for name in images] == images


def test_a_list_is_taken_literally(root: str) -> None:
    store = open_store(root)
    store.put("lists/all.txt", b"../day 2\n\n../x[1].jpg\r\n../tars/t-1.tar\n" + f"{root}/a.jpg\n".encode())
    assert names(find_corpus(["@lists/all.txt"], root)) == (["a.jpg", "day 2/d.jpg", "x[1].jpg"], ["tars/t-1.tar"])
    store.put("lists/stars.txt", b"../*.jpg\n..\\a.jpg\n")
    found = find_corpus(["@lists/stars.txt"], root).images
    assert {name: file.trouble for name, file in found.items()} == {"*.jpg": "is not there", "a.jpg": ""}
    store.put("lists/tars.txt", b"../*.tar\n")
    with pytest.raises(ConfigError, match=r"/\*.tar does not exist$"):
        find_corpus(["@lists/tars.txt"], root)
    store.put("lists/none.txt", b"\n")
    with pytest.raises(ConfigError, match=r"^list .*/lists/none.txt names no files$"):
        find_corpus(["@lists/none.txt"], root)
    store.put("lists/binary.txt", b"a.jpg\ncaf\xe9.jpg")
    with pytest.raises(ConfigError, match=r"^list .*/lists/binary.txt: line 2: byte 0xe9 is not UTF-8"):
        find_corpus(["@lists/binary.txt"], root)
    with pytest.raises(ConfigError, match=r"^list .*does not exist|^list .* can't be read: No such file"):
        find_corpus(["@lists/gone.txt"], root)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "{root}/nowhere "),
        ("b.jpg", "{root}/b.jpg does not exist"),
        ("*.webp", "no image and no tar matches {root}/*.webp"),
        ("day 2/*.t?t", "no image and no tar matches {root}/day 2/*.t?t, only files such as notes.txt"),
        ("day 2/notes.txt", "{root}/day 2/notes.txt is neither an image nor a tar by its extension, and no folder"),
        ("t-{0..", "t-{{0..: braces that do not close"),
        ("s3:/bucket/x", "s3:/bucket/x: two slashes are needed: s3://bucket/x"),
        ("/elsewhere/x.jpg", None),
    ],
)
def test_what_is_refused(root: str, path: str, message: str | None, tmp_path: Path) -> None:
    if message is None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "x.jpg").write_bytes(b"")
        path, root, message = str(tmp_path / "other" / "x.jpg"), f"{tmp_path}/day 1", "{path} is not below {root}"
    with pytest.raises(ConfigError) as caught:
        find_corpus([path], root)
    assert str(caught.value).startswith(message.format(root=root, path=path)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_tars_beside_images_are_told_of(root: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        find_corpus((), root)
    assert caplog.messages == [f"{root}: holds images; 3 tars are passed over, name them to take them too"]


def test_images_without_a_common_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"here")
    open_store("memory://far/away").put("b.jpg", b"there")
    paths = [f"{tmp_path}/a.jpg", "memory://far/away"]
    assert common_root(paths) == ""
    found = find_corpus(paths, "")
    assert sorted(found.images) == [f"file{tmp_path}/a.jpg", "memory/far/away/b.jpg"]
    for path, file in found.images.items():
        folder, name = place_of("", path)
        assert open_store(folder).read(name) == file.read()


@pytest.mark.parametrize(
    ("paths", "root"),
    [
        (["/data/photos"], "/data/photos"),
        (["/data/photos/"], "/data/photos"),
        (["/data/photos/*.jpg"], "/data/photos"),
        (["/data/photos/**/*.jpg", "/data/tars/{0..3}.tar"], "/data"),
        (["/data/photos/a.jpg"], "/data/photos"),
        (["/data/{a,b}/c"], "/data"),
        (["/a", "/b"], "/"),
        (["s3://bucket/a", "s3://bucket/ab"], "s3://bucket"),
        (["s3://bucket"], "s3://bucket"),
        (["s3://one/a", "s3://two/a"], ""),
        (["s3://one/a", "/a"], ""),
    ],
)
def test_the_folder_that_all_lies_in(paths: list[str], root: str) -> None:
    assert common_root(paths) == root


def test_paths_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("photos/../p/") == f"{tmp_path}/p"
    assert absolute("p", "s3://b/c/") == "s3://b/c/p"
    assert absolute("s3://b/c/") == "s3://b/c"
    assert absolute("~/p") == str(Path("~/p").expanduser())
    assert path_below("/", "/a/b.jpg") == "a/b.jpg"


def test_many_files_are_found_with_few_listings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of files in forty folders: not forty listings, and not one of everything."""
    paths = [f"{tmp_path}/set/{number % 2}/{number:02d}/i.jpg" for number in range(40)]
    for path in paths:
        Path(path).parent.mkdir(parents=True)
        Path(path).write_bytes(b"")
    listed: list[str] = []
    real = type(open_store(str(tmp_path))).survey

    def counted(store: object, prefix: str = "") -> object:
        listed.append(f"{store.uri}/{prefix}")  # type: ignore[attr-defined]
        return real(store, prefix)  # type: ignore[arg-type]

    monkeypatch.setattr(type(open_store(str(tmp_path))), "survey", counted)
    assert len(find_corpus(paths, str(tmp_path)).images) == 40
    assert listed == [f"{tmp_path}/set/0/", f"{tmp_path}/set/1/"]
    with pytest.raises(ConfigError, match=r"set/9/i\.jpg does not exist"):
        find_corpus([*paths, f"{tmp_path}/set/9/i.jpg"], str(tmp_path))
