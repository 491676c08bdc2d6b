"""What the report shows, read from a workspace."""
