"""Own parts: imported only where they are allowed, with an identity that follows their source."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from urllib.error import URLError

import pytest

from sppnet import own_parts
from sppnet.errors import ConfigError

Write = Callable[..., str]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("package.module:factory", True),
        ("m:Class.method", True),
        ("torchvision:resnet18", False),
        ("timm:resnet18", False),
        ("timm.models:resnet18", True),
        ("zf5", False),
        ("os.system", False),
        (":f", False),
        ("m:", False),
        ("m:f\n", False),
        ("m..n:f", False),
        ("../m:f", False),
        ("s3://m:f", False),
        ("m:f()", False),
    ],
)
def test_what_is_an_import_path(name: str, expected: bool) -> None:
    assert own_parts.is_import_path(name) is expected


def test_nothing_is_imported_that_is_not_allowed(own_module: Write) -> None:
    name = own_module("def f(): return 7\ndef g(): return 8\n")
    for ask in (own_parts.resolve, own_parts.allowed):
        with pytest.raises(ConfigError, match="their_parts:f names code, which is run only if the recipe"):
            ask("their_parts:f")
    assert name not in sys.modules
    part = own_parts.allow("their_parts:f")
    assert own_parts.resolve("their_parts:f")() == 7
    assert own_parts.allowed("their_parts:f") == part
    with pytest.raises(ConfigError, match="names code"):
        own_parts.resolve("their_parts:g")  # of the same module, and all the same not allowed


def test_the_identity_is_that_of_the_source(own_module: Write) -> None:
    found = []
    for text in ("def f(): return 7\n", "def f(): return 8\n", "def f(): return 7\n"):
        own_module(text)
        found.append(own_parts.allow("their_parts:f"))
        assert found[-1].identity() == {"sha256": hashlib.sha256(text.encode()).hexdigest(), "distribution": ""}
    assert found[0] == found[2] != found[1]


def test_an_installed_package_has_its_version() -> None:
    assert own_parts.allow("yaml:safe_load").distribution.startswith("PyYAML ")


def test_a_source_that_is_edited_under_a_process(own_module: Write, tmp_path: Path) -> None:
    own_module("def f(): return 7\n")
    own_parts.allow("their_parts:f")
    (tmp_path / "own" / "their_parts.py").write_text("def f(): return 8\n")
    with pytest.raises(ConfigError, match=r"their_parts\.py was edited since it was imported; begin anew"):
        own_parts.allow("their_parts:f")


def test_workers_take_what_the_run_has_and_nothing_else(own_module: Write) -> None:
    own_module("def f(): return 7\n")
    part = own_parts.allow("their_parts:f")
    own_module("def f(): return 7\n")
    own_parts.allow_same(part)
    assert own_parts.resolve("their_parts:f")() == 7
    own_module("def f(): return 8\n")
    with pytest.raises(ConfigError, match="is not here what it is where the run was started"):
        own_parts.allow_same(part)
    with pytest.raises(ConfigError, match="is not here what it is where the run was started"):
        own_parts.allow_same(replace(own_parts.allow("their_parts:f"), distribution="theirs 2"))


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("", "no_such_module:f", "can't be imported: ModuleNotFoundError: .*; install its package, or put its folder"),
        ("", "their_parts.sub:f", "module their_parts.sub can't be imported"),
        ("import no_such_library", "their_parts:f", "can't be imported: ModuleNotFoundError: No module .*library'$"),
        ("raise ValueError('of\\nthem')", "their_parts:f", "can't be imported: ValueError: of them$"),
        ("import sys; sys.exit(3)", "their_parts:f", r"can't be imported: OwnExitError: sys\.exit\(3\)$"),
        ("def f(", "their_parts:f", "can't be imported: SyntaxError: "),
        ("def fun(): ...", "their_parts:funn", "their_parts has no funn, did you mean 'fun'\\?"),
        ("f = 3", "their_parts:f", "is of type int, which can't be called"),
        ("", "sys:exit", "module sys has no file"),
        ("", "__main__:f", "workers can't import __main__"),
        ("", "their_parts", "'their_parts' is no import path"),
    ],
)
def test_what_can_not_be_had_is_one_line(own_module: Write, text: str, path: str, expected: str) -> None:
    own_module(text)
    with pytest.raises(ConfigError, match=expected) as caught:
        own_parts.allow(path)
    assert "\n" not in str(caught.value)


def test_entry_points_stand_for_import_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    group = "sppnet.architectures"
    points = [
        EntryPoint("mine", "their_parts:f", group),
        EntryPoint("both", "one:f", group),
        EntryPoint("both", "other:f", group),
    ]
    monkeypatch.setattr(own_parts, "entry_points", lambda **wanted: EntryPoints(points).select(**wanted))
    assert own_parts.entry_point_path(group, "mine") == "their_parts:f"
    assert own_parts.entry_point_path(group, "other") is None
    assert own_parts.entry_point_path("sppnet.proposals", "mine") is None
    with pytest.raises(ConfigError, match="'both' is an entry point of several packages \\(one:f, other:f\\)"):
        own_parts.entry_point_path(group, "both")


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        (MemoryError(), True),
        (TimeoutError(), True),
        (BrokenPipeError(), True),
        (OSError(errno.ENOSPC, "full"), True),
        (type("ReadTimeout", (type("Timeout", (OSError,), {}),), {})(), True),  # as requests has them
        (URLError(ConnectionRefusedError()), True),
        (URLError("unknown url type: x"), False),
        (FileNotFoundError(errno.ENOENT, "no"), False),
        (PermissionError(errno.EACCES, "no"), False),
        (KeyError("a"), False),
        (ValueError("a"), False),
    ],
)
def test_errors_that_no_image_is_to_blame_for(error: Exception, blamed: bool) -> None:
    assert own_parts.blames_machine(error) == blamed


def test_an_exit_of_its_own_is_an_error_and_a_signals_is_none() -> None:
    with pytest.raises(own_parts.OwnExitError, match=r"^sys\.exit\('no data'\)$"), own_parts.own_code():
        sys.exit("no data")

    def terminate(number: int, frame: object) -> None:
        sys.exit(number)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises(SystemExit) as caught, own_parts.own_code():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == signal.SIGTERM
