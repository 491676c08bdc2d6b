"""What a run is: storage, artifacts and commits, stages, recipes, and the runner."""
