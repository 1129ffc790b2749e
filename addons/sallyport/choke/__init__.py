"""The choke point: the kernel rules that leave AI traffic no way but through the gateway."""
