"""The stand-ins over HTTP/2, and what a user's words make a model call."""

import json

import httpx
import pytest

from sallyport.lab import Lab
from sallyport.lab.mind import Call, Heard, Tool, say

ASKED = "Please call Read with %s and tell me."
TOOLS = (Tool("Write", ("text",)), Tool("Read", ("path",)))


@pytest.mark.parametrize(("http2", "version"), [(True, "HTTP/2"), (False, "HTTP/1.1")])
def test_what_the_client_offers_is_spoken(http2: bool, version: str) -> None:
    with Lab(alpn=("h2", "http/1.1")).in_thread() as lab:
        with httpx.Client(http2=http2, verify=lab.ca.client_context(), trust_env=False) as client:
            url = f"https://127.0.0.1:{lab.port}/v1/chat/completions"
            headers = {"host": "api.openai.com", "authorization": "Bearer sk-lab"}
            body = {
                "model": "gpt-lab",
                "stream": True,
                "messages": [{"role": "user", "content": "long " * 20_000}],
            }
            answers = [client.post(url, json=body, headers=headers) for _ in range(2)]
        assert [answer.http_version for answer in answers] == [version] * 2
        assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers)
        assert [(seen.http, seen.host, seen.sni) for seen in lab.requests] == [
            (version, "api.openai.com", None)
        ] * 2


def test_a_stream_that_breaks_leaves_the_connection_to_the_others() -> None:
    with (
        Lab(alpn=("h2",)).in_thread() as lab,
        httpx.Client(http2=True, verify=lab.ca.client_context(), trust_env=False) as client,
    ):
        url = f"https://127.0.0.1:{lab.port}/v1/chat/completions"
        headers = {"host": "api.openai.com", "authorization": "Bearer sk-lab"}
        body = {"model": "gpt-cut", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(url, json=body, headers=headers)
        assert client.post(url, json=body | {"model": "gpt-lab"}, headers=headers).status_code == 200
        assert len(lab.connections) == 1


def test_a_user_can_have_one_tool_called_with_arguments_of_his_own() -> None:
    asked = ASKED % json.dumps({"path": "/srv/{notes}.txt", "lines": 3})
    said = say(Heard("lab", asked, (asked,), TOOLS))
    assert said.call == Call("Read", {"path": "/srv/{notes}.txt", "lines": 3})


@pytest.mark.parametrize("words", [ASKED % "{no json}", "Please call Erase with {}", "Please call me."])
def test_what_is_no_call_of_an_offered_tool_calls_the_first(words: str) -> None:
    said = say(Heard("lab", words, (words,), TOOLS))
    assert said.call == Call("Write", {"text": words})


def test_after_a_result_nothing_is_called_again() -> None:
    asked = ASKED % "{}"
    assert say(Heard("lab", asked, (asked,), TOOLS, tool_result="done")).call is None
