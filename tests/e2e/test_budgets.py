"""Limits and budgets through a running gateway, with the official SDKs: who is refused, who waits, what is booked."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from e2e.counters import HEADER, INPUT_USD, OUTPUT_USD, POLICY, levels, reconciled, sallyport, used
from e2e.traffic import CHAT, OPENAI, Wire, chat, eventually, recorded, running, settled
from gateways import GatewayProcess
from rawclient import post
from sallyport.audit.events import EventKind
from sallyport.decision import Action
from sallyport.lab.server import Lab

RULES = """    - {id: short, limit: 1, per: second, when: 'principal.id.startsWith("short")'}
    - {id: gone, limit: 1, per: month, when: 'principal.id.startsWith("gone")'}
    - {id: budget, measure: cost_usd, limit: 0.01, per: month, when: 'principal.id.startsWith("poor")'}
    - {id: warned, limit: 4, per: month, soft: 0.5, when: 'principal.id == "warned"'}
    - {id: one, measure: concurrent, limit: 1, when: 'principal.id.startsWith("one")'}
    - {id: patient, limit: 2, per: second, burst: 1, wait_s: 5, when: 'principal.id == "patient"'}
    - {id: each, measure: total_tokens, limit: 100000000, per: month, by: [model]}
    - {id: watched, limit: 1, per: month, mode: observe, when: 'principal.id == "watched"'}
