"""mitmdump -s addons/gateway.py: the same guards and stages under stock mitmdump.

Settings come from SALLYPORT_POLICY, SALLYPORT_MODE, SALLYPORT_CONFDIR, SALLYPORT_STORE,
SALLYPORT_UPSTREAM_CA and SALLYPORT_CONNECT_TO (comma separated).
"""

from sallyport.cli.scripted import make_addons

addons = make_addons()
