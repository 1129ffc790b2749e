"""Answers for which a provider charges nothing, by their status."""

_DONE_ELSEWHERE = frozenset({307, 308})
"""The request is to be sent again as it is, elsewhere (RFC 9110, 15.4.8 and 15.4.9): who takes it there charges."""


def is_free(status: int) -> bool:
    """Say whether what was asked for was not done: it failed, or is to be asked for elsewhere.

    Any other redirect may lead to where the outcome of what was done is fetched.
    """
    return status >= 400 or status in _DONE_ELSEWHERE
