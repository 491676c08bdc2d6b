"""`sppnet submit`: a run as a Ray job on a cluster that this machine need not belong to."""
