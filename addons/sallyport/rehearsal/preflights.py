"""What a browser asks ahead of a call, as `operation: preflight`: it says where the call would go, and no more."""

from sallyport.policy.catalogue import Endpoint
from sallyport.policy.preflights import METHODS, ahead_of
from sallyport.policy.problems import Wrong
from sallyport.rehearsal.given import Given

_IN_A_BODY = (
    "text", "messages", "body", "tools", "hosted_tools", "mcp_servers", "parameters", "stream", "continued",
    "attachments",
)  # fmt: skip
_ASKED_FOR = frozenset({"key", "gateway_key", "token"})
"""Proofs that a page puts into the call itself."""


def question_about(called: Endpoint, given: Given) -> Endpoint:
    """Return the preflight of a call. Raises Wrong, with the fact, for what the gateway would take for a call."""
    for name in _IN_A_BODY:
        if getattr(given, name):
            raise Wrong(
                "a preflight has no body that could say this", "Leave it out (null in a test)", (name,)
            )
    for name in ("key", "tokens"):
        if getattr(given, name):
            raise Wrong("a preflight carries no credential", "Leave it out (null in a test)", (name,))
    if {"authorization", "cookie"} & {name.lower() for name in given.headers}:
        raise Wrong("a preflight carries no credential", "Leave this header out", ("headers",))
    if given.principal is not None and not _comes_by_itself(given.source):
        raise Wrong(
            "a preflight carries no credential that could prove this",
            "Leave it out (null in a test), or say that network, tunnel, certificate, proxy or header is its source",
            ("source",) if given.source else ("principal",),
        )
    if called.method not in METHODS:
        raise Wrong(
            "no preflight is about this endpoint", "Name that of the call, as POST /v1/x", ("endpoint",)
        )
    return ahead_of(called)


def _comes_by_itself(source: str | None) -> bool:
    return source is not None and _ASKED_FOR.isdisjoint(source.split("+"))
