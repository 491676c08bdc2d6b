"""Images of any source that Python code of the user's own reads; see `sppnet.own_parts` for who may name it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from typing import Annotated, Any, Protocol, TypeVar, cast

from pydantic import Field, JsonValue

from pipelines.artifacts.annotations import Box, ImageAnnotation, ObjectAnnotation
from pipelines.datasets.contents import Contents, SeenFile
from pipelines.datasets.keys import check_keys, check_split, checked_categories, extension_of, path_of, safe_key
from pipelines.datasets.protocol import DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.engine.own_code import OwnParts
from sppnet.errors import ConfigError, DataError
from sppnet.own_parts import resolve, told

_OWN = OwnParts("sppnet.datasets", by_content=True)
_REASON = "own-dataset"
_NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)
"""Stands for all of an image whose size isn't known."""
_FLAGS = ("difficult", "truncated", "crowd")
_FIELDS = ("category", "box", "subcategory", *_FLAGS, "area")

T = TypeVar("T")


class OwnSource(Protocol):
    """What a factory of the user's own returns. It is asked for one thing at a time, in any process, in any order.

    Attributes:
        splits: Names of its splits.
        categories: That objects may name, in order; empty where nothing is known of the images.
    """

    splits: Sequence[str]
    categories: Sequence[str]

    def keys(self, split: str) -> Iterable[str]:
        """Return the images' keys, each unique in all splits."""

    def image(self, split: str, key: str) -> bytes:
        """Return an image file's bytes: JPEG, PNG, BMP or WebP."""

    def objects(self, split: str, key: str) -> Iterable[Mapping[str, Any]]:
        """Return an image's objects.

        Each has a `category`, and a `box` `[x0, y0, x1, y1]` in half-open pixels, without which it is all of the
        image; if it is known, `subcategory`, `difficult`, `truncated`, `crowd` and `area`, as in `ObjectAnnotation`.
        """


class OwnDataset(DatasetConfig):
    """Images that Python code of your own reads.

    Attributes:
        kind: Import path of a factory, `package.module:factory`, or the name of an entry point of `sppnet.datasets`.
            It is called with `root` and the options, and returns an object with `splits`, `categories`, `keys(split)`,
            `image(split, key)` and `objects(split, key)`, see `OwnSource`; if that has a `stamp(split, key)` too, only
            images whose stamp is new are read when the data set is looked at.
        root: Given to the factory.
        options: Given to the factory by name.
        splits: Those to ingest; by default all that the object has.
    """

    kind: Annotated[str, _OWN]
    root: str = ""
    options: Mapping[str, JsonValue] = Field(default_factory=dict)
    splits: tuple[str, ...] | None = None

    def place(self) -> Any:
        """Return what the factory is called with."""
        return [*super().place(), dict(self.options)]

    def roots(self) -> tuple[str, ...]:
        """Return none: only the factory knows what its root is."""
        return ()

    def open(self) -> OwnImages:
        """See `DatasetConfig.open`."""
        return OwnImages(self)


