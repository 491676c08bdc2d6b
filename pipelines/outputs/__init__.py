"""Detections in the formats that others read, from tables to the layouts of other libraries."""
