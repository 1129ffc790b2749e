"""mitmdump -s addons/gateway.py: the same guards and stages under stock mitmdump.

Settings come from SALLYPORT_POLICY, SALLYPORT_MODE, SALLYPORT_CONFDIR (default: ~/.sallyport; not
mitmproxy's own confdir), SALLYPORT_STORE, SALLYPORT_UPSTREAM_CA and SALLYPORT_CONNECT_TO (comma separated).
What keeps the gateway from starting is written to stderr, and mitmdump ends.
"""

from sallyport.cli.scripted import make_addons

addons = make_addons()
