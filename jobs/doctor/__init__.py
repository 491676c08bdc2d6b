"""`sppnet doctor`: what would make a run fail, on this machine and on each node of a cluster, found before it does."""
