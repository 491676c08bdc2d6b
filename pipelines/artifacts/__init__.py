"""What every kind of artifact holds."""
