"""The page itself."""
