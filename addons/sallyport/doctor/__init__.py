"""Finding out why a gateway or a client behind it does not work, by trying what they try.

Every check is a function that returns what it found and never raises for what it looks for.
"""
