"""Pre-training's examples, batches and task."""
