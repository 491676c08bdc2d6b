"""Running a recipe, watched: progress, results, status."""
