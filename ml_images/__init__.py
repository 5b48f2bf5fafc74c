"""From noisy annotation lists and a class hierarchy to a verified data set and a trained backbone."""

__version__ = "0.1.0"
