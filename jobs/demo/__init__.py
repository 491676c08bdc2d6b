"""The drawn data set of `sppnet demo`: what its scenes show, and how they are drawn."""
