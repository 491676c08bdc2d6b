"""Pixels: decoding, a network's input, training crops, statistics of a data set."""
