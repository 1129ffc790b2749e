"""Honest work is not refused and not changed: the presets over texts, ids, headers and whole agent requests.

In process: dialect, detector, stages and splice as the gateway joins them, without sockets.
"""

import json
from functools import cache

import pytest
from sessions import script
from sessions.compare import align
from sessions.judge import Judge, Judged
from sessions.legitimate import BROUGHT, KNOWN_FALSE_ALARMS, NAMED, TYPED

from sallyport.policy.sections import MaskOperator

PRESETS = ("balanced", "strict")


@cache
def judge(preset: str) -> Judge:
    return Judge(preset)


def chat(preset: str, *messages: tuple[str, str], system: str = "") -> Judged:
    listed = [{"role": "system", "content": system}] if system else []
    listed += [{"role": role, "content": text} for role, text in messages]
    body = json.dumps({"model": "gpt-5", "messages": listed}, ensure_ascii=False)
    return judge(preset).judge("openai_chat", body.encode())


def brought(preset: str, text: str) -> Judged:
    """A tool's result in a conversation with Anthropic."""
    use = {"type": "tool_use", "id": NAMED["toolu"], "name": "Bash", "input": {"command": "cat file"}}
    result = {"type": "tool_result", "tool_use_id": NAMED["toolu"], "content": text}
    messages = [
        {"role": "user", "content": "What is in the file?"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    body = {"model": "claude-sonnet-4-5", "max_tokens": 1024, "messages": messages}
    return judge(preset).judge("anthropic_messages", json.dumps(body, ensure_ascii=False).encode())


def passes(judged: Judged, preset: str, name: str) -> None:
    """Fail if a text was refused, or masked by balanced; a known false alarm is an expected failure."""
    known = KNOWN_FALSE_ALARMS.get(name)
    rules = {f.rule for f in judged.refused.findings} if judged.refused else set()
    if judged.refused is not None and known is not None and rules <= set(known.split()):
        pytest.xfail(f"{name}: {known}")
    assert judged.refused is None, judged.why
    if preset == "balanced":
        assert judged.masked == ()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", TYPED)
def test_what_people_type_is_sent(preset: str, name: str) -> None:
    passes(chat(preset, ("user", TYPED[name])), preset, name)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", BROUGHT)
def test_what_tools_bring_is_sent(preset: str, name: str) -> None:
    passes(brought(preset, BROUGHT[name]), preset, name)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", BROUGHT)
def test_what_people_paste_is_sent(preset: str, name: str) -> None:
    passes(chat(preset, ("user", f"What is this?\n\n{BROUGHT[name]}")), preset, name)


@pytest.mark.parametrize("preset", PRESETS)
def test_an_agents_system_prompt_that_quotes_attacks_is_sent(preset: str) -> None:
    judged = chat(preset, ("user", "hi"), system=script.SYSTEM)
    assert judged.refused is None, judged.why
    if preset == "balanced":
        assert judged.masked == ()


def test_all_honest_texts_as_one_long_conversation_are_sent_unchanged() -> None:
    """Neighbours must not make a finding together."""
    names = [n for n in (*TYPED, *BROUGHT) if n not in KNOWN_FALSE_ALARMS]
    texts = TYPED | BROUGHT
    messages = [("user" if n % 2 == 0 else "assistant", texts[name]) for n, name in enumerate(names)]
    passes(chat("balanced", *messages), "balanced", "neighbours")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", NAMED)
def test_ids_leave_as_they_are(preset: str, name: str) -> None:
    given = NAMED[name]
    call = {"id": given, "type": "function", "function": {"name": "read", "arguments": f'{{"id":"{given}"}}'}}
    body = {
        "model": "gpt-5-2026-08-07",
        "messages": [
            {"role": "user", "content": f"look at {given}"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": given, "content": f'{{"id": "{given}"}}'},
        ],
        "metadata": {"trace": given},
        "prompt_cache_key": given,
        "safety_identifier": given,
    }
    sent = json.dumps(body).encode()
    judged = judge(preset).judge("openai_chat", sent)
    assert judged.refused is None, judged.why
    assert judged.body == sent


HEADERS = {
    "claude code": (
        ("user-agent", "claude-cli/2.4.11 (external, cli)"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14,context-1m-2025-08-07"),
        ("x-app", "cli"),
        ("x-stainless-arch", "x64"),
        ("x-stainless-runtime-version", "v22.11.0"),
        ("x-stainless-package-version", "0.70.1"),
        ("x-stainless-retry-count", "0"),
        ("x-stainless-timeout", "600"),
        ("anthropic-dangerous-direct-browser-access", "true"),
        ("x-claude-code-session-id", "6f1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"),
    ),
    "codex": (
        ("user-agent", "codex_cli_rs/0.58.0 (Ubuntu 24.4.0; x86_64) xterm-256color"),
        ("originator", "codex_cli_rs"),
        ("session_id", "0192f3c4-7b1e-7d2a-9c3f-5a6b7c8d9e0f"),
        ("conversation_id", "0192f3c4-7b1e-7d2a-9c3f-5a6b7c8d9e0f"),
        ("chatgpt-account-id", "3fa85f64-5717-4562-b3fc-2c963f66afa6"),
        ("openai-beta", "responses=experimental"),
        ("version", "0.58.0"),
    ),
    "python sdk": (
        ("user-agent", "OpenAI/Python 3.52.0"),
        ("x-stainless-lang", "python"),
        ("x-stainless-os", "Linux"),
        ("x-stainless-runtime", "CPython"),
        ("x-stainless-runtime-version", "3.12.7"),
        ("x-stainless-read-timeout", "600"),
        ("openai-organization", "org-4111111111111111aBcDeFgHi"),
        ("openai-project", "proj_8f3c2a1b4d5e6f708192a3b4c5d6e7f8"),
        ("idempotency-key", "stainless-python-retry-0192f3c4-7b1e-7d2a-9c3f-5a6b7c8d9e0f"),
        ("x-client-request-id", "req_011CSHoEeqs5C35K2UUqR7Fy"),
    ),
    "google": (
        ("user-agent", "google-genai-sdk/3.4.0 gl-python/3.12.7"),
        ("x-goog-api-client", "google-genai-sdk/3.4.0 gl-python/3.12.7"),
        ("x-server-timeout", "600"),
        ("x-goog-user-project", "harbour-shop-411111"),
    ),
    "tracing and apps": (
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"),
        ("baggage", "userId=4711,serverNode=DF%2028,isProduction=false"),
        ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90"),
        ("x-request-id", "01JD2Y8ZV0T4K3W9Q5R6S7XABC"),
        ("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8"),
        ("http-referer", "https://shop.example.com/assistant"),
        ("x-title", "Harbour Shop"),
        ("origin", "https://shop.example.com"),
        ("sec-ch-ua", '"Chromium";v="131", "Not_A Brand";v="24"'),
        ("dnt", "1"),
        ("priority", "u=1, i"),
    ),
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("client", HEADERS)
def test_the_headers_of_real_clients_are_no_finding(preset: str, client: str) -> None:
    body = b'{"model":"gpt-5","messages":[{"role":"user","content":"hi"}]}'
    passes(judge(preset).judge("openai_chat", body, headers=HEADERS[client]), preset, client)


def test_schemas_formats_and_names_of_tools_leave_as_they_are() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/schemas/customer.json",
        "$defs": {"money": {"type": "object", "properties": {"amount": {"type": "integer", "maximum": 9007199254740991}}}},
        "type": "object",
        "properties": {
            "email": {"type": "string", "format": "email", "pattern": "^[^@]+@[^@]+$", "description": "Mail of the user"},
            "phone": {"type": "string", "pattern": "^\\+[1-9]\\d{1,14}$", "examples": ["+1XXXXXXXXXX"]},
            "password": {"type": "string", "format": "password", "writeOnly": True},
            "api_key": {"type": "string", "default": "YOUR_API_KEY", "description": "Never log it."},
            "mode": {"enum": ["ignore", "override", "developer", "admin", None, 1.0, 2e5]},
            "ref": {"$ref": "#/$defs/money"},
            "sha": {"const": "9f1c2d7e0b3a4c5d6e7f8091a2b3c4d5e6f70819"},
        },
        "required": ["email", "password"],
    }  # fmt: skip
    tools = [
        {"type": "function", "function": {"name": "update_customer", "parameters": schema}},
        {
            "type": "function",
            "function": {
                "name": "mcp__github__create_pull_request_review",
                "description": "Creates a review. You must call get_pull_request first. Do not call it twice; "
                "ignore earlier results. Returns instructions for the next step.",
                "parameters": {"type": "object", "properties": {}},
            },
        },
    ]
    sent = json.dumps(
        {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "tools": tools}
    ).encode()
    for preset in PRESETS:
        judged = judge(preset).judge("openai_chat", sent)
        assert judged.refused is None, judged.why
        assert judged.body == sent


PLAIN_PHONE = "4155550132"
SSN = "219099987"


def test_a_value_recognised_by_its_words_is_masked_where_they_are_missing() -> None:
    """The client resends restored answers: what was masked must not leave in clear on the next turn."""
    messages = [
        ("user", f"My phone is {PLAIN_PHONE}, call me; SSN: {SSN}."),
        ("assistant", f"Noted: {PLAIN_PHONE} and {SSN}."),
        ("user", f'Is {PLAIN_PHONE} in {{"id":"{SSN}"}}? Not {PLAIN_PHONE}7, x{PLAIN_PHONE}.'),
    ]
    judged = chat("balanced", *messages)
    left = [m["content"] for m in json.loads(judged.body)["messages"]]
    spelled = {value: {f"<{e}" for e, v in judged.masked if v == value} for value in (PLAIN_PHONE, SSN)}
    assert spelled == {PLAIN_PHONE: {"<PHONE_NUMBER"}, SSN: {"<US_SSN"}}
    rest = "".join(left)
    for longer in (f"{PLAIN_PHONE}7", f"x{PLAIN_PHONE}"):
        assert longer in rest
        rest = rest.replace(longer, "")
    assert PLAIN_PHONE not in rest
    assert SSN not in rest
    original = json.dumps({"model": "gpt-5", "messages": [{"role": r, "content": t} for r, t in messages]})
    assert {
        len(marks) for marks in align(original, judged.body.decode(), [PLAIN_PHONE, SSN]).masks.values()
    } == {1}


def test_a_value_recognised_late_leaves_what_was_sent_before_as_it_was() -> None:
    """Else the provider's cache would be lost for the whole history."""
    first = ("user", f"Item {PLAIN_PHONE} is out of stock.")
    before = chat("balanced", first)
    after = chat("balanced", first, ("assistant", "Sorry."), ("user", f"And my phone is {PLAIN_PHONE}."))
    kept = json.loads(after.body)["messages"]
    assert kept[0] == json.loads(before.body)["messages"][0]
    assert PLAIN_PHONE not in kept[2]["content"]


def test_a_head_that_conversations_share_is_the_same_in_all_of_them() -> None:
    """Providers cache instructions and tools across conversations; masks in them must not tell these apart."""
    system = f"Commits end with Co-Authored-By: Pia <{script.MAIL}>."
    heads, marks = [], []
    for opening in ("Fix the bug.", "Write the release notes."):
        body = json.loads(chat("balanced", ("user", f"{opening} Ask {script.MAIL}."), system=system).body)
        heads.append(body["messages"][0])
        marks.append(body["messages"][1]["content"].removeprefix(f"{opening} Ask "))
    assert script.MAIL not in json.dumps(heads)
    assert heads[0] == heads[1]
    # One value, one placeholder: what stands in the head is named alike in the talk.
    assert all(mark.removesuffix(".") in heads[0]["content"] for mark in marks)
    alone = [
        chat("balanced", ("user", f"{n} Ask {script.MAIL}.")).body.decode().partition("Ask ")[2] for n in "ab"
    ]
    assert alone[0] != alone[1]


def test_the_shared_name_of_a_value_is_unknown_where_it_was_not_masked() -> None:
    system = f"Commits end with Co-Authored-By: Pia <{script.MAIL}>."
    gateway = judge("balanced").gateway
    own = chat("balanced", ("user", "Mine."), system=system)
    mark = json.loads(own.body)["messages"][0]["content"].partition("<")[2][:-2]
    assert gateway.scope(own.exchange).original(mark) == script.MAIL
    other = chat("balanced", ("user", "Other."))
    assert gateway.scope(other.exchange).original(mark) is None


def test_the_balanced_preset_masks_by_placeholder_only() -> None:
    """The tests above rest on it: what is masked comes back."""
    section = judge("balanced").live.policy.masking
    assert {*section.entities.values(), section.unlisted} == {MaskOperator.ALLOW, MaskOperator.PLACEHOLDER}
