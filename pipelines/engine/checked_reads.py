"""Reading an object whose size or digest is known: what a store sent short or wrong is asked for once more.

HTTP's own length and the checksums of S3's clients catch an answer that breaks off. They say nothing where a server or
a cache in between takes half an object for the whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


def read_again_unless(is_whole: Callable[[bytes], bool], read: Callable[[], bytes], what: str) -> bytes:
    """Read, and once more if that was not the whole.

    Args:
        is_whole: Tells whether bytes are what they should be.
        read: Reads.
        what: What is read, for the log.

    Returns:
        What was read last; where it is still not whole the caller says what that means.
    """
    data = read()
    if is_whole(data):
        return data
    logger.warning("%s: %d bytes are not what was expected, reading it again", what, len(data))
    return read()
