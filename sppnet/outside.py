"""What comes from outside: how much of it is taken, and one boundary around whatever parses it.

Nobody can list what a parser of other people's bytes raises: an unknown encoding is a `LookupError`, a deep nesting a
`RecursionError`, a size that is a lie a `MemoryError` or `OverflowError`. So `parsing` takes all of it, and the block
that it guards holds a parser's call and nothing of our own that could fail for another reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sppnet.errors import SppError

IMAGE_BYTES = 512 << 20
"""Most bytes of an image file: 64 million pixels are 384 MB as bare 16-bit RGB."""
NOTE_BYTES = 8 << 20
"""Most bytes of what is said of one image: an annotation file, a sample's JSON or label."""
LIST_BYTES = 256 << 20
"""Most bytes of a text that lists images or categories, a line each."""
LIST_LINES = 10_000_000
"""Most lines of one: each costs some hundred bytes once it is split."""
FILE_BYTES = 8 << 30
"""Most bytes of a file that is of many images, and is read whole: a tar, a table, weights."""

_INFLATED_FREE = 64 << 20
_INFLATED_TIMES = 50
_SHOWN = 200
_DECODERS_MEMORY = "out of memory error"  # PIL's, an `OSError`


def most_inflated(compressed: int) -> int:
    """Return how many bytes may come out of so many compressed ones: 64 MiB, and 50 times as many, up to `FILE_BYTES`.

    Images and numbers don't shrink that much; what does is there to fill the memory.
    """
    return min(FILE_BYTES, _INFLATED_FREE + _INFLATED_TIMES * compressed)


@contextmanager
def parsing(error: Callable[[str], SppError], *, bounded: bool = False) -> Iterator[None]:
    """Guard a parser's call on bytes from outside: whatever it raises becomes one error.

    Args:
        error: Makes the error from a line that says what went wrong.
        bounded: Whether all sizes were looked at before, so that memory which runs out is this machine's matter.

    Raises:
        SppError: What `error` made; one that was raised on purpose inside comes out as it is.
        MemoryError: Memory ran out where sizes are `bounded`: the bytes are not to blame.
    """
    try:
        yield
    except SppError:
        raise
    except Exception as found:
        if bounded and (isinstance(found, MemoryError) or _DECODERS_MEMORY in str(found)):
            raise MemoryError(str(found)) from found
        raise error(_told(found)) from found


def parse_json(data: bytes | str, error: Callable[[str], SppError]) -> Any:
    """Parse JSON from outside; raise what `error` makes where it is none, or nested too deep."""
    with parsing(error):
        return json.loads(data)


def _told(error: Exception) -> str:
    """Say in a line what a parser found."""
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