"""
KEYS = {"openai": "sk-test-EXAMPLE", "anthropic": "sk-ant-test-EXAMPLE", "google": "AIza-test-EXAMPLE"}


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    dear = f"    - {{model: 'lab-dear*', input_usd: {10 * INPUT_USD}, output_usd: {10 * OUTPUT_USD}}}\n"
    policy = POLICY.replace("  contract:\n", f"  contract:\n{dear}")
    with running(tmp_path_factory.mktemp("limits"), lab, policy=policy + RULES) as up:
        yield up


@pytest.fixture(autouse=True)
def environment(gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in gateway.env.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)


def openai_client(user: str, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(api_key=KEYS["openai"], max_retries=retries, default_headers={HEADER: user})


def anthropic_client(user: str, retries: int = 0) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=KEYS["anthropic"], max_retries=retries, default_headers={HEADER: user})


def gemini_client(user: str) -> genai.Client:
    return genai.Client(api_key=KEYS["google"], http_options=genai_types.HttpOptions(headers={HEADER: user}))


def messages(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def ask_openai(user: str, text: str, retries: int = 0) -> Any:
    return openai_client(user, retries).chat.completions.create(model="lab-gpt", messages=messages(text))


def ask_anthropic(user: str, text: str, retries: int = 0) -> Any:
    return anthropic_client(user, retries).messages.create(
        model="lab-claude", max_tokens=50, messages=messages(text)
    )


def ask_gemini(user: str, text: str, retries: int = 0) -> Any:
    client = gemini_client(user)
    return client.models.generate_content(model="lab-gemini", contents=text)


ASK = {"openai": ask_openai, "anthropic": ask_anthropic, "google": ask_gemini}


def seen(lab: Lab, text: str) -> int:
    return sum(text.encode() in request.decoded for request in lab.requests)


# -- what the client sees ------------------------------------------------------------------------------


@pytest.mark.parametrize("sdk", sorted(ASK))
def test_a_used_up_limit_is_the_sdks_own_rate_limit_error_and_stops_it_at_once(lab: Lab, sdk: str) -> None:
    user, text = f"gone-{sdk}", f"once upon {sdk}"
    ASK[sdk](user, text)
    began = time.monotonic()
    with pytest.raises((openai.RateLimitError, anthropic.RateLimitError, genai_errors.ClientError)) as raised:
        ASK[sdk](user, text, 5)
    assert time.monotonic() - began < 5, "an SDK that waits for a month's end"
    status = getattr(raised.value, "status_code", None) or getattr(raised.value, "code", None)
    assert status == 429
    said = str(raised.value)
    assert all(part in said for part in ("`gone`", "1 requests per month", "1 used", "the platform team"))
    assert "once upon" not in said
    assert seen(lab, text) == 1


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_a_short_limit_makes_the_sdk_wait_and_succeed(lab: Lab, sdk: str) -> None:
    user, text = f"short-{sdk}", f"in a second {sdk}"
    for _ in range(3):
        ASK[sdk](user, text, 5)
    assert seen(lab, text) == 3


def test_a_denial_tells_when_to_come_back(gateway: GatewayProcess) -> None:
    ask_openai("short-told", "one")
    with pytest.raises(openai.RateLimitError) as raised:
        ask_openai("short-told", "two")
    assert raised.value.response.headers["retry-after"] == "1"
    assert "x-should-retry" not in raised.value.response.headers
    ask_openai("gone-told", "one")
    with pytest.raises(openai.RateLimitError) as raised:
        ask_openai("gone-told", "two")
    assert "retry-after" not in raised.value.response.headers
    assert raised.value.response.headers["x-should-retry"] == "false"


def test_a_request_is_held_back_until_it_fits_where_the_limit_says_so() -> None:
    began = time.monotonic()
    for _ in range(3):
        ask_openai("patient", "may I")
    assert time.monotonic() - began >= 0.9


def test_a_soft_limit_warns_in_a_header_and_in_the_event(gateway: GatewayProcess) -> None:
    client = openai_client("warned").chat.completions.with_raw_response
    warnings = [
        client.create(model="lab-gpt", messages=messages("hello")).headers.get("x-sallyport-warning")
        for _ in range(3)
    ]
    assert warnings[0] is None
    assert warnings[1] is not None
    assert warnings[1].startswith("warned: 50 % used, full again in ")
    admitted = [
        e for e in recorded(gateway.confdir) if e.kind is EventKind.ADMITTED and e.principal == "warned"
    ]
    reasons = [next(d.reason for d in e.decisions if d.stage == "limits") for e in admitted]
    assert reasons == ["limits.reserved", "limits.soft", "limits.soft"]


def test_a_limit_that_observes_denies_nobody_and_says_what_it_would_have(gateway: GatewayProcess) -> None:
    for _ in range(2):
        ask_openai("watched", "hello")
    second = [
        e for e in recorded(gateway.confdir) if e.principal == "watched" and e.kind is EventKind.ADMITTED
    ][1]
    assert (second.would_be, second.reason) == (Action.DENY, "limits.watched")


# -- what is booked ------------------------------------------------------------------------------------


def openai_stream(user: str, text: str, **more: Any) -> list[Any]:
    return list(
        openai_client(user).chat.completions.create(
            model="lab-gpt", messages=messages(text), stream=True, **more
        )
    )


def responses(user: str, text: str) -> tuple[int, int]:
    usage = openai_client(user).responses.create(model="lab-gpt", input=text).usage
    assert usage is not None
    return usage.input_tokens, usage.output_tokens


def responses_stream(user: str, text: str) -> tuple[int, int]:
    events = list(openai_client(user).responses.create(model="lab-gpt", input=text, stream=True))
    usage = events[-1].response.usage  # type: ignore[union-attr]
    assert usage is not None
    return usage.input_tokens, usage.output_tokens


def chat_call(user: str, text: str) -> tuple[int, int]:
    usage = ask_openai(user, text).usage
    return usage.prompt_tokens, usage.completion_tokens


def chat_stream_with_usage(user: str, text: str) -> tuple[int, int]:
    usage = openai_stream(user, text, stream_options={"include_usage": True})[-1].usage
    return usage.prompt_tokens, usage.completion_tokens


def chat_stream_without_usage(user: str, text: str) -> tuple[int, int]:
    """The client sees no more than it asked for; what was used is what the same call reports elsewhere."""
    chunks = openai_stream(user, text)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    return chat_call(f"{user}-twin", text)


def messages_call(user: str, text: str) -> tuple[int, int]:
    usage = ask_anthropic(user, text).usage
    return usage.input_tokens, usage.output_tokens


def messages_stream(user: str, text: str) -> tuple[int, int]:
    client = anthropic_client(user)
    with client.messages.stream(model="lab-claude", max_tokens=50, messages=messages(text)) as stream:
        usage = stream.get_final_message().usage
    return usage.input_tokens, usage.output_tokens


def gemini_call(user: str, text: str) -> tuple[int, int]:
    usage = ask_gemini(user, text).usage_metadata
    return usage.prompt_token_count, usage.candidates_token_count


def gemini_stream(user: str, text: str) -> tuple[int, int]:
    client = gemini_client(user)
    chunks = list(client.models.generate_content_stream(model="lab-gemini", contents=text))
    usage = next(c.usage_metadata for c in reversed(chunks) if c.usage_metadata)
    return usage.prompt_token_count or 0, usage.candidates_token_count or 0


CALLS: list[Callable[[str, str], tuple[int, int]]] = [
    chat_call,
    chat_stream_with_usage,
    chat_stream_without_usage,
    responses,
    responses_stream,
    messages_call,
    messages_stream,
    gemini_call,
    gemini_stream,
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_what_is_booked_is_what_the_provider_reported(
    gateway: GatewayProcess, lab: Lab, call: Callable[[str, str], tuple[int, int]]
) -> None:
    user = f"booked-{call.__name__.replace('_', '-')}"
    given, made = call(user, f"Say something to {user}, at some length, for the sake of counting.")
    assert min(given, made) > 5
    assert used(gateway.confdir, "tokens", user) == given + made
    assert used(gateway.confdir, "money", user) == given * INPUT_USD + made * OUTPUT_USD
    assert used(gateway.confdir, "calls", user) == 1
    (end,) = [e for e in settled(gateway.confdir) if e.principal == user and e.is_end]
    assert end.usage is not None
    assert (end.usage.input, end.usage.output, end.usage_source) == (given, made, "provider")
    assert end.cost_micro_usd == given * INPUT_USD + made * OUTPUT_USD


def background_answer(gateway: GatewayProcess, user: str) -> None:
    answer = openai_client(user).responses.create(
        model="lab-gpt", input="a book", background=True, max_output_tokens=200
    )
    assert (answer.status, answer.usage) == ("queued", None)


def background_stream_left(gateway: GatewayProcess, user: str) -> None:
    asked = {"model": "lab-slow-300", "input": "a book " * 9, "background": True, "stream": True}
    body = json.dumps({**asked, "max_output_tokens": 200}).encode()
    wire = Wire.open(gateway)
    wire.send(post("/v1/responses", body, OPENAI, f"{HEADER}: {user}"))
    wire.read_until(b"output_text.delta")
    wire.reset()


@pytest.mark.parametrize("ask", [background_answer, background_stream_left], ids=lambda ask: ask.__name__)
def test_what_a_provider_goes_on_with_behind_its_answer_is_booked_as_reserved(
    gateway: GatewayProcess, ask: Callable[[GatewayProcess, str], None]
) -> None:
    user = f"later-{ask.__name__.replace('_', '-')}"
    ask(gateway, user)
    (end,) = [e for e in settled(gateway.confdir) if e.principal == user and e.is_end]
    assert end.usage is not None
    assert (end.usage.output, end.usage_source) == (200, "estimated")
    assert end.cost_micro_usd == (end.usage.input or 0) * INPUT_USD + 200 * OUTPUT_USD
    assert used(gateway.confdir, "money", user) == end.cost_micro_usd


def test_a_budget_holds_for_answers_in_the_background(gateway: GatewayProcess) -> None:
    """Of a cent, two answers of 200 tokens leave less than a third one costs."""
    for _ in range(2):
        background_answer(gateway, "poor-later")
    with pytest.raises(openai.RateLimitError):
        background_answer(gateway, "poor-later")


def test_a_stand_in_is_reserved_booked_counted_and_recorded_as_itself(gateway: GatewayProcess) -> None:
    client = openai_client("stood-in")
    asked = client.chat.completions.with_raw_response.create(
        model="lab-busy", messages=messages("hello"), extra_body={"models": ["lab-dear"]}, max_tokens=9
    )
    usage = asked.parse().usage
    assert usage is not None
    cost = 10 * (usage.prompt_tokens * INPUT_USD + usage.completion_tokens * OUTPUT_USD)
    admitted, end = [e for e in settled(gateway.confdir) if e.principal == "stood-in"]
    assert (admitted.model, end.model) == ("lab-busy", "lab-dear")
    assert (end.cost_micro_usd, end.usage_source) == (cost, "provider")
    assert admitted.cost_micro_usd is not None
    assert admitted.cost_micro_usd >= cost
    assert used(gateway.confdir, "money", "stood-in") == cost
    eventually(lambda: not any(v.reserved for v in levels(gateway.confdir, "each/").values()), 5, "settled")
    counted = {key: level.used for key, level in levels(gateway.confdir, "each/").items()}
    assert counted["each/model=lab-dear*"] == usage.total_tokens
    before = counted.get("each/model=lab-*", 0)
    client.chat.completions.create(
        model="lab-gpt", messages=messages("hello"), extra_body={"models": ["lab-dear"]}, max_tokens=9
    )
    eventually(
        lambda: levels(gateway.confdir, "each/")["each/model=lab-*"].used > before,
        5,
        "the named model counts",
    )
    assert levels(gateway.confdir, "each/")["each/model=lab-dear*"].used == usage.total_tokens


def refused_later(user: str) -> None:
    key = "AKIA" + "".join(chr(65 + (i * 7 + 3) % 26) for i in range(16))
    with pytest.raises(openai.APIStatusError):
        ask_openai(user, f"aws_access_key_id = {key}, github {'gh' + 'p_'}{'aB3dE6gH9j' * 3}aBcDeF")


def failed_upstream(user: str) -> None:
    with pytest.raises(openai.InternalServerError):
        openai_client(user).chat.completions.create(model="lab-error-500", messages=messages("hello"))


def unreachable(user: str) -> None:
    with pytest.raises(openai.APIStatusError):
        openai_client(user).chat.completions.create(model="lab-reset", messages=messages("hello"))


@pytest.mark.parametrize("fail", [refused_later, failed_upstream, unreachable])
def test_a_request_that_was_not_answered_costs_nothing(
    gateway: GatewayProcess, fail: Callable[[str], None]
) -> None:
    user = fail.__name__.replace("_", "-")
    fail(user)
    assert used(gateway.confdir, "tokens", user) == 0
    assert used(gateway.confdir, "money", user) == 0


def test_counting_tokens_and_listing_models_are_free_also_for_whoever_has_no_budget_left(
    gateway: GatewayProcess,
) -> None:
    client = openai_client("poor")
    client.chat.completions.create(model="lab-gpt", messages=messages("x" * 800), max_tokens=10)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="lab-gpt", messages=messages("word " * 2000), max_tokens=10)
    before = [used(gateway.confdir, rule, "poor") for rule in ("money", "tokens")]
    assert client.models.list().data
    counted = anthropic_client("poor").messages.count_tokens(
        model="lab-claude", messages=messages("word " * 2000)
    )
    assert counted.input_tokens > 100
    assert [used(gateway.confdir, rule, "poor") for rule in ("money", "tokens")] == before


def test_a_model_without_a_price_is_refused_where_money_is_counted(lab: Lab) -> None:
    with pytest.raises(openai.PermissionDeniedError) as raised:
        openai_client("puzzled").chat.completions.create(model="nobody-knows", messages=messages("priceless"))
    assert "no known price" in str(raised.value)
    assert seen(lab, "priceless") == 0


# -- what is under way ---------------------------------------------------------------------------------


def stream_of(gateway: GatewayProcess, user: str, model: str = "lab-slow-300") -> Wire:
    wire = Wire.open(gateway)
    wire.send(post(CHAT, chat(model, "word " * 60, stream=True), OPENAI, f"{HEADER}: {user}"))
    wire.read_until(b"data: ")
    return wire


def test_what_is_under_way_is_limited_and_freed_by_an_end_and_by_an_abort(gateway: GatewayProcess) -> None:
    for leave in (Wire.reset, Wire.read_all):
        wire = stream_of(gateway, "one", "lab-slow-300" if leave is Wire.reset else "lab-slow-5")
        if leave is Wire.reset:
            with pytest.raises(openai.RateLimitError) as raised:
                ask_openai("one", "me too")
            assert "1 requests at once" in str(raised.value)
        leave(wire)
        eventually(lambda: not levels(gateway.confdir, "one/"), 5, "the place is free")
        ask_openai("one", "now me")


@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
def test_who_leaves_a_turn_pays_for_the_conversation_that_the_provider_read_again(
    gateway: GatewayProcess, by: str
) -> None:
    user = f"goes-on-by-{by}"
    before = {"conversation": "conv_tides"} if by == "conversation" else {}
    first = openai_client(user).responses.create(model="lab-gpt", input="word " * 2000, extra_body=before)
    assert first.usage is not None
    assert first.usage.input_tokens > 500
    kept = before or {"previous_response_id": first.id}
    wire = Wire.open(gateway)
    body = {"model": "lab-slow-300", "input": "go on", "stream": True, **kept}
    wire.send(post("/v1/responses", json.dumps(body).encode(), OPENAI, f"{HEADER}: {user}"))
    wire.read_until(b"response.created")
    wire.reset()
    ends = lambda: [e for e in settled(gateway.confdir) if e.principal == user and e.is_end]  # noqa: E731
    eventually(lambda: len(ends()) == 2, 10, "the turn that was left is booked")
    left = ends()[-1]
    assert left.kind is EventKind.BROKEN
    assert left.usage is not None
    assert left.usage.input is not None
    assert left.usage.input > first.usage.total_tokens
    assert used(gateway.confdir, "tokens", user) >= left.usage.input + first.usage.total_tokens


def test_one_after_the_other_always_fits_where_one_at_a_time_may(gateway: GatewayProcess) -> None:
    client = openai_client("one-by-one")
    for number in range(15):
        answer = client.chat.completions.create(
            model="lab-gpt", messages=messages(f"number {number}"), stream=bool(number % 2)
        )
        if number % 2:
            assert list(answer)  # type: ignore[arg-type]


# -- what operators see --------------------------------------------------------------------------------


def test_the_commands_show_reset_grant_and_agree_with_the_audit(gateway: GatewayProcess) -> None:
    confdir = str(gateway.confdir)
    options = ("--confdir", confdir)  # units and names are those of the policy that runs here
    ask_openai("gone-shown", "hello")
    key = "gone/principal=default:gone-shown"
    assert key in sallyport("limits", "status", key, "--json", *options).stdout
    mistyped = sallyport("limits", "grant", key + "n", "1", *options)
    assert (mistyped.returncode, "no such counter" in mistyped.stderr) == (2, True)
    granted = sallyport("limits", "grant", key, "1", *options)
    assert granted.returncode == 0, granted.stderr
    ask_openai("gone-shown", "again")
    with pytest.raises(openai.RateLimitError):
        ask_openai("gone-shown", "and again")
    assert len(reconciled(gateway.confdir)) > 20
    assert sallyport("limits", "reset", key, "--confdir", confdir).returncode == 0
    ask_openai("gone-shown", "after the reset")
    changed = [e for e in recorded(gateway.confdir) if e.kind is EventKind.LIMIT_CHANGED]
    assert [e.detail for e in changed] == ["grant", "reset"]


def test_a_place_that_a_killed_gateway_held_is_free_after_its_lease(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, policy=POLICY + RULES) as first:
        wire = stream_of(first, "one-killed")
        assert levels(first.confdir, "one/")
        first.process.kill()
        first.process.wait(5)
        wire.reset()
    with running(tmp_path, lab, policy=POLICY + RULES) as second:
        eventually(lambda: not levels(second.confdir, "one/"), 10, "the place is free")
        booked = "its estimate is booked, for want of anything better"
        eventually(lambda: used(second.confdir, "tokens", "one-killed") > 100, 10, booked)
        (end,) = [e for e in settled(second.confdir) if e.principal == "one-killed" and e.is_end]
        assert end.usage_source == "estimated"
        reconciled(second.confdir)
