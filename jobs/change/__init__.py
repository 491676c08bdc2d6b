"""A trained detector changed: categories that come and go, with nothing trained again that is there."""
