"""Own parts: networks, proposals and others of the user's own packages, named by import path `package.module:name`.

Importing runs code. So a path is resolved only where it was allowed before, in this process, by whoever may have code
run: the recipe that is run, a worker's orders of that run, or `allow` of `sppnet.load`. What else names one (a file of
weights, a bundle, an artifact, a recorded recipe) is refused.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, version
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any

from sppnet.errors import ConfigError

# `torchvision:` and `timm:` stand before names of their networks instead.
_PATH = re.compile(r"(?!(?:torchvision|timm):)[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*", re.ASCII)

_MACHINE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENETUNREACH}
)
_MACHINE_KINDS = frozenset(
    {
        *("MemoryError", "OutOfMemoryError", "ConnectionError", "TimeoutError", "gaierror"),
        *("Timeout", "TimeoutException", "NetworkError", "ConnectTimeoutError", "ReadTimeoutError"),
    }
)


class OwnExitError(Exception):
    """Somebody else's code called `sys.exit`, which is for programs: no process of a run ends for it."""


@dataclass(frozen=True, slots=True)
class OwnPart:
    """What is known of an own part: what results that it made depend on.

    Attributes:
        path: Its import path.
        sha256: Of the source of its module, hexadecimal.
        distribution: Name and version of the installed distribution that the module is of; empty for none.
    """

    path: str
    sha256: str
    distribution: str = ""

    def identity(self) -> dict[str, str]:
        """Return plain values for a fingerprint."""
        return {"sha256": self.sha256, "distribution": self.distribution}


@dataclass(frozen=True, slots=True)
class _Loaded:
    part: OwnPart
    value: Any
    source: Path


_ALLOWED: dict[str, _Loaded] = {}


def is_import_path(name: str) -> bool:
    """Tell whether a name is an import path, such as `package.module:function`."""
    return _PATH.fullmatch(name) is not None


def allow(path: str) -> OwnPart:
    """Import an own part, which may be resolved in this process from now on.

    Raises:
        ConfigError: There is no such module, it can't be imported, has nothing of that name or nothing that can be
            called, or its source was edited since it was imported.
    """
    known = _ALLOWED.get(path)
    if known is None:
        known = _ALLOWED[path] = _load(path)
    elif _digest(known.source, path) != known.part.sha256:
        raise ConfigError(f"{path}: {known.source} was edited since it was imported; begin anew, in another process")
    return known.part


def allow_same(part: OwnPart) -> None:
    """Allow an own part where a run gives work to; raise `ConfigError` if it is another one here."""
    known = _ALLOWED.get(part.path)
    if known is None:
        known = _load(part.path)
    if known.part != part:
        raise ConfigError(f"{part.path}: {known.source} is not here what it is where the run was started")
    _ALLOWED[part.path] = known


def allowed(path: str) -> OwnPart:
    """Return what is known of an own part; raise `ConfigError` unless it was allowed."""
    return _find(path).part


def resolve(path: str) -> Any:
    """Return an own part itself; raise `ConfigError` unless it was allowed."""
    return _find(path).value


def entry_point_path(group: str, name: str) -> str | None:
    """Return the import path that an installed package's entry point stands for; nothing is imported.

    Args:
        group: Such as `sppnet.architectures`.
        name: Of the entry point.

    Returns:
        None if there is none of that name.

    Raises:
        ConfigError: Several packages have one of that name, for different things.
    """
    found = sorted({f"{entry.module}:{entry.attr}" for entry in entry_points(group=group, name=name)})
    if len(found) > 1:
        raise ConfigError(f"{name!r} is an entry point of several packages ({', '.join(found)}): name one of these")
    return found[0] if found else None


@contextmanager
def own_code() -> Iterator[None]:
    """Guard a call of somebody else's code: its `sys.exit` is an error like others, a signal's ends this process still.

    Raises:
        OwnExitError: It called `sys.exit`.
    """
    try:
        yield
    except SystemExit as exit_:
        if _of_signal(exit_):
            raise
        raise OwnExitError(f"sys.exit({exit_.code!r})") from exit_


def told(error: BaseException) -> str:
    """Return an error of somebody else's code in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def blames_machine(error: BaseException) -> bool:
    """Tell whether an error of somebody else's code is one of the machine or the network.

    No image that was at hand is to blame for it: memory or a disk that is full, a connection that failed.
    """
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return True
    # Libraries have connections' errors of their own (requests, httpx, botocore), and torch its memory's.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    reason = getattr(error, "reason", None)  # of what urllib raises
    return not kinds.isdisjoint(_MACHINE_KINDS) or (isinstance(reason, OSError) and blames_machine(reason))


def _of_signal(exit_: SystemExit) -> bool:
    """Tell whether it was raised by what SIGTERM calls, wherever that was called."""
    handler = getattr(signal.getsignal(signal.SIGTERM), "__code__", None)
    return any(frame.f_code is handler for frame, _ in walk_tb(exit_.__traceback__))


def _find(path: str) -> _Loaded:
    if path not in _ALLOWED:
        raise ConfigError(
            f"{path} names code, which is run only if the recipe that you run, or what you `allow`, names it"
        )
    return _ALLOWED[path]


def _load(path: str) -> _Loaded:
    """Import a module and find an attribute of it that can be called."""
    if not is_import_path(path):
        raise ConfigError(f"{path!r} is no import path: expected package.module:name")
    name, _, attribute = path.partition(":")
    module = _import(name, path)
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            near = difflib.get_close_matches(part, dir(value), n=1)
            raise ConfigError(f"{path}: {name} has no {attribute}{f', did you mean {near[0]!r}?' if near else ''}")
        value = getattr(value, part)
    if not callable(value):
        raise ConfigError(f"{path}: is of type {type(value).__name__}, which can't be called")
    if not getattr(module, "__file__", None):
        raise ConfigError(f"{path}: module {name} has no file, so that nobody can tell when it changes")
    source = Path(str(module.__file__))
    return _Loaded(OwnPart(path, _digest(source, path), _distribution(name)), value, source)


def _import(name: str, path: str) -> ModuleType:
    if name == "__main__":
        raise ConfigError(f"{path}: workers can't import __main__: move it into a module of its own")
    try:
        with own_code():
            return import_module(name)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}.")
        hint = "; install its package, or put its folder into PYTHONPATH" if missing else ""
        raise ConfigError(f"{path}: module {name} can't be imported: {told(error)}{hint}") from error


def _digest(source: Path, path: str) -> str:
    try:
        return hashlib.sha256(source.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: {source} can't be read: {error.strerror}") from error


@cache
def _distribution(module: str) -> str:
    """Return name and version of the distributions that a module's package is of; empty for none."""
    try:
        names = sorted(set(packages_distributions().get(module.partition(".")[0], ())))
        return ", ".join(f"{name} {version(name)}" for name in names)
    except PackageNotFoundError:
        return ""
