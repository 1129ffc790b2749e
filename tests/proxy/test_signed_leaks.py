"""What a client signs is no way out: nothing of it leaves unread, and nobody's unread call is signed for."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.http import Headers, Request

from sallyport.exchange import Operation, Principal
from sallyport.policy.load import parse_policy
from sallyport.proxy.intake import outgoing_fields
from sallyport.proxy.signing import Signed, signed_anew
from sallyport.wire import sigv4
from sallyport.wire.sigv4 import AwsKey, Fields, Head, Scope

HOST = "bedrock-runtime.eu-west-1.amazonaws.com"
SECRET = "marta.quill@example.com"
RULES = 'version: 1\nsigning: {rules: [{credential: work, tenants: ["*"]}]}'
KEY = AwsKey("AKIA" + "A" * 16, "b" * 40)
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def client_call(**more: str) -> Request:
    """A request as a client signs it, with these headers among the signed ones."""
    target, body = "/model/lab.a/converse", b"{}"
    given = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in more.items())
    head = Head("POST", target, ((b"host", HOST.encode()), *given))
    names = [name for name, _ in given]
    fields = sigv4.sign(head, body, KEY, Scope("eu-west-1", "bedrock"), AT, names)
    return Request.make("POST", f"https://{HOST}{target}", body, Headers(fields))


def sent(request: Request, operation: Operation = Operation.CHAT) -> Any:
    """What signing makes of a request whose body nobody changed. The gateway has no credential of that name."""
    exchange = SimpleNamespace(
        principal=Principal("ada", "default", source="header"), request=SimpleNamespace(operation=operation)
    )
    live = SimpleNamespace(policy=parse_policy(RULES))
    passage: Any = SimpleNamespace(host=HOST, exchange=exchange, live=live)
    gateway: Any = SimpleNamespace(credentials=None)
    body = request.raw_content or b""
    leaving: Fields = outgoing_fields(request.headers.fields, frozenset(), len(body), changed=False)
    return asyncio.run(signed_anew(gateway, passage, request, body, leaving, None))


@pytest.mark.parametrize(
    "codings", ["identity", "gzip, deflate, br, zstd", "gzip;q=1.0, *;q=0", "gzip,deflate"]
)
def test_the_codings_that_a_client_signed_stay_as_they_are(codings: str) -> None:
    kept = sent(client_call(accept_encoding=codings))
    assert isinstance(kept, Signed)
    assert sigv4.values_of(kept.fields, b"accept-encoding") == (codings.encode(),)


@pytest.mark.parametrize(
    "codings",
    [SECRET, f"gzip, {SECRET}", f"gzip;q={SECRET}", "gzip;q=0.4111111111111111", "br, " * 40 + "br"],
)
def test_a_text_that_is_signed_as_a_coding_does_not_leave(codings: str) -> None:
    made = sent(client_call(accept_encoding=codings))
    assert not isinstance(made, Signed)  # it has to be signed anew, without it
    assert made.decision.reason == "credentials.missing"


def test_nobody_is_signed_for_where_nobody_reads_what_is_asked() -> None:
    changed = client_call(via="a hop of this company")
    assert sent(changed).decision.reason == "credentials.missing"
    assert sent(changed, Operation.OPAQUE).decision.reason == "transport.signed_body"
    assert isinstance(sent(client_call(), Operation.OPAQUE), Signed)  # its own signature is still good
