"""Members of tars: compressed, linked, odd, damaged and hostile ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
from collections.abc import Callable

import pytest

from pipelines.artifacts import tar_members as module
from pipelines.artifacts.tar_members import Member, tar_members
from sppnet.errors import DataError


def info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "", **more: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = size, kind, link
    for field, value in more.items():
        setattr(made, field, value)
    return made


def tar_of(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as tar:
        for header, data in members:
            tar.addfile(header, io.BytesIO(data))
    return sink.getvalue()


A, B = b"a" * 700, bytes(range(256))
PLAIN = tar_of((info("n", kind=tarfile.DIRTYPE), b""), (info("n/a.jpg", 700), A), (info("b.cls", 256), B))
TWO = [Member("n/a.jpg", A), Member("b.cls", B)]


def read(data: bytes) -> list[Member]:
    return list(tar_members(data, lambda why: DataError("broken", why)))


def why(data: bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(data)
    assert caught.value.reason == "broken"
    return caught.value.detail


def odd(data: bytes) -> dict[str, str]:
    """What is said of members that can't be used."""
    return {name: found.detail for name, found in read(data) if isinstance(found, DataError)}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_bare_and_compressed(pack: Callable[[bytes], bytes]) -> None:
    assert read(pack(PLAIN)) == TWO
    assert read(pack(PLAIN) + b"trailing bytes") == TWO
    if pack is not bytes:
        assert read(pack(PLAIN[:1000]) + pack(PLAIN[1000:])) == TWO  # as pigz and pbzip2 write
        assert "have no end" in why(pack(PLAIN)[:-9])


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_formats_and_long_names(form: int) -> None:
    long = "/".join(["f" * 60] * 3) + ".jpg"
    data = tar_of((info(long, 700), A), (info("caf\udce9.jpg", 256), B), form=form)
    assert read(data) == [Member(long, A), Member("caf\udce9.jpg", B)]


def test_what_follows_the_end_is_passed_over_unless_it_is_members() -> None:
    assert read(PLAIN + bytes(5000) + b"no ustar here" * 90) == TWO
    assert "members after its end at byte" in why(PLAIN + PLAIN)
    holed = bytearray(PLAIN)
    holed[512:1024] = bytes(512)  # the header of the first file
    assert "members after its end at byte 512" in why(bytes(holed))


def test_links_give_what_they_lead_to() -> None:
    data = tar_of(
        (info("n/l.jpg", kind=tarfile.SYMTYPE, link="../a.jpg"), b""),
        *[(info("a.jpg", 700), A), (info("h.jpg", kind=tarfile.LNKTYPE, link="./a.jpg"), b"")],
        *[(info(f"{x}.jpg", kind=tarfile.SYMTYPE, link=f"{y}.jpg"), b"") for x, y in ("xy", "yx", "zz")],
        (info("out.jpg", kind=tarfile.SYMTYPE, link="/etc/passwd"), b""),
        (info("empty.jpg", kind=tarfile.SYMTYPE, link=""), b""),
    )
    good = [member for member in read(data) if isinstance(member.data, bytes)]
    assert good == [Member("n/l.jpg", A), Member("a.jpg", A), Member("h.jpg", A)]
    assert sorted(odd(data)) == ["empty.jpg", "out.jpg", "x.jpg", "y.jpg", "z.jpg"]
    assert "'out.jpg' is a link to 'etc/passwd', no file of its tar" in odd(data)["out.jpg"]


def test_what_is_no_file_is_told() -> None:
    sparse = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)}
    data = tar_of(
        *[(info("d.jpg", kind=tarfile.CHRTYPE), b""), (info("p.jpg", kind=tarfile.FIFOTYPE), b"")],
        *[(info("s.jpg", 1, pax_headers=sparse), b"x"), (info("a.jpg", 700), A)],
    )
    assert {name: told.split(" is ")[1] for name, told in odd(data).items()} == {
        "d.jpg": "a device or a pipe in its tar",
        "p.jpg": "a device or a pipe in its tar",
        "s.jpg": "a sparse file in its tar",
    }


def header(**fields: bytes) -> bytes:
    """A header with bytes of its own in some fields, and a right sum."""
    places = {"size": (124, 12), "kind": (156, 1)}
    made = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    for name, value in fields.items():
        start, length = places[name]
        made[start : start + length] = value.ljust(length, b"\0")
    made[148:156] = b" " * 8
    made[148:155] = b"%06o\0" % sum(made)
    return bytes(made)


HUGE = b"\x80\0\0\0" + b"\xff" * 8  # 2 ** 64 - 1


@pytest.mark.parametrize(
    "data",
    [
        header(size=HUGE, kind=b"L") + PLAIN,  # a long name of absurd size
        header(size=HUGE, kind=b"x") + PLAIN,
        header(size=HUGE) + PLAIN,
        header(size=b"\xff" * 12) + PLAIN,  # -1
        header(size=b"77777777777") + PLAIN,
        tar_of((info("s.jpg", 1, pax_headers={"GNU.sparse.map": "a,b", "GNU.sparse.size": "9"}), b"x")),
        tar_of((info("s.jpg", 1, pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}), b"x")),
        PLAIN[:900],
        PLAIN[:1500],
        b"",
        b"\x1f\x8b" + bytes(40),
        b"PK\x03\x04" + bytes(600),
    ],
)
def test_damage_is_one_error(data: bytes) -> None:
    assert "\n" not in why(data)


def test_bombs_are_refused_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "most_inflated", lambda size: 1 << 20)
    monkeypatch.setattr(module, "MOST_MEMBERS", 50)
    links = [(info(f"{n}.jpg", kind=tarfile.LNKTYPE, link="a.jpg"), b"") for n in range(40)]
    big = tar_of((info("a.jpg", 90_000), bytes(90_000)), *links)
    bomb = gzip.compress(bytes(64 << 20))
    tracemalloc.start()
    assert "its links give more bytes" in why(big)
    assert "inflate to more than 1048576" in why(bomb)
    assert "more than 50 members" in why(tar_of(*[(info(f"{n}.jpg"), b"") for n in range(51)]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