class OwnImages:
    """A data set that an own source reads.

    Args:
        config: The data set's config.
    """

    def __init__(self, config: OwnDataset) -> None:
        self._config = config
        self._path = config.kind
        self._alone = threading.Lock()  # few libraries let several threads read one file

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits to ingest."""
        known = self._asked("splits", lambda: _texts(self._source.splits))
        for split in self._config.splits or ():
            check_split(split, known)
        return self._config.splits or known

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: in the source's order. Images without a stamp are read at every look."""
        check_split(split, self.splits)
        stamp = getattr(self._source, "stamp", None)
        look = uuid.uuid4().hex
        files = []
        for place in self.places(split):
            name = path_of(place.key)
            known = look
            if stamp is not None:
                known = self._asked(f"stamp({split!r}, {name!r})", partial(lambda key: str(stamp(split, key)), name))
            files.append(SeenFile(f"{split}/{place.key}", known, partial(self._read, place)))
        digests = contents.digests_or_none(files)
        rows = zip(self.places(split), digests, strict=True)
        return [Item(place.key, digest, self.label(place)) for place, digest in rows]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        check_split(split, self.splits)
        return [Place(split, "", key) for key in self._keys[split]]

    def count(self, split: str) -> int:
        """See `DataSet`."""
        return len(self.places(split))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the source's."""
        del contents
        found = self._asked("categories", lambda: _texts(self._source.categories))
        return checked_categories(found, self._path) if found else ()

    def names(self) -> Mapping[str, str]:
        """Return none: categories are words."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`.

        Raises:
            DataError: `own-dataset`: the source raised something, or gave something else than bytes.
        """
        data = self._of_image("image", place, lambda source, key: source.image(place.split, key))
        if not isinstance(data, bytes):
            raise DataError(_REASON, f"{self._path}: image of {place.key!r} is a {type(data).__name__}, expected bytes")
        return ImageFile(data, extension_of(data))

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`.

        Raises:
            DataError: `own-dataset`: the source raised something; `bad-annotation`: an object is not as `OwnSource`
                says.
        """
        whole = (0.0, 0.0, float(width), float(height))
        things = tuple(_object(one, whole, place.key) for one in self._objects(place))
        return ImageAnnotation(place.key, width, height, things)

    def label(self, place: Place) -> str:
        """See `DataSet`: of the objects."""
        try:
            things = [asdict(_object(one, _NOWHERE, place.key)) for one in self._objects(place)]
        except DataError as error:
            return label_of("own", failed=str(error))
        return label_of("own", objects=things)

    def _read(self, place: Place) -> bytes:
        return self.image(place).data

    def _objects(self, place: Place) -> list[Mapping[str, Any]]:
        found = self._of_image("objects", place, lambda source, key: list(source.objects(place.split, key)))
        for one in found:
            if not isinstance(one, Mapping) or not all(isinstance(name, str) for name in one):
                raise DataError("bad-annotation", f"{place.key}: an object is {one!r:.80}, expected a mapping")
        return found

    @cached_property
    def _source(self) -> OwnSource:
        factory = resolve(self._path)
        made = self._asked("the factory", lambda: factory(self._config.root, **self._config.options))
        missing = [name for name in ("splits", "categories", "keys", "image", "objects") if not hasattr(made, name)]
        if missing:
            raise ConfigError(f"{self._path}: gave a {type(made).__name__} without {', '.join(missing)}")
        return cast("OwnSource", made)

    @cached_property
    def _keys(self) -> Mapping[str, Sequence[str]]:
        """Keys by split."""
        found: dict[str, Sequence[str]] = {}
        for split in self.splits:
            names = self._asked(f"keys({split!r})", partial(lambda name: _texts(self._source.keys(name)), split))
            for name in names:
                if path_of(safe_key(name)) != name:
                    raise ConfigError(f"{self._path}: key {name!r}: give it in Unicode's composed form (NFC)")
            found[split] = [safe_key(name) for name in names]
            check_keys(found[split], f"{self._path}, split {split!r}")
            if not names:
                raise ConfigError(f"{self._path}: split {split!r} has no images")
        return found

    def _asked(self, what: str, question: Callable[[], T]) -> T:
        """Ask the source for what a run can't do without."""
        try:
            return question()
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"{self._path}: {what} raised {told(error)}") from error

    def _of_image(self, what: str, place: Place, question: Callable[[OwnSource, str], T]) -> T:
        """Ask the source for what only one image can't do without."""
        source, name = self._source, path_of(place.key)
        with self._alone:
            try:
                return question(source, name)
            except Exception as error:
                raise DataError(_REASON, f"{self._path}: {what} of {name!r} raised {told(error)}") from error


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    """Return names; raise `TypeError` if they are something else."""
    found = tuple(values) if not isinstance(values, str) else None
    if found is None or not all(isinstance(one, str) for one in found):
        raise TypeError("expected several texts")
    return found


def _object(one: Mapping[str, Any], whole: Box, key: str) -> ObjectAnnotation:
    unknown = sorted(one.keys() - set(_FIELDS))
    if unknown:
        raise DataError("bad-annotation", f"{key}: an object has {unknown[0]!r}, known are {', '.join(_FIELDS)}")
    try:
        x0, y0, x1, y1 = map(float, one.get("box") or whole)
        area = None if one.get("area") is None else float(one["area"])
    except (TypeError, ValueError) as error:
        raise DataError("bad-annotation", f"{key}: an object's numbers: {told(error)}") from error
    names = one.get("category"), one.get("subcategory")
    if not isinstance(names[0], str) or not (names[1] is None or isinstance(names[1], str)):
        raise DataError("bad-annotation", f"{key}: an object's category is {names[0]!r}, subcategory {names[1]!r}")
    flags = {name: bool(one.get(name, False)) for name in _FLAGS}
    flags["difficult"] |= flags["crowd"]
    return ObjectAnnotation(names[0], (x0, y0, x1, y1), names[1], area=area, **flags)
