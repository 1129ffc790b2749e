"""Pointers to what is not in the body: header values and the parts of the target that a client chose.

Such texts are scanned like any other but cannot be masked: a finding there that would be masked refuses.
"""

HEADER = "~header/"
"""Prefix of the pointer to a header's value; "~h" is no valid RFC 6901 escape, so it cannot collide."""

TARGET = "~target/"
"""Prefix of the pointer to a value from path or query."""


def in_body(at: str) -> bool:
    """Say whether a pointer names a string of the body."""
    return not at.startswith((HEADER, TARGET))
