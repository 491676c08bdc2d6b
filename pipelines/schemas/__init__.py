"""Every Parquet layout that the project writes, one module a kind of data.

Arrays are bytes because list-typed tensor columns write and read 5-20 times slower; each row says its own shape.
"""

from pipelines.schemas.classification import SCORES, ScoresRow, decode_scores, encode_scores
from pipelines.schemas.detection import (
    DETECTIONS,
    EXAMPLES,
    MAPS,
    WINDOWS,
    DetectionRow,
    Examples,
    MapRow,
    WindowsRow,
    decode_detections,
    decode_examples,
    decode_maps,
    decode_windows,
    encode_detections,
    encode_examples,
    encode_maps,
    encode_windows,
)

__all__ = [
    "DETECTIONS",
    "EXAMPLES",
    "MAPS",
    "SCORES",
    "WINDOWS",
    "DetectionRow",
    "Examples",
    "MapRow",
    "ScoresRow",
    "WindowsRow",
    "decode_detections",
    "decode_examples",
    "decode_maps",
    "decode_scores",
    "decode_windows",
    "encode_detections",
    "encode_examples",
    "encode_maps",
    "encode_scores",
    "encode_windows",
]
