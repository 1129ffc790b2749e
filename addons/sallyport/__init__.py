"""Sallyport: an egress gateway that gives unmodified AI clients identity, policy, masking and proof."""

__version__ = "0.1.0"
