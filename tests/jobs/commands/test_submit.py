"""`sppnet submit` as a person types it; what it does on a cluster is in `tests/e2e`."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.recipes import find_recipe
from tests.support.in_process import sppnet


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--address: submit needs a cluster; give the URL of the head's dashboard, such as http://HOST:8265"),
        (("--address", "head:6379"), "--address head:6379: submit takes a URL; give the URL of the head's dashboard"),
        (("--address", "http://127.0.0.1:1"), "no Ray at http://127.0.0.1:1: Connection refused; check the address"),
        (
            ("--address", "http://127.0.0.1:1", "--stop", "--no-wait"),
            "--stop waits for the job's end: leave out --no-wait",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    outcome = sppnet("submit", "demo", "--workspace", tmp_path / "ws", *options)
    assert outcome.code == 2
    assert len(outcome.lines) == 1
    assert outcome.json["error"].startswith(said)
    assert not (tmp_path / "ws").exists()


def test_the_address_may_come_from_rays_own_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    outcome = sppnet("submit", "demo", "--workspace", tmp_path / "ws")
    assert outcome.json["error"].startswith("no Ray at http://127.0.0.1:1: Connection refused")


def test_a_recipe_may_be_a_uri() -> None:
    assert find_recipe("s3://bucket/some/recipe.yaml") == "s3://bucket/some/recipe.yaml"
