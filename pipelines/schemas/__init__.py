"""Every Parquet layout that the project writes, one module a kind of data.

Arrays are bytes because list-typed tensor columns write and read 5-20 times slower; each row says its own shape.
"""

from pipelines.schemas.classification import SCORES, ScoresRow, decode_scores, encode_plain_scores, encode_scores
from pipelines.schemas.detection import (
    MAPS,
    WINDOWS,
    MapRow,
    WindowsRow,
    decode_maps,
    decode_windows,
    encode_maps,
    encode_windows,
)
from pipelines.schemas.detections import (
    DETECTIONS,
    DetectionRow,
    DetectionTable,
    decode_detection_table,
    decode_detections,
    encode_detection_table,
    encode_detections,
    write_detections,
)
from pipelines.schemas.examples import EXAMPLES, Examples, ExamplesFile, decode_examples, encode_examples

__all__ = [
    "DETECTIONS",
    "EXAMPLES",
    "MAPS",
    "SCORES",
    "WINDOWS",
    "DetectionRow",
    "DetectionTable",
    "Examples",
    "ExamplesFile",
    "MapRow",
    "ScoresRow",
    "WindowsRow",
    "decode_detection_table",
    "decode_detections",
    "decode_examples",
    "decode_maps",
    "decode_scores",
    "decode_windows",
    "encode_detection_table",
    "encode_detections",
    "encode_examples",
    "encode_maps",
    "encode_plain_scores",
    "encode_scores",
    "encode_windows",
    "write_detections",
]
