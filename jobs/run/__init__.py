"""Running a recipe, watched and recorded: progress, results, status, and the history of a workspace's runs."""
