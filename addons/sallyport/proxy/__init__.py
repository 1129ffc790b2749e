"""The only folder that imports mitmproxy: the host, its guards, and the addon that runs the stages."""
