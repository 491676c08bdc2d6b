"""From views to class scores (section 3)."""
