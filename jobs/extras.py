"""What the command says when a library that an extra brings is not installed."""

from __future__ import annotations

_OWN = ("sppnet", "pipelines", "jobs")


def missing_extra(error: BaseException) -> str | None:
    """Return the line that says what to install, or None if the error is another, a lost module of ours for example."""
    library = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not library or library in _OWN:
        return None
    return f"{library} is not installed; it comes with the extra: pip install 'sppnet[pipeline]'"
