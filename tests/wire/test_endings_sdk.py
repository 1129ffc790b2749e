"""The real SDKs come to the end of a stream that was ended early, and read what the gateway says as an answer."""

import io
import json
from collections.abc import Iterator
from functools import cache

import pytest

from sallyport.exchange import Operation, Request
from sallyport.wire.dialect import Stamp
from sallyport.wire.dialects import DIALECTS
from wire.samples import Sample, feed, samples
from wire.test_sdk import Loopback

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")
genai = pytest.importorskip("google.genai")
pydantic = pytest.importorskip("pydantic")

STAMP = Stamp("gw-7f3a", 1767261600)
TEXT = "The gateway held this back (decision gw-7f3a)."
EVENTS = (("content-type", "text/event-stream"),)
ASK = [{"role": "user", "content": "x"}]


class Shipment(pydantic.BaseModel):
    parcel: str


@pytest.fixture(scope="module")
def loopback() -> Iterator[Loopback]:
    server = Loopback()
    yield server
    server.close()


@cache
def openai_at(url: str):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="test")


@cache
def anthropic_at(url: str):
    return anthropic.Anthropic(base_url=url, api_key="test")


@cache
def genai_at(url: str):
    return genai.Client(api_key="test", http_options=genai.types.HttpOptions(base_url=url))


def chat(url: str) -> list:
    with openai_at(url).chat.completions.stream(model="m", messages=ASK) as stream:
        events = list(stream)
        assert stream.current_completion_snapshot.choices[0].finish_reason
        return events


def completions(url: str) -> list:
    chunks = list(openai_at(url).completions.create(model="m", prompt="x", stream=True))
    assert chunks[-1].choices[0].finish_reason
    return chunks


def responses(url: str) -> list:
    with openai_at(url).responses.stream(model="m", input="x") as stream:
        events = list(stream)
        assert events[-1].type in ("response.completed", "response.incomplete")
        return events


def messages(url: str) -> list:
    with anthropic_at(url).messages.stream(model="m", max_tokens=5, messages=ASK) as stream:
        events = list(stream)
        assert stream.get_final_message().stop_reason
        return events


def gemini(url: str) -> list:
    chunks = list(genai_at(url).models.generate_content_stream(model="m", contents="x"))
    assert chunks[-1].candidates[0].finish_reason
    return chunks


HELPERS = {
    "openai_chat": chat,
    "openai_completions": completions,
    "openai_responses": responses,
    "anthropic_messages": messages,
    "gemini_generate": gemini,
}


def asked(dialect: str, **more) -> Request:
    return Request("test", dialect, Operation.CHAT, "m", **more)


@pytest.mark.parametrize("sample", [s for s in samples("stream") if "array" not in s.name], ids=str)
def test_the_sdk_reads_a_stream_that_ends_at_any_event(loopback: Loopback, sample: Sample):
    found = feed(sample.dialect, sample.content_type, [sample.body])
    for count in range(len(found) + 1):
        ending = sample.dialect.ending(asked(sample.dialect.name), STAMP)
        for event in found[:count]:
            ending.sent(event, {})
        loopback.answer(200, EVENTS, b"".join(e.raw for e in found[:count]) + ending.conclude())
        assert HELPERS[sample.dialect.name](loopback.url)


@pytest.mark.parametrize(
    "name", ["bedrock_converse/stream.bin", "bedrock_converse/stream_tool.bin", "bedrock_invoke/stream.bin"]
)
def test_botocore_reads_a_stream_of_frames_that_ends_at_any_event(name: str):
    pytest.importorskip("botocore")
    from botocore.eventstream import EventStream
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.parsers import EventStreamJSONParser

    model = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
    converse = "converse" in name
    operation = model.operation_model("ConverseStream" if converse else "InvokeModelWithResponseStream")
    shape = operation.output_shape.members["stream" if converse else "body"]
    sample = next(s for s in samples("stream", every=True) if s.name == name)
    found = feed(sample.dialect, sample.content_type, [sample.body])

    class Raw(io.BytesIO):
        def stream(self):
            yield self.read()

    for count in range(len(found) + 1):
        ending = sample.dialect.ending(Request("aws", "x", Operation.CHAT, "anthropic.claude-x"), STAMP)
        for event in found[:count]:
            ending.sent(event, {})
        body = b"".join(e.raw for e in found[:count]) + ending.conclude()
        events = list(EventStream(Raw(body), shape, EventStreamJSONParser(), operation.name))
        names = [next(iter(event)) for event in events]
        if converse:
            assert names[0] == "messageStart"
            assert names[-2:] == ["messageStop", "metadata"]
            assert names.count("contentBlockStart") <= names.count("contentBlockStop")
        else:
            last = json.loads(events[-1]["chunk"]["bytes"])
            assert "amazon-bedrock-invocationMetrics" in last


@pytest.mark.parametrize("name", HELPERS)
def test_the_sdk_streams_what_the_gateway_says(loopback: Loopback, name: str):
    answer = DIALECTS[name].say(TEXT, asked(name, stream=True), STAMP)
    loopback.answer(200, answer.headers, answer.body)
    events = HELPERS[name](loopback.url)
    assert any(TEXT in str(event) for event in events)


