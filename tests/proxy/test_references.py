"""What requests name by an id: content that the gateway has seen pass, and content that nobody here has read."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from mitmproxy.test import tflow

from gateways import NoFindings, Recorded
from sallyport.audit.classes import Coverage
from sallyport.decision import Verdict
from sallyport.exchange import Client, Exchange, Operation, Principal, Request, Response, Usage
from sallyport.metering.tokens import TokenCounter
from sallyport.policy.catalogue import shipped_catalogue
from sallyport.policy.load import parse_policy
from sallyport.proxy import links
from sallyport.proxy.covering import request_coverage
from sallyport.proxy.gateway import Gateway, Live
from sallyport.proxy.recorded import KEY, read_record, record_of
from sallyport.state.booking import Metering
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.vault import MemoryVault
from sallyport.wire.dialect import Call
from sallyport.wire.dialects import DIALECTS
from wire.samples import feed


@pytest.fixture
def gateway() -> Gateway:
    live = Live(parse_policy("version: 1\n"), shipped_catalogue(), NoFindings())
    metering = Metering(MemoryLedger(), TokenCounter())
    return Gateway(live, Recorded(), b"k" * 32, "gw", lambda: live, MemoryVault(b"k" * 32), metering)


def ask_of(dialect: str, body: dict) -> Request:
    return DIALECTS[dialect].read_request(json.dumps(body).encode(), Call("p", Operation.CHAT))


def read(gateway: Gateway, dialect: str, body: dict) -> tuple[Request, str]:
    """Return a request as the gateway takes it, and its conversation."""
    request = ask_of(dialect, body)
    conversation = gateway.conversation(request)
    request = gateway.unseen_of(request, conversation)
    return replace(request, kept_tokens=gateway.kept_tokens(request)), conversation


def answered(gateway: Gateway, request: Request, conversation: str, answer: Response) -> None:
    of = Exchange("x", conversation, datetime.now(UTC), "h", Client("10.0.0.7", "explicit"), request)
    gateway.link(of, answer, answer.usage)


def hello(text: str = "Hello") -> dict:
    return {"role": "user", "content": text}


def messages(first: str = "Hello", **more: object) -> dict:
    return {"model": "m", "max_tokens": 9, "messages": [hello(first)], **more}


def chat(first: str = "Hello", sound: str = "") -> dict:
    said = [{"role": "assistant", "audio": {"id": sound}}, hello("And?")] if sound else []
    return {"model": "m", "messages": [hello(first), *said]}


WHOLE = {"usage": {"input_tokens": 5, "output_tokens": 5}, "content": []}
SPOKEN = {"role": "assistant", "content": None, "audio": {"id": "audio_1", "data": "", "transcript": "Hi"}}


def buffered(dialect: str, body: dict) -> Response:
    return DIALECTS[dialect].read_response(json.dumps(body).encode(), 200)


def streamed(dialect: str, *events: dict) -> Response:
    raw = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    found = feed(DIALECTS[dialect], "text/event-stream", [raw])
    return Response(200, made=tuple(made for event in found for made in event.made))


@pytest.mark.parametrize(
    ("dialect", "ask", "named", "answer"),
    [
        (
            "anthropic_messages",
            messages,
            lambda first="Hello": messages(first, container="container_1"),
            buffered("anthropic_messages", {**WHOLE, "container": {"id": "container_1"}}),
        ),
        (
            "anthropic_messages",
            messages,
            lambda first="Hello": messages(first, container={"id": "container_1"}),
            streamed(
                "anthropic_messages",
                {"type": "message_start", "message": {"id": "m", **WHOLE}},
                {"type": "message_delta", "delta": {"container": {"id": "container_1"}}, "usage": {}},
            ),
        ),
        (
            "openai_chat",
            chat,
            lambda first="Hello": chat(first, "audio_1"),
            buffered("openai_chat", {"choices": [{"index": 0, "message": SPOKEN}]}),
        ),
        (
            "openai_chat",
            chat,
            lambda first="Hello": chat(first, "audio_1"),
            streamed("openai_chat", {"choices": [{"index": 0, "delta": {"audio": {"id": "audio_1"}}}]}),
        ),
    ],
    ids=["container", "streamed container", "sound", "streamed sound"],
)
def test_what_an_answer_of_the_conversation_made_may_be_named_and_nothing_else(
    gateway: Gateway, dialect: str, ask: Callable[..., dict], named: Callable[..., dict], answer: Response
) -> None:
    unknown, _ = read(gateway, dialect, named())
    assert len(unknown.attachments) == 1
    assert request_coverage(unknown, None, "")[0] is Coverage.PARSED_IN_PART
    answered(gateway, *read(gateway, dialect, ask()), answer)
    assert read(gateway, dialect, named())[0].attachments == ()
    elsewhere, _ = read(gateway, dialect, named("Good morning"))
    assert elsewhere.attachments == unknown.attachments


def test_a_captured_flow_says_what_was_known_of_its_references(gateway: Gateway) -> None:
    answered(gateway, *read(gateway, "anthropic_messages", messages()), Response(200, made=("container_1",)))
    body = messages(container="container_1")
    request, conversation = read(gateway, "anthropic_messages", body)
    request = replace(
        request, makers=gateway.makers(unread := ask_of("anthropic_messages", body)), kept_tokens=7
    )
    who = Principal("ann", "blue")
    of = Exchange("x", conversation, datetime.now(UTC), "h", Client("10.0.0.7", "explicit"), request, who)
    flow = tflow.tflow()
    flow.metadata[KEY] = record_of(of, Verdict(()), 0)
    record = read_record(flow)
    assert record is not None
    assert record.kept is not None
    later = record.kept.known_of(unread, who)
    assert (later.attachments, later.seen, later.kept_tokens) == ((), ("/container",), 7)
    assert [maker == (who.tenant, who.id) for maker in later.makers] == [False]


def test_a_file_is_judged_also_where_the_conversation_has_made_it(gateway: Gateway) -> None:
    answered(gateway, *read(gateway, "anthropic_messages", messages()), Response(200, made=("file_1",)))
    block = {"type": "container_upload", "file_id": "file_1"}
    body = {**messages(), "messages": [hello(), {"role": "user", "content": [block]}]}
    (attachment,) = read(gateway, "anthropic_messages", body)[0].attachments
    assert attachment.media_type == "application/x-file-reference"


@pytest.mark.parametrize(
    ("body", "media"),
    [
        ({"prompt": {"id": "pmpt_1", "version": "2"}}, "application/x-prompt-reference"),
        ({"prompt": "pmpt_1"}, "application/x-prompt-reference"),
        ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, "image/*"),
        ({"input": [{"type": "call_of_next_year", "id": "x_1"}]}, "application/x-file-reference"),
        (
            {"input": [{"type": "message", "role": "assistant", "id": "msg_1"}]},
            "application/x-file-reference",
        ),
    ],
)
def test_what_lies_at_the_provider_under_an_id_is_content_that_nobody_reads(
    gateway: Gateway, body: dict, media: str
) -> None:
    request, _ = read(gateway, "openai_responses", {"model": "m", "input": "Hello", **body})
    assert [a.media_type for a in request.attachments] == [media]


def test_what_a_turn_continues_is_read_where_it_passed_here_and_not_where_it_began_elsewhere(
    gateway: Gateway,
) -> None:
    first, conversation = read(gateway, "openai_responses", {"model": "m", "input": "Hello"})
    assert request_coverage(first, None, "") == (Coverage.PARSED, "")
    answered(gateway, first, conversation, Response(200, id="resp_1", usage=Usage(input=9, output=2)))
    for by, id, read_whole in (
        ("previous_response_id", "resp_1", True),
        ("previous_response_id", "resp_2", False),
        ("conversation", "conv_1", False),
    ):
        body = {"model": "m", "input": "Go on", by: id}
        request, conversation = read(gateway, "openai_responses", body)
        expected = (Coverage.PARSED, "") if read_whole else (Coverage.PARSED_IN_PART, "continued")
        assert request_coverage(request, None, "") == expected
    answered(gateway, request, conversation, Response(200, id="resp_3", usage=Usage(input=20, output=4)))
    assert read(gateway, "openai_responses", body)[0].kept_tokens == 24


def test_a_call_that_failed_claims_nothing_and_leaves_what_it_named_as_it_was(gateway: Gateway) -> None:
    body = {"model": "m", "input": "Go on", "conversation": "conv_1"}
    request, conversation = read(gateway, "openai_responses", body)
    failed = Response(404, id="resp_1")
    answered(gateway, request, conversation, failed)
    assert gateway.makers(request) == (None,)
    answered(gateway, request, conversation, Response(200, id="resp_2", usage=Usage(900, output=100)))
    assert read(gateway, "openai_responses", body)[0].kept_tokens == 1000
    answered(gateway, request, conversation, failed)
    assert read(gateway, "openai_responses", body)[0].kept_tokens == 1000


def test_what_is_named_again_and_again_stays_known_however_much_is_made_beside_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "MAX_LINKS", 20)
    body = {"model": "m", "input": "Go on", "conversation": "conv_1"}
    request, conversation = read(gateway, "openai_responses", body)
    answered(gateway, request, conversation, Response(200, id="resp_1", usage=Usage(900, output=100)))
    for number in range(60):
        other = replace(ask_of("openai_chat", chat()), previous=None)
        answered(gateway, other, "another", Response(200, id=f"other_{number}", usage=Usage(1, output=1)))
        if number % 10 == 0:
            assert gateway.makers(request) != (None,)
    assert read(gateway, "openai_responses", body)[0].kept_tokens == 1000
    assert gateway.conversation(request) == conversation
    assert gateway._links.known("p", "other_9") is None
    assert gateway._links.known("p", "other_59") is not None
