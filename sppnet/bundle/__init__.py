"""A detector in one file, and what a program does with it: no workspace, no Ray."""
