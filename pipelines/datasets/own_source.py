"""What a user's own code is asked for about its data set, and what is told in one line where it raises something."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar, cast

from pydantic import JsonValue

from pipelines.engine.disk_faults import disk_fault
from pipelines.engine.memory_faults import memory_fault
from sppnet.errors import ConfigError, DataError, IncompleteError, SppError
from sppnet.own_parts import blames_machine, own_code, resolve, told

REASON = "own-dataset"
"""Why an image is set aside at which a source raised something."""

T = TypeVar("T")


class OwnSource(Protocol):
    """What a factory of the user's own returns. It is asked for one thing at a time, in any process, in any order.

    It gives the same bytes and objects at every call: a run that finds others ends.

    Attributes:
        splits: Names of its splits.
        categories: That objects may name, in order; empty where nothing is known of the images.
    """

    splits: Sequence[str]
    categories: Sequence[str]

    def keys(self, split: str) -> Iterable[str]:
        """Return the images' keys, each once; a key of two splits is the same image in both."""

    def image(self, split: str, key: str) -> bytes:
        """Return an image file's bytes: JPEG, PNG, BMP or WebP."""

    def objects(self, split: str, key: str) -> Iterable[Mapping[str, Any]]:
        """Return an image's objects.

        Each has a `category`, and a `box` `[x0, y0, x1, y1]` in half-open pixels, without which it is all of the
        image; if it is known, `subcategory`, `difficult`, `truncated`, `crowd` and `area`, as in `ObjectAnnotation`.
        """


class AskedSource:
    """A user's own source, made when it is first asked.

    Args:
        path: Import path of the factory, which has been allowed.
        root: Given to the factory.
        options: Given to it by name.
    """

    def __init__(self, path: str, root: str, options: Mapping[str, JsonValue]) -> None:
        self._path, self._root, self._options = path, root, options
        self._alone = threading.Lock()  # few libraries let several threads read one file

    @cached_property
    def source(self) -> OwnSource:
        """What the factory returned; `ConfigError` if it can't be used."""
        factory = resolve(self._path)
        made = self.ask("the factory", lambda: factory(self._root, **self._options))
        wanted = ("splits", "categories", "keys", "image", "objects")
        missing = self.ask("an attribute", lambda: [name for name in wanted if not hasattr(made, name)])
        if missing:
            raise ConfigError(f"{self._path}: gave a {type(made).__name__} without {', '.join(missing)}")
        return cast("OwnSource", made)

    def ask(self, what: str, question: Callable[[], T]) -> T:
        """Ask for what a run can't do without.

        Args:
            what: Is asked for; for messages.
            question: Asks.

        Raises:
            ConfigError: It raised something.
        """
        try:
            with own_code():
                return question()
        except SppError:
            raise
        except Exception as error:
            raise ConfigError(f"{self._path}: {what} raised {told(error)}") from error

    def ask_image(self, what: str, key: str, question: Callable[[OwnSource], T]) -> T:
        """Ask for what only one image can't do without, one thread after another.

        Args:
            what: Is asked for; for messages.
            key: Of the image, as the source calls it.
            question: Asks the source.

        Raises:
            DataError: `own-dataset`: it raised something that tells of the image.
            ConfigError: A disk is full, and other such faults.
            IncompleteError: Memory ran out, or a connection failed: another try may do.
        """
        source = self.source
        with self._alone:
            try:
                with own_code():
                    return question(source)
            except Exception as error:
                text = f"{self._path}: {what} of {key!r} raised {told(error)}"
                if not blames_machine(error):
                    raise DataError(REASON, text) from error
                raise memory_fault(error) or self._disk_fault(error) or IncompleteError(text) from error

    def _disk_fault(self, error: Exception) -> ConfigError | None:
        if not isinstance(error, OSError):
            return None
        return disk_fault(error, str(error.filename or f"a file of {self._path}"))


def texts(values: Iterable[str]) -> tuple[str, ...]:
    """Return names; raise `TypeError` if they are something else."""
    return tuple(named(values))


def named(values: Iterable[str]) -> Iterator[str]:
    """Yield names; raise `TypeError` at what is none."""
    for one in values:
        if isinstance(values, str) or not isinstance(one, str):
            raise TypeError("expected several texts")
        yield one


def stamp_text(stamp: Callable[[str, str], object], split: str, key: str) -> str:
    """Return an image's stamp as text; raise `TypeError` for what doesn't tell when the image changes."""
    found = stamp(split, key)
    if found == "" or not isinstance(found, str | int | float):
        raise TypeError(f"expected a text or a number, got {found!r:.80}")
    return str(found)
