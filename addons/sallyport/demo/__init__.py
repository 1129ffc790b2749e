"""The demo: official SDKs, a real gateway and stand-in providers, with every step checked against what was
expected of it.

Nothing here is special to the demo but the texts: the gateway is `sallyport run` as its own process, the
clients are programs of their own that know nothing of it.
"""

from sallyport.demo.play import play

__all__ = ["play"]