def test_the_sdks_read_what_the_gateway_says_whole(loopback: Loopback):
    ai = openai_at(loopback.url)
    claude = anthropic_at(loopback.url)
    google = genai_at(loopback.url)
    calls = {
        "openai_chat": lambda: ai.chat.completions.create(model="m", messages=ASK).choices[0].message.content,
        "openai_responses": lambda: ai.responses.create(model="m", input="x").output_text,
        "anthropic_messages": lambda: (
            claude.messages.create(model="m", max_tokens=5, messages=ASK).content[0].text
        ),
        "gemini_generate": lambda: google.models.generate_content(model="m", contents="x").text,
    }
    for name, call in calls.items():
        answer = DIALECTS[name].say(TEXT, asked(name), STAMP)
        loopback.answer(200, answer.headers, answer.body)
        assert call() == TEXT


def test_where_json_was_asked_for_it_is_a_refusal_and_nothing_to_parse(loopback: Loopback):
    ai = openai_at(loopback.url)
    claude = anthropic_at(loopback.url)

    def says(name: str, **more) -> None:
        answer = DIALECTS[name].say(TEXT, asked(name, structured=True, **more), STAMP)
        loopback.answer(200, answer.headers, answer.body)

    says("openai_chat")
    message = ai.chat.completions.parse(model="m", messages=ASK, response_format=Shipment).choices[0].message
    assert (message.parsed, message.refusal) == (None, TEXT)
    says("openai_chat", stream=True)
    with ai.chat.completions.stream(model="m", messages=ASK, response_format=Shipment) as stream:
        assert stream.get_final_completion().choices[0].message.refusal == TEXT
    says("openai_responses")
    response = ai.responses.parse(model="m", input="x", text_format=Shipment)
    assert (response.output_parsed, response.output[0].content[0].refusal) == (None, TEXT)
    says("openai_responses", stream=True)
    with ai.responses.stream(model="m", input="x", text_format=Shipment) as events:
        assert events.get_final_response().output[0].content[0].refusal == TEXT
    says("anthropic_messages")
    parsed = claude.messages.parse(model="m", max_tokens=5, messages=ASK, output_format=Shipment)
    assert (parsed.content, parsed.stop_reason, parsed.stop_details.explanation) == ([], "refusal", TEXT)


@cache
def cohere_at(url: str):
    return pytest.importorskip("cohere").ClientV2(api_key="test", base_url=url)


@cache
def ollama_at(url: str):
    return pytest.importorskip("ollama").Client(host=url)


@cache
def mistral_at(url: str):
    return pytest.importorskip("mistralai.client").Mistral(api_key="test", server_url=url)


def cohere_chat(url: str) -> list:
    events = list(cohere_at(url).chat_stream(model="m", messages=ASK))
    assert events[-1].type == "message-end"
    assert events[-1].delta.finish_reason
    return events


def ollama_chat(url: str) -> list:
    lines = list(ollama_at(url).chat(model="m", messages=ASK, stream=True))
    assert lines[-1].done
    return lines


def mistral_chat(url: str) -> list:
    chunks = [event.data for event in mistral_at(url).chat.stream(model="m", messages=ASK)]
    assert any(choice.finish_reason for chunk in chunks for choice in chunk.choices)
    return chunks


OTHERS = [
    ("cohere_v2", cohere_chat, "text/event-stream"),
    ("ollama_chat", ollama_chat, "application/x-ndjson"),
    ("openai_chat", mistral_chat, "text/event-stream"),
]


@pytest.mark.parametrize(("name", "helper", "content_type"), OTHERS, ids=["cohere", "ollama", "mistralai"])
def test_other_sdks_read_it_too(loopback: Loopback, name: str, helper, content_type: str):
    headers = (("content-type", content_type),)
    recorded = [s for s in samples("stream", every=True) if s.name.startswith(f"{name}/stream")]
    if helper is mistral_chat:  # its calls come whole, and its SDK reads no other
        recorded = [s for s in recorded if "tool" not in s.name]
    assert recorded
    for sample in recorded:
        found = feed(sample.dialect, sample.content_type, [sample.body])
        for count in range(len(found) + 1):
            ending = sample.dialect.ending(asked(name), STAMP)
            for event in found[:count]:
                ending.sent(event, {})
            loopback.answer(200, headers, b"".join(e.raw for e in found[:count]) + ending.conclude())
            assert helper(loopback.url)
    answer = DIALECTS[name].say(TEXT, asked(name, stream=True), STAMP)
    loopback.answer(200, answer.headers, answer.body)
    assert any(TEXT in str(event) for event in helper(loopback.url))


def test_other_sdks_read_what_the_gateway_says_whole(loopback: Loopback):
    boto3 = pytest.importorskip("boto3")
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    bedrock = boto3.client("bedrock-runtime", endpoint_url=loopback.url, **keys)
    asking = [{"role": "user", "content": [{"text": "x"}]}]
    calls = {
        "cohere_v2": lambda: cohere_at(loopback.url).chat(model="m", messages=ASK),
        "ollama_chat": lambda: ollama_at(loopback.url).chat(model="m", messages=ASK),
        "openai_chat": lambda: mistral_at(loopback.url).chat.complete(model="m", messages=ASK),
        "bedrock_converse": lambda: bedrock.converse(modelId="m", messages=asking),
    }
    for name, call in calls.items():
        answer = DIALECTS[name].say(TEXT, asked(name), STAMP)
        loopback.answer(200, answer.headers, answer.body)
        assert TEXT in str(call()), name
    answer = DIALECTS["bedrock_converse"].say(TEXT, asked("bedrock_converse", stream=True), STAMP)
    loopback.answer(200, answer.headers, answer.body)
    events = list(bedrock.converse_stream(modelId="m", messages=asking)["stream"])
    assert TEXT in str(events)
    assert "metadata" in events[-1]
