"""A batch whose requests stand in its own body, as Mistral takes them, is judged by every one of them."""

import json
from typing import Any

import pytest

from sallyport.decision import Change
from sallyport.exchange import Operation, Request, Surface, Tool, ToolKind
from sallyport.wire.dialect import Call
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError


def read(*bodies: dict[str, Any], **beside: Any) -> Request:
    requests = [{"custom_id": str(number), "body": body} for number, body in enumerate(bodies)]
    payload = {"endpoint": "/v1/chat/completions", "requests": requests, **beside}
    call = Call("mistral", Operation.BATCH, content_type="application/json")
    return DIALECTS["openai_other"].read_request(json.dumps(payload).encode(), call)


def asking(**more: Any) -> dict[str, Any]:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgr/"}}
    content = [{"type": "text", "text": "Hello"}, picture]
    return {"messages": [{"role": "user", "content": content}], **more}


def test_what_a_policy_judges_is_gathered_from_every_request() -> None:
    request = read(asking(), asking(temperature=1.5, tools=[{"type": "web_search"}]), model="m")
    assert (request.model, request.answers) == ("m", 2)
    assert [a.media_type for a in request.attachments] == ["image/png"] * 2
    assert request.declared == (Tool("web_search", ToolKind.HOSTED),)
    (parameter,) = request.parameters
    assert (parameter.name, parameter.at) == ("temperature", "/requests/1/body/temperature")
    assert [s.surface for s in request.segments if s.text == "Hello"] == [Surface.USER] * 2


def test_a_setting_in_it_can_be_changed() -> None:
    body = json.dumps({"requests": [{"body": asking(temperature=1.5)}], "model": "m"}).encode()
    (parameter,) = read(asking(temperature=1.5), model="m").parameters
    changed = DIALECTS["openai_other"].change(body, [Change(parameter.at, 1)])
    assert json.loads(changed)["requests"][0]["body"]["temperature"] == 1


def test_its_requests_name_no_other_model() -> None:
    assert read(asking(model="m"), model="m").model == "m"
    assert read(asking(model="m")).model == "m"
    with pytest.raises(WireError, match=r"batch\.models"):
        read(asking(model="m"), asking(model="other"))
    with pytest.raises(WireError, match=r"batch\.models"):
        read(asking(model="other"), model="m")


@pytest.mark.parametrize("requests", ["x", {"body": {}}, [["body"]], [1], [{"body": "x"}], [{}]])
def test_requests_that_nobody_can_judge_are_refused(requests: Any) -> None:
    call = Call("mistral", Operation.BATCH, content_type="application/json")
    with pytest.raises(WireError):
        DIALECTS["openai_other"].read_request(json.dumps({"model": "m", "requests": requests}).encode(), call)


@pytest.mark.parametrize(
    "url", ["/v1/chat/completions", "/chat/completions", "/openai/v1/chat/completions", 7, None]
)
@pytest.mark.parametrize("member", ["messages", "input"])
def test_a_picture_in_a_line_is_content_whatever_the_line_says_of_its_endpoint(url: Any, member: str) -> None:
    picture = "data:image/png;base64,iVBORw0KGgr/"
    chat = [{"type": "image_url", "image_url": {"url": picture}}]
    content = chat if member == "messages" else [{"type": "input_image", "image_url": picture}]
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": url,
        "body": {member: [{"role": "user", "content": content}]},
    }
    if url == "/v1/chat/completions" and member == "input":
        line["url"] = "/v1/responses"
    call = Call("azure_openai", Operation.BATCH)
    request = DIALECTS["openai_batch"].read_request(json.dumps(line).encode(), call)
    assert [a.media_type for a in request.attachments] == ["image/png"]
