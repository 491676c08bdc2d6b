"""Images of any source that Python code of the user's own reads; see `sppnet.own_parts` for who may name it."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from typing import Annotated, Any

from pydantic import Field, JsonValue

from pipelines.artifacts.annotations import Box, ImageAnnotation
from pipelines.datasets.contents import Contents, SeenFile
from pipelines.datasets.keys import check_keys, check_split, checked_categories, extension_of, path_of, safe_key
from pipelines.datasets.own_objects import object_of
from pipelines.datasets.own_source import REASON, AskedSource, named, stamp_text, texts
from pipelines.datasets.protocol import DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.engine.own_code import OwnParts
from sppnet.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

_OWN = OwnParts("sppnet.datasets", by_content=True)
_NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)
"""Stands for all of an image whose size isn't known."""
_TOLD_EVERY_SECONDS = 10.0


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

    def steady(self) -> str:
        """Say what has to stay the same; see `DatasetConfig.steady`."""
        return f"{self.kind} must give the same bytes and objects at every call"

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
        self._asked = AskedSource(config.kind, config.root, config.options)
        self._images: dict[str, str | None] = {}
        self._labelled: dict[Place, Sequence[Mapping[str, Any]] | DataError] = {}

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits to ingest."""
        known = self._asked.ask("splits", lambda: texts(self._asked.source.splits))
        for number, split in enumerate(known):
            if not split or "/" in split or split in known[:number]:
                raise ConfigError(f"{self._path}: split {split!r}: expected a name without '/', each once")
        for split in self._config.splits or ():
            check_split(split, known)
        return self._config.splits or known

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: in the source's order. Images without a stamp are read at every look."""
        check_split(split, self.splits)
        stamp = getattr(self._asked.source, "stamp", None)
        look = uuid.uuid4().hex
        files = []
        for place in self.places(split):
            name = path_of(place.key)
            known = look
            if stamp is not None:
                known = self._asked.ask(f"stamp({split!r}, {name!r})", partial(stamp_text, stamp, split, name))
            files.append(SeenFile(f"{split}/{place.key}", known, partial(self._read, place)))
        digests = contents.digests_or_none(files)
        rows = zip(self.places(split), digests, strict=True)
        items = [Item(place.key, digest, self._listed_label(place)) for place, digest in rows]
        self._check_one_image_a_key(items, split)
        return items

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
        found = self._asked.ask("categories", lambda: texts(self._asked.source.categories))
        return checked_categories(found, self._path) if found else ()

    def names(self) -> Mapping[str, str]:
        """Return none: categories are words."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`.

        Raises:
            DataError: `own-dataset`: the source raised something, or gave something else than bytes.
        """
        key = path_of(place.key)
        data = self._asked.ask_image("image", key, lambda source: source.image(place.split, key))
        if not isinstance(data, bytes):
            raise DataError(REASON, f"{self._path}: image of {place.key!r} is a {type(data).__name__}, expected bytes")
        return ImageFile(data, extension_of(data))

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`.

        Raises:
            DataError: `own-dataset`: the source raised something; `bad-annotation`: an object is not as `OwnSource`
                says.
        """
        # What its label was made from: asked once more, a source may give something else.
        found = self._labelled.pop(place, None)
        if isinstance(found, DataError):
            raise found
        whole = (0.0, 0.0, float(width), float(height))
        things = self._objects(place) if found is None else found
        return ImageAnnotation(place.key, width, height, tuple(object_of(one, whole, place.key) for one in things))

    def label(self, place: Place) -> str:
        """See `DataSet`: of the objects, which are kept for `annotation`."""
        try:
            found: Sequence[Mapping[str, Any]] | DataError = self._objects(place)
        except DataError as error:
            found = error
        self._labelled[place] = found
        return _label(found, place.key)

    def _listed_label(self, place: Place) -> str:
        """Return `label` and keep nothing: a data set may be large."""
        label = self._asked.ask(f"objects of {path_of(place.key)!r}", partial(self.label, place))
        del self._labelled[place]
        return label

    def _read(self, place: Place) -> bytes:
        return self._asked.ask(f"image of {path_of(place.key)!r}", partial(self.image, place)).data

    def _check_one_image_a_key(self, items: Iterable[Item], split: str) -> None:
        """Tell of a key that stood for another image in a split before: results name images by their keys."""
        if len(self.splits) == 1:
            return
        for item in items:
            if self._images.setdefault(item.key, item.image) != item.image:
                raise ConfigError(
                    f"{self._path}: key {path_of(item.key)!r} is another image in split {split!r} than in a split "
                    "before; give each image a key of its own"
                )

    def _objects(self, place: Place) -> list[Mapping[str, Any]]:
        key = path_of(place.key)
        found = self._asked.ask_image("objects", key, lambda source: list(source.objects(place.split, key)))
        for one in found:
            if not isinstance(one, Mapping) or not all(isinstance(name, str) for name in one):
                raise DataError("bad-annotation", f"{place.key}: an object is {one!r:.80}, expected a mapping")
        return found

    @cached_property
    def _keys(self) -> Mapping[str, Sequence[str]]:
        """Keys by split."""
        return {split: self._asked.ask(f"keys({split!r})", partial(self._list, split)) for split in self.splits}

    def _list(self, split: str) -> Sequence[str]:
        found: list[str] = []
        told = time.monotonic()
        for name in named(self._asked.source.keys(split)):
            if not name:
                raise ConfigError(f"{self._path}: a key of split {split!r} is empty")
            if path_of(safe_key(name)) != name:
                raise ConfigError(f"{self._path}: key {name!r}: give it in Unicode's composed form (NFC)")
            found.append(safe_key(name))
            if time.monotonic() - told > _TOLD_EVERY_SECONDS:
                told = time.monotonic()
                logger.warning("%s: listing split %s: %d images so far", self._path, split, len(found))
        check_keys(found, f"{self._path}, split {split!r}")
        if not found:
            raise ConfigError(f"{self._path}: split {split!r} has no images")
        return found


def _label(found: Sequence[Mapping[str, Any]] | DataError, key: str) -> str:
    try:
        if isinstance(found, DataError):
            raise found
        things = [asdict(object_of(one, _NOWHERE, key)) for one in found]
    except DataError as error:
        return label_of("own", failed=str(error))
    return label_of("own", objects=things)
