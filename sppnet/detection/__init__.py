"""From windows to detections (section 4)."""
