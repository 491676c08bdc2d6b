"""The console and the log go to standard error."""

from __future__ import annotations

import logging

import pytest

from jobs.run.console import make_console, set_up_logging


def test_the_console_writes_brackets_as_they_are_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    make_console().print("[bold]a box[/bold] [0, 0, 5, 5) :smile:")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "[bold]a box[/bold] [0, 0, 5, 5) :smile:\n")


def test_long_lines_of_a_log_file_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    make_console().print("word " * 100)
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(("verbose", "level"), [(False, logging.WARNING), (True, logging.INFO)])
def test_verbose_tells_more(monkeypatch: pytest.MonkeyPatch, verbose: bool, level: int) -> None:
    given: list[int] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **options: given.append(options["level"]))
    set_up_logging(verbose)
    assert given == [level]
    assert logging.getLogger("botocore").level == logging.WARNING
