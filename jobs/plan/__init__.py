"""`sppnet plan`: what a recipe would cost before it is run."""
