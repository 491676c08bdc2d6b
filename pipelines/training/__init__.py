"""The step loop of the training stages."""
