"""SPP-net (He et al., TPAMI 2015): the method. Needs torch and numpy; knows neither Ray nor storage."""

__version__ = "0.1.0"
