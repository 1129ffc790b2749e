"""What a client is told where the provider, not the policy, failed."""

import json
from dataclasses import replace

import pytest

from sallyport.decision import Refusal
from sallyport.wire.dialect import Enclosing
from sallyport.wire.dialects import DIALECTS

SAID = Refusal("upstream.protocol", "The provider broke off.", "d", status=502)


@pytest.mark.parametrize("dialect", ["bedrock_converse", "bedrock_invoke", "cohere_v2"])
def test_an_sdk_that_retries_on_its_own_may_do_so_only_where_the_provider_failed(dialect: str) -> None:
    assert DIALECTS[dialect].refuse(SAID, False).status == 403
    assert DIALECTS[dialect].refuse(replace(SAID, failed=True), False).status == 502


def test_a_failed_provider_is_no_lack_of_rights_to_botocore() -> None:
    answer = DIALECTS["bedrock_converse"].refuse(replace(SAID, failed=True), False)
    assert dict(answer.headers)["x-amzn-errortype"] == "ServiceUnavailableException"


CHUNK = b'[{"candidates": [{"content": {"parts": [{"text": "Hello"}], "role": "model"}, "index": 0}]}'


@pytest.mark.parametrize("sent", [b"", CHUNK, CHUNK + b",\r\n" + CHUNK[1:]])
def test_a_json_array_that_breaks_off_is_still_one(sent: bytes) -> None:
    dialect = DIALECTS["gemini_generate"]
    reader = dialect.open_stream("application/json; charset=UTF-8")
    assert isinstance(reader, Enclosing)
    passed = b"".join(event.raw for event in reader.feed(sent))
    assert passed == sent
    *chunks, last = json.loads(passed + reader.enclose(dialect.stream_error(SAID), begun=bool(passed)))
    assert len(chunks) == sent.count(b"candidates")
    assert last["error"]["code"] == 502


def test_server_sent_events_enclose_nothing() -> None:
    assert not isinstance(DIALECTS["gemini_generate"].open_stream("text/event-stream"), Enclosing)
