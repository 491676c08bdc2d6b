"""The token that a cluster asks for: where this process has it from, and which of three things is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

from sppnet.errors import ConfigError

_WAYS = "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH for a file that holds it"


def auth_token() -> str | None:
    """Return the token that this process shows to a cluster, as Ray itself finds it; None for none.

    Raises:
        ConfigError: A token is asked for by the environment and is not there.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "disabled":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    told = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(told).expanduser() if told else Path.home() / ".ray" / "auth_token"
    if told or path.is_file():
        return _read(path)
    if mode == "token":
        raise ConfigError(f"RAY_AUTH_MODE is token, but there is no token: set {_WAYS}")
    return None


def _read(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"the token's file {path} can't be read: {why}; set {_WAYS}") from error
    if not token:
        raise ConfigError(f"the token's file {path} is empty; set {_WAYS}")
    return token


def refused(address: str, token: str | None) -> ConfigError:
    """Make the error for a cluster that does not let in who showed `token`."""
    if token is not None:
        return ConfigError(f"Ray at {address} refuses the token: it is not that of its head; set {_WAYS}")
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return ConfigError(
            f"Ray at {address} asks for a token, but RAY_AUTH_MODE is disabled here: set it to token, and {_WAYS}"
        )
    return ConfigError(f"Ray at {address} asks for a token, and none is set here: set RAY_AUTH_MODE=token and {_WAYS}")
