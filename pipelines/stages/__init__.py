"""The stages, one file each. `pipelines.engine.registry` finds them by name."""
