"""Content and batches that say two things of themselves are judged by neither."""

import base64
import json

import pytest

from sallyport.exchange import Operation
from sallyport.wire import leaves
from sallyport.wire.dialect import Call
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError

PDF = base64.b64encode(b"%PDF-1.7\n\xff\xfe").decode()


def media_of(**beside: str) -> str:
    body = json.dumps({"contents": [{"parts": [{"inlineData": {**beside, "data": PDF}}]}]}).encode()
    call = Call("gemini", Operation.CHAT, model="m", content_type="application/json")
    (attachment,) = DIALECTS["gemini_generate"].read_request(body, call).attachments
    return attachment.media_type


@pytest.mark.parametrize(
    "beside",
    [
        {"mimeType": "image/png", "mime_type": "application/pdf"},
        {"media_type": "image/png", "mimeType": "application/pdf"},
        {"mimeType": "image/png", "format": "wav"},
    ],
)
def test_content_with_two_media_types_is_of_neither(beside: dict[str, str]) -> None:
    assert media_of(**beside) == leaves.OCTETS


@pytest.mark.parametrize(
    "beside",
    [
        {"mimeType": "image/png"},
        {"mimeType": "image/png", "mime_type": "image/png"},
        {"mime_type": "image/png", "format": "png"},
    ],
)
def test_what_is_said_twice_alike_is_one_media_type(beside: dict[str, str]) -> None:
    assert media_of(**beside) == "image/png"


def upload(model: str) -> bytes:
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "asked", "messages": []},
    }
    head = "--b\r\nContent-Disposition: form-data; name="
    return (
        f'{head}"purpose"\r\n\r\nbatch\r\n{head}"model"\r\n\r\n{model}\r\n'
        f'{head}"file"; filename="a.jsonl"\r\n\r\n{json.dumps(line)}\r\n--b--\r\n'
    ).encode()


def test_a_field_of_the_form_does_not_hide_the_model_that_its_lines_ask() -> None:
    call = Call("openai", Operation.FILE, content_type="multipart/form-data; boundary=b")
    form = DIALECTS["openai_form"]
    assert form.read_request(upload("asked"), call).model == "asked"
    with pytest.raises(WireError, match=r"batch\.models"):
        form.read_request(upload("allowed"), call)


HIDDEN = base64.b64encode(b"Odile writes from odile@example.org").decode()


@pytest.mark.parametrize("head", [" data:", "\ndata:", "da\tta:", "\x1fDATA\n:", "\u0000 data:"])
def test_a_data_url_that_only_some_readers_take_for_one_is_no_picture_to_fetch(head: str) -> None:
    image = {"type": "image_url", "image_url": {"url": f"{head}text/plain;base64,{HIDDEN}"}}
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": [image]}]}).encode()
    call = Call("openai", Operation.CHAT, content_type="application/json")
    (attachment,) = DIALECTS["openai_chat"].read_request(body, call).attachments
    assert attachment.media_type == leaves.OCTETS


@pytest.mark.parametrize("where", ["batch", "request"])
@pytest.mark.parametrize(
    ("model", "passes"), [("models/m", True), ("m", True), ("models/other", False), (["m"], False)]
)
def test_a_request_inside_a_gemini_batch_names_no_other_model(
    where: str, model: object, passes: bool
) -> None:
    inside: dict[str, object] = {"contents": [{"parts": [{"text": "hi"}]}]}
    batch: dict[str, object] = {"inputConfig": {"requests": {"requests": [{"request": inside}]}}}
    (batch if where == "batch" else inside)["model"] = model
    call = Call("gemini", Operation.BATCH, model="m", content_type="application/json")
    body = json.dumps({"batch": batch}).encode()
    dialect = DIALECTS["gemini_batch"]
    if passes:
        assert dialect.read_request(body, call).model == "m"
    else:
        with pytest.raises(WireError, match=r"batch\.models"):
            dialect.read_request(body, call)
