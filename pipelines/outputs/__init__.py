"""Detections in the formats that others read: COCO results, VOC comp4, ILSVRC DET's submission, CSV, Parquet."""
