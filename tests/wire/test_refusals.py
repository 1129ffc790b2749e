"""A refusal has the provider's own shape, says who decided, and does not invite a retry."""

import json

import pytest

from sallyport.decision import Edit, Refusal
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError
from wire.samples import CASSETTES

NAMES = (
    "openai_chat",
    "openai_completions",
    "openai_embeddings",
    "openai_responses",
    "anthropic_messages",
    "gemini_generate",
    "opaque",
)
REFUSAL = Refusal("secrets.found", "A key was found. Remove it and ask again.", "gw-7f3a")


def shape(value):
    """Return the members of a body without their values."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items() if name != "metadata"}
    return [shape(item) for item in value] if isinstance(value, list) else None


@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_says_what_to_do_and_who_decided(name: str):
    for streaming in (False, True):
        answer = DIALECTS[name].refuse(REFUSAL, streaming)
        headers = dict(answer.headers)
        assert answer.status == 403
        assert headers == {
            "content-type": "application/json",
            "x-should-retry": "false",
            "x-sallyport-decision": "gw-7f3a",
        }
        message = json.loads(answer.body)["error"]["message"]
        assert REFUSAL.message in message
        assert "gw-7f3a" in message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("seconds", "told"), [(None, False), (0, False), (5, True), (60, True), (3600, False)]
)
def test_only_a_short_wait_is_told(name: str, seconds: int | None, told: bool):
    refusal = Refusal("limits.rate", "Slow down.", "d", 429, seconds)
    assert ("retry-after" in dict(DIALECTS[name].refuse(refusal, False).headers)) is told


@pytest.mark.parametrize("name", ["openai_chat", "openai_responses", "anthropic_messages", "gemini_generate"])
def test_a_refusal_has_the_shape_of_the_recorded_block(name: str):
    recorded = json.loads((CASSETTES / name / "error_403_block.json").read_bytes())
    body = json.loads(DIALECTS[name].refuse(REFUSAL, False).body)
    assert shape(body) == shape(recorded)
    if name != "gemini_generate":
        assert body["error"].get("code") in (None, "secrets.found")


@pytest.mark.parametrize("name", [n for n in NAMES if n != "opaque"])
def test_a_dialect_reads_its_own_refusals_as_errors(name: str):
    dialect = DIALECTS[name]
    for status in (400, 401, 402, 403, 404, 413, 429, 500, 503):
        refusal = Refusal("access.denied", "No.", "d", status)
        response = dialect.read_response(dialect.refuse(refusal, False).body, status)
        assert response.error
        assert not response.error.startswith("http_")
        (event, *rest) = dialect.open_stream().feed(dialect.stream_error(refusal))
        assert event.error
        assert not any(e.error for e in rest)


def test_statuses_get_the_words_of_each_provider():
    def error(name: str, status: int) -> dict:
        return json.loads(DIALECTS[name].refuse(Refusal("limits.rate", "m", "d", status), False).body)[
            "error"
        ]

    assert [error("anthropic_messages", s)["type"] for s in (400, 403, 429, 503)] == [
        "invalid_request_error",
        "permission_error",
        "rate_limit_error",
        "api_error",
    ]
    assert [error("gemini_generate", s)["status"] for s in (400, 403, 429, 503, 451)] == [
        "INVALID_ARGUMENT",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
        "PERMISSION_DENIED",
    ]
    assert [error("openai_chat", s)["type"] for s in (400, 403, 429, 503)] == [
        "policy_refusal",
        "policy_refusal",
        "rate_limit_exceeded",
        "server_error",
    ]
    assert error("gemini_generate", 403)["details"][0]["reason"] == "LIMITS_RATE"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b'"x"',
        b'{"error":null}',
        b'{"error":"text"}',
        b'{"error":[1]}',
        b'{"detail":"Not Found"}',
        b'[{"error":{"code":{}}}]',
        b'{"error":{"code":"a b c"}}',
    ],
)
def test_any_json_is_an_error_body(body: bytes):
    for name in NAMES:
        assert DIALECTS[name].read_response(body, 404).error == "http_404"


def test_a_body_without_text_takes_no_edit():
    with pytest.raises(WireError):
        DIALECTS["opaque"].edit(b"x", [Edit("", 0, 1, "y")])
