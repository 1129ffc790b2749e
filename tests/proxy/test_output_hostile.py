"""What a hostile or confused provider does to the checks of tool calls, to order, and to what only listens."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from proxy.outflows import answer_rules, exchange_of, output_filter, section, tap_of
from sallyport.exchange import Surface
from sallyport.policy.output import OutputAction
from sallyport.proxy.editing import edited_answer
from sallyport.proxy.flows import MAX_CHANNELS
from sallyport.proxy.tap import AnswerTap
from sallyport.stages.calling import MAX_CHARS
from sallyport.stages.judge import Judge
from sallyport.stages.output import OutputFilter
from sallyport.wire.dialects import DIALECTS
from wire.samples import samples

CHAT = next(s for s in samples("stream") if s.name == "openai_chat/stream.sse")
MESSAGES = next(s for s in samples("stream") if s.name.startswith("anthropic_messages/"))
INSIDE = 'tools: {action: refuse, arguments: [{tool: read_file, argument: /path, must: "^/srv/"}]}'
BAD = '{"path": "/etc/passwd"}'
GOOD = '{"path": "/srv/a"}'


def chunk(delta: dict, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None, **more}
    return b"data: " + json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode() + b"\n\n"


def call(arguments: str, index: int = 0, **named: object) -> bytes:
    function = {**named, "arguments": arguments}
    return chunk({"tool_calls": [{"index": index, "function": function}]})


FINISH = chunk({}, finish_reason="tool_calls") + b"data: [DONE]\n\n"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fed(tap: AnswerTap, *pieces: bytes) -> bytes:
    """What comes out, up to the end."""
    out: list[bytes] = []
    for piece in pieces:
        step = tap.feed(piece)
        out += step.out
        if step.finish:
            return b"".join(out)
    return b"".join([*out, *tap.end().out])


def rule_of(tap: AnswerTap) -> str | None:
    return tap.ended_early.rule if tap.ended_early is not None else None


HIDDEN = '{"a":"\\",\\"b\\":{\\"q\\":\\"", "path":"/etc/passwd", "z":"\\"},\\"path\\":\\"/srv/a"}'
"""JSON whose path is /etc/passwd, and which says otherwise when its escapes are read outside of strings too."""


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (GOOD, None),
        (BAD, "output.tools.argument"),
        (HIDDEN, "output.tools.argument"),
        (json.dumps({"path": "/srv/a", "text": 'He said "no".\nThen he left.'}), None),
    ],
)
def test_arguments_are_read_as_the_json_they_are(arguments: str, rule: str | None) -> None:
    for cut in (1, len(arguments) // 2, len(arguments)):
        tap = tap_of(CHAT, output_filter(INSIDE, CHAT.dialect))
        fed(tap, call("", name="read_file"), call(arguments[:cut]), call(arguments[cut:]), FINISH)
        assert rule_of(tap) == rule
    output = output_filter(INSIDE, CHAT.dialect)
    output.whole("/tool_calls/0/name", Surface.TOOL_CALL, "read_file")
    _, stop = output.whole("/tool_calls/0/arguments", Surface.TOOL_CALL, arguments, json=True)
    assert (stop.rule if stop is not None else None) == rule


def test_arguments_that_waited_too_long_are_judged_all_the_same() -> None:
    clock = Clock()
    tap = tap_of(CHAT, output_filter(INSIDE, CHAT.dialect), clock=clock)
    out = b"".join([*tap.feed(call("", name="read_file")).out, *tap.feed(call(BAD)).out])
    for _ in range(3):
        clock.now += 10
        out += b"".join(tap.wake().out)
    out += fed(tap, FINISH)
    assert rule_of(tap) == "output.tools.argument"
    assert b'passwd\\"}' not in out


@pytest.mark.parametrize("order", ["before", "between", "behind"])
def test_arguments_belong_to_the_name_of_their_own_call(order: str) -> None:
    mine, other = call("", 0, name="read_file"), call("", 1, name="search")
    pieces = {
        "before": [mine, other, call(BAD, 0)],
        "between": [mine, call(BAD[:5], 0), other, call(BAD[5:], 0)],
        "behind": [call("", 1, name="search"), call(BAD, 0), mine],
    }[order]
    tap = tap_of(CHAT, output_filter(INSIDE, CHAT.dialect))
    fed(tap, *pieces, FINISH)
    assert rule_of(tap) == "output.tools.argument"
    other_way = [mine, other, call(BAD, 1), call(GOOD, 0)]
    tap = tap_of(CHAT, output_filter(INSIDE, CHAT.dialect))
    fed(tap, *other_way, FINISH)
    assert rule_of(tap) is None


def test_blocks_that_interleave_keep_their_names() -> None:
    def event(payload: dict) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (payload["type"].encode(), json.dumps(payload).encode())

    def begin(index: int, name: str) -> bytes:
        block = {"type": "tool_use", "id": f"t{index}", "name": name, "input": {}}
        return event({"type": "content_block_start", "index": index, "content_block": block})

    delta = {"type": "input_json_delta", "partial_json": BAD}
    tap = tap_of(MESSAGES, output_filter(INSIDE, MESSAGES.dialect))
    fed(
        tap,
        begin(0, "read_file"),
        begin(1, "search"),
        event({"type": "content_block_delta", "index": 0, "delta": delta}),
        event({"type": "content_block_stop", "index": 0}),
    )
    assert rule_of(tap) == "output.tools.argument"


def test_a_name_in_pieces_is_the_name_that_clients_put_together() -> None:
    denied = "tools: {action: refuse, deny: [bash]}"
    tap = tap_of(CHAT, output_filter(denied, CHAT.dialect))
    fed(tap, call("", name="ba"), call("", name="sh"), call("{}"), FINISH)
    assert rule_of(tap) == "output.tools.not_allowed"
    tap = tap_of(CHAT, output_filter(INSIDE, CHAT.dialect))
    fed(tap, call("", name="read_"), call("", name="file"), call(BAD), FINISH)
    assert rule_of(tap) == "output.tools.argument"
    allowed = "tools: {action: refuse, allow: [search, read]}"
    tap = tap_of(CHAT, output_filter(allowed, CHAT.dialect))
    fed(tap, call("{}", name="search"), call("", name="search"), FINISH)  # some servers say it in every chunk
    assert rule_of(tap) is None


def test_arguments_in_two_parts_around_an_end_are_judged_together() -> None:
    policy = 'tools: {action: refuse, arguments: [{tool: shell, must_not: "rm -rf"}]}'

    def custom(text: str, **named: object) -> bytes:
        return chunk({"tool_calls": [{"index": 0, "type": "custom", "custom": {**named, "input": text}}]})

    tap = tap_of(CHAT, output_filter(policy, CHAT.dialect))
    ended = chunk({}, finish_reason="tool_calls")
    fed(tap, custom("", name="shell"), custom("rm -r"), ended, custom("f / --no-preserve-root"), FINISH)
    assert rule_of(tap) == "output.tools.argument"


def test_arguments_too_long_to_be_read_are_not_allowed() -> None:
    arguments = json.dumps({"path": "/etc/passwd", "text": "x" * MAX_CHARS})
    tap = tap_of(CHAT, output_filter(INSIDE, CHAT.dialect))
    fed(tap, call("", name="read_file"), call(arguments[:-1]), call(arguments[-1:]), FINISH)
    assert rule_of(tap) == "output.tools.unreadable"
    tap = tap_of(CHAT, output_filter(INSIDE, CHAT.dialect))
    fed(tap, call("", name="write_file"), call(arguments), FINISH)
    assert rule_of(tap) is None


def test_long_calls_side_by_side_are_not_judged_by_halves() -> None:
    long = json.dumps({"path": "/srv/a", "text": "y" * 50_000})
    pieces = [call(long[at : at + 9000], 1) for at in range(0, len(long), 9000)]
    tap = tap_of(CHAT, output_filter(INSIDE, CHAT.dialect))
    names = [call("", 0, name="read_file"), call(GOOD, 0), call("", 1, name="read_file")]
    out = fed(tap, *names, *pieces, FINISH)
    assert rule_of(tap) is None
    assert out.count(b"y") == 50_000


BUFFERED = {
    "openai_responses": lambda arguments, name: {
        "id": "r",
        "object": "response",
        "status": "completed",
        "output": [
            {"type": "function_call", "id": "f0", "arguments": "{}", "call_id": "c0", "name": "search"},
            {"type": "function_call", "id": "f1", "arguments": arguments, "call_id": "c1", "name": name},
        ],
    },
    "anthropic_messages": lambda arguments, name: {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "t", "name": name, "input": json.loads(arguments)}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    "gemini_generate": lambda arguments, name: [
        {
            "candidates": [
                {"content": {"parts": [{"functionCall": {"name": name, "args": json.loads(arguments)}}]}}
            ]
        }
    ],
}


def ended_in(dialect_name: str, policy: str, arguments: str, name: str) -> str | None:
    """The rule for which a whole answer with this call ends."""
    dialect = DIALECTS[dialect_name]
    body = json.dumps(BUFFERED[dialect_name](arguments, name)).encode()
    edited = edited_answer(
        dialect, dialect.read_response(body, 200), body, None, output_filter(policy, dialect)
    )
    return edited.stop.rule if edited.stop is not None else None


@pytest.mark.parametrize("dialect", BUFFERED)
def test_whole_answers_are_judged_by_the_name_beside_the_arguments(dialect: str) -> None:
    assert ended_in(dialect, INSIDE, BAD, "read_file") == "output.tools.argument"
    assert ended_in(dialect, INSIDE, GOOD, "read_file") is None
    assert ended_in(dialect, INSIDE, BAD, "search") is None


@pytest.mark.parametrize("dialect", ["anthropic_messages", "gemini_generate"])
def test_an_argument_of_the_name_name_is_no_name_of_a_tool(dialect: str) -> None:
    policy = "tools: {action: refuse, allow: [create_user], arguments: [{tool: create_user, argument: /name, must: Ada}]}"
    user = {"name": "Ada", "input": "Ada", "args": '{"x": 1}'}
    assert ended_in(dialect, policy, json.dumps(user), "create_user") is None
    assert (
        ended_in(dialect, policy, json.dumps({**user, "name": "Eve"}), "create_user")
        == "output.tools.argument"
    )


@pytest.mark.parametrize("arguments", ["{}", '["/etc/passwd"]'])
def test_arguments_that_lack_what_must_be_there_fail(arguments: str) -> None:
    assert ended_in("anthropic_messages", INSIDE, arguments, "read_file") == "output.tools.argument"


def test_a_schema_alone_is_enough_to_look_at_an_answer() -> None:
    policy = (
        "rules: {output.exfiltration.*: observe, output.smuggling.*: observe, output.scan.*: observe};"
        "structured: {action: refuse}"
    )
    exchange = exchange_of(CHAT.dialect)
    schema = json.dumps({"type": "object"})
    exchange = replace(exchange, request=replace(exchange.request, schema=schema))
    followers = answer_rules().of(section(policy), 4096, (), schema)
    output = OutputFilter(section(policy), Judge(section(policy), exchange), followers)
    tap = tap_of(CHAT, output)
    fed(tap, chunk({"content": "no JSON at all"}), chunk({}, finish_reason="stop"), b"data: [DONE]\n\n")
    assert rule_of(tap) == "output.schema.not_json"
    assert tap.ended_early is not None
    assert tap.ended_early.action is OutputAction.REFUSE


def test_texts_without_end_are_not_followed_without_end() -> None:
    def many(count: int) -> Sequence[bytes]:
        return [chunk({"content": "a"}, index=n) for n in range(count)]

    tap = tap_of(CHAT, output_filter("pii: mask", CHAT.dialect))
    fed(tap, *many(MAX_CHANNELS + 1))
    assert tap.failed == "wire.too_many_texts"
    tap = tap_of(CHAT, output_filter("pii: mask", CHAT.dialect, enforced=False), lenient=True)
    pieces = many(MAX_CHANNELS + 1)
    assert fed(tap, *pieces) == b"".join(pieces)
    assert tap.failed is None


def test_texts_that_have_ended_make_room_for_others() -> None:
    tap = tap_of(CHAT, output_filter("pii: mask", CHAT.dialect))
    pieces = [chunk({"content": "a"}, finish_reason="stop", index=n) for n in range(MAX_CHANNELS + 1)]
    assert fed(tap, *pieces) == b"".join(pieces)
    assert tap.failed is None


@pytest.mark.parametrize(
    "pieces",
    [
        [chunk({"content": "a"})[:30], chunk({"content": "a"})[30:] + b"data: {broken\n\n", b"data: x\n\n"],
        [chunk({"content": "a"}) + b"data: [DONE]"],
        [chunk({"content": "a"}) + b"data: {bro"],
    ],
)
def test_a_stream_that_is_only_read_keeps_every_byte_although_a_report_is_dropped(
    pieces: list[bytes],
) -> None:
    output = output_filter("pii: mask", CHAT.dialect, enforced=False)
    tap = tap_of(CHAT, output, lenient=True, drops_usage=True)
    assert fed(tap, *pieces) == b"".join(pieces)
    assert tap.failed is None
