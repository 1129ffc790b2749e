"""The stand-in for AWS believes no signature that AWS would not: it is checked apart from what signs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sallyport.lab.awsauth import secret_of, token_of, trouble_with
from sallyport.lab.values import Incoming
from sallyport.wire import sigv4
from sallyport.wire.sigv4 import AwsKey, Head, Scope

HOST = "bedrock-runtime.eu-central-1.amazonaws.com"
OWN, TEMPORARY = "AKIA" + "LAB" * 6, "ASIA" + "LAB" * 6


def incoming(
    known: str = OWN, secret: str = "", token: str = "", service: str = "bedrock", late_s: float = 0, body: bytes = b"{}"
) -> Incoming:  # fmt: skip
    key = AwsKey(known, secret or secret_of(known), token)
    fields = ((b"host", HOST.encode()), (b"content-type", b"application/json"))
    path = "/model/us.anthropic%3A0/converse"
    at = datetime.now(UTC) + timedelta(seconds=late_s)
    signed = sigv4.sign(
        Head("POST", path, fields), body, key, Scope("eu-central-1", service), at, [b"content-type"]
    )
    return Incoming(HOST, "POST", path, "", {n.decode(): v.decode() for n, v in signed}, body)


def test_good_signatures_are_taken() -> None:
    assert trouble_with(incoming(), "bedrock") == ""
    assert trouble_with(incoming(TEMPORARY, token=token_of(TEMPORARY)), "bedrock") == ""
    assert trouble_with(replace(incoming(), headers={"authorization": "Bearer ABSK"}), "bedrock") == ""


@pytest.mark.parametrize(
    "request_",
    [
        lambda: incoming(secret="x" * 40),
        lambda: incoming(service="s3"),
        lambda: incoming(late_s=-600),
        lambda: incoming(late_s=600),
        lambda: incoming(TEMPORARY),
        lambda: incoming(token=token_of(TEMPORARY)),
        lambda: incoming("AKIA" + "INVALID" * 3),
        lambda: replace(incoming(), body=b"{ }"),
        lambda: replace(incoming(), path="/model/us.anthropic:0/converse"),
        lambda: replace(incoming(), method="PUT"),
        lambda: replace(incoming(), query="a=1"),
        lambda: replace(incoming(), headers={**incoming().headers, "content-type": "text/plain"}),
        lambda: replace(incoming(), headers={**incoming().headers, "x-amz-other": "1"}),
        lambda: replace(incoming(), headers={}),
        lambda: replace(incoming(), headers={"authorization": "AWS4-HMAC-SHA256 nonsense"}),
    ],
    ids=[
        "secret", "service", "old", "future", "no-token", "token-too-many", "unknown", "body", "path", "method", "query",
        "header", "unsigned-header", "nothing", "nonsense",
    ],
)  # fmt: skip
def test_no_other_signature_is(request_) -> None:  # type: ignore[no-untyped-def]
    assert trouble_with(request_(), "bedrock")
