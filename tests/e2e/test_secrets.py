"""Secrets of the environment are nowhere in what a run leaves, prints or logs; what comes from data is only text."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipelines.engine import object_store
from pipelines.engine.storage_calls import Patience, without_passwords
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError
from tests.support.in_process import Bench, sppnet

CANARY = "canary5f1d8a"
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAC",
    "AWS_SECRET_ACCESS_KEY": "key",
    "AWS_SESSION_TOKEN": "session",
    "RAY_AUTH_TOKEN": "token",
    "HF_TOKEN": "hf",
    "SOME_PASSWORD": "password",
}
HOSTILE = "<script>alert(1)</script>".replace("/", "&#47;")


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, f"{value}-{CANARY}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{CANARY}@127.0.0.1:1")
    monkeypatch.setattr(object_store, "_answered", set())
    monkeypatch.setattr(object_store, "FIRST_TOUCH", Patience(1, 5.0, cut=True))
    caplog.set_level(logging.DEBUG)


def told(folder: Path, *outputs: object) -> str:
    """All that files of a folder and outputs hold; names of files too."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    texts = [f"{path}\n{path.read_bytes().decode('latin-1')}" for path in files]
    return "\n".join([*texts, *map(repr, outputs)])


def test_a_run_its_report_and_its_status(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.steps = {name: bench.steps[name] for name in ("images", "windows")}
    listed = bench.data / "ImageSets" / "Main" / "train.txt"
    listed.write_text(f"{listed.read_text()}{HOSTILE}\n")
    (bench.data / "JPEGImages" / f"{HOSTILE}.jpg").write_bytes(b"<b>no picture</b>")
    done, status = bench.run(), bench.status()
    assert (done.code, status.code) == (0, 0)
    found = told(bench.workspace, done, status, caplog.text)
    assert HOSTILE.split("(")[0] in found
    assert CANARY not in found
    (page,) = bench.workspace.rglob("report.html")
    html = page.read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


@pytest.mark.parametrize("command", ["run", "status", "verify", "submit"])
def test_a_store_that_does_not_answer(bench: Bench, caplog: pytest.LogCaptureFixture, command: str) -> None:
    uri = "s3://some-bucket/prefix"
    place = (uri,) if command == "verify" else (bench.recipe, "--workspace", uri)
    more = {"run": ("--local",), "submit": ("--address", "http://127.0.0.1:1")}.get(command, ())
    outcome = sppnet(command, *place, *more)
    assert outcome.code in (2, 3)
    assert "127.0.0.1:1" in outcome.json["error"]
    assert CANARY not in told(bench.folder, outcome, caplog.text)


@pytest.mark.parametrize("uri", [f"s3://user:{CANARY}@bucket/prefix", f"https://me:{CANARY}@host/x"])
def test_a_password_in_a_uri_is_refused_and_not_repeated(bench: Bench, uri: str) -> None:
    outcome = sppnet("run", bench.recipe, "--workspace", uri, "--local")
    assert outcome.code == 2
    assert outcome.json["error"].endswith("no password belongs in a URI; give credentials in the environment")
    assert CANARY not in told(bench.folder, outcome)
    assert open_store("memory://name@container/x").uri == "memory://name@container/x"
    with pytest.raises(ConfigError, match="no password belongs in a URI"):
        open_store(uri)


def test_urls_in_messages_lose_their_passwords() -> None:
    text = f'Could not connect to "http://user:{CANARY}@host:9/bucket" or s3://bucket/a@b'
    assert without_passwords(text) == 'Could not connect to "http://***@host:9/bucket" or s3://bucket/a@b'
