"""The token is found where Ray finds it, and what is wrong with it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.executors.ray_token import auth_token
from sppnet.errors import ConfigError


@pytest.fixture
def home(clean: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    clean.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_variable_comes_before_the_file_and_the_file_before_the_home_folder(
    clean: pytest.MonkeyPatch, home: Path
) -> None:
    assert auth_token() is None
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("of-home\n")
    assert auth_token() == "of-home"
    (home / "other").write_text("of-file\n")
    clean.setenv("RAY_AUTH_TOKEN_PATH", "~/other")
    assert auth_token() == "of-file"
    clean.setenv("RAY_AUTH_TOKEN", "of-variable")
    assert auth_token() == "of-variable"
    clean.setenv("RAY_AUTH_MODE", "Disabled")
    assert auth_token() is None


@pytest.mark.parametrize(("content", "why"), [(None, "can't be read: No such file or directory"), (" \n", "is empty")])
def test_a_file_without_a_token_is_told(clean: pytest.MonkeyPatch, home: Path, content: str | None, why: str) -> None:
    path = home / "token"
    if content is not None:
        path.write_text(content)
    clean.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    with pytest.raises(ConfigError) as caught:
        auth_token()
    assert str(caught.value) == (
        f"the token's file {path} {why}; set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH for a file that holds it"
    )


def test_the_mode_without_a_token_is_told(clean: pytest.MonkeyPatch, home: Path) -> None:
    clean.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ConfigError, match=r"^RAY_AUTH_MODE is token, but there is no token: set RAY_AUTH_TOKEN, or"):
        auth_token()
