"""A body is read as what its label says, and the model is the one the provider goes by."""

import json

import pytest

from sallyport.exchange import Operation
from sallyport.wire.dialect import Call
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError

CHAT = {"messages": [{"role": "user", "content": "hello"}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
BODIES = {"openai_chat": CHAT, "anthropic_messages": {**CHAT, "max_tokens": 9}, "gemini_generate": GEMINI}


def call(model: str | None = None, content_type: str = "application/json") -> Call:
    return Call("x", Operation.CHAT, model=model, content_type=content_type)


@pytest.mark.parametrize("label", ["application/json", "Application/JSON; charset=utf-8"])
@pytest.mark.parametrize("dialect", BODIES)
def test_json_is_read(dialect: str, label: str) -> None:
    body = json.dumps({**BODIES[dialect], "model": "m"}).encode()
    assert DIALECTS[dialect].read_request(body, call(content_type=label)).model == "m"


OTHERS = ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
          "application/jsonp", "application/octet-stream", "application/json-seq"]  # fmt: skip


@pytest.mark.parametrize("label", OTHERS)
@pytest.mark.parametrize("dialect", BODIES)
def test_json_under_another_label_is_refused(dialect: str, label: str) -> None:
    body = json.dumps({**BODIES[dialect], "model": "m"}).encode()
    with pytest.raises(WireError) as refused:
        DIALECTS[dialect].read_request(body, call(content_type=label))
    assert refused.value.reason == "content_type.other"


@pytest.mark.parametrize("dialect", BODIES)
def test_the_model_of_the_target_counts_and_the_one_in_the_body_is_a_text(dialect: str) -> None:
    body = json.dumps({**BODIES[dialect], "model": "allowed-small"}).encode()
    request = DIALECTS[dialect].read_request(body, call("forbidden-large"))
    assert request.model == "forbidden-large"
    assert [s.text for s in request.segments if s.at == "/model"] == ["allowed-small"]


@pytest.mark.parametrize("dialect", BODIES)
def test_one_model_named_twice_is_one_name(dialect: str) -> None:
    body = json.dumps({**BODIES[dialect], "model": "m"}).encode()
    request = DIALECTS[dialect].read_request(body, call("m"))
    assert request.model == "m"
    assert not [s for s in request.segments if s.at == "/model"]
