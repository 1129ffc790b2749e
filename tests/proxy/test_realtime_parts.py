"""Parts of a Realtime answer are one text, as those of Responses are; what says them again says what was sent."""

import json
import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from proxy.outflows import only_recording, output_filter, refused
from proxy.test_divided_values import CARD, JOAN, MASK, PLACEHOLDER, SCOPE, edited, texts_of, whole_body
from proxy.test_streams_as_bodies import divided
from sallyport.decision import Refusal
from sallyport.proxy.flowing import Lookup
from sallyport.proxy.hearing import heard_in
from sallyport.proxy.tap import AnswerTap, Looking
from sallyport.wire.dialects import DIALECTS

REALTIME = DIALECTS["openai_realtime"]
LINK = "See https://evil.example/?q="
HIDDEN = f"{PLACEHOLDER} now"
WORDS = {"output_text": "text", "text": "text", "output_audio_transcript": "transcript"}
CALL = {"id": "c", "type": "function_call", "call_id": "k", "name": "f", "arguments": "{}"}

type Event = dict[str, Any]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def tap_of(
    policy: str = MASK, lookup: Lookup | None = SCOPE.original, clock: Clock | None = None
) -> AnswerTap:
    return AnswerTap(
        REALTIME,
        REALTIME.open_stream(),
        Refusal("upstream.unreadable", "Ended.", "id-1", 502),
        lookup=lookup,
        remember=lambda text: None,
        looking=Looking(output_filter(policy, REALTIME), None, refused),
        clock=clock or Clock(),
    )


def told(out: Iterable[bytes]) -> list[Event]:
    return [json.loads(event) for event in out if event]


def passed(events: Sequence[Event], policy: str = MASK) -> tuple[list[Event], AnswerTap]:
    tap = tap_of(policy)
    out: list[bytes] = []
    for event in events:
        step = tap.feed(json.dumps(event).encode())
        out += step.out
        if step.finish:
            return told(out), tap
    return told([*out, *tap.end().out]), tap


def place(item: int, part: int) -> Event:
    return {"response_id": "r", "item_id": f"m{item}", "output_index": item, "content_index": part}


def piece(text: str, part: int = 0, item: int = 0, stem: str = "output_text") -> Event:
    return {"type": f"response.{stem}.delta", **place(item, part), "delta": text}


def done(text: str, part: int = 0, item: int = 0, stem: str = "output_text") -> Event:
    return {"type": f"response.{stem}.done", **place(item, part), WORDS[stem]: text}


def message(item: int, texts: Sequence[str], stem: str = "output_text") -> Event:
    content = [{"type": "output_audio", WORDS[stem]: text} for text in texts]
    return {"id": f"m{item}", "type": "message", "role": "assistant", "content": content}


def item_event(verb: str, number: int, item: Event) -> Event:
    return {"type": f"response.output_item.{verb}", "response_id": "r", "output_index": number, "item": item}


def ended(*items: Event) -> Event:
    return {"type": "response.done", "response": {"id": "r", "status": "completed", "output": [*items]}}


def answer(*items: Sequence[str], stem: str = "output_text", sound: bool = False) -> list[Event]:
    """An honest answer: the texts of each message, in two pieces each, and all that says them again."""
    events: list[Event] = [{"type": "response.created", "response": {"id": "r", "output": []}}]
    for number, texts in enumerate(items):
        events.append(item_event("added", number, message(number, ())))
        for part, text in enumerate(texts):
            half = len(text) // 2
            for one in (text[:half], text[half:]):
                events.append(piece(one, part, number, stem))
                if sound:
                    events.append(
                        {"type": "response.output_audio.delta", **place(number, part), "delta": "AAAA"}
                    )
            events.append(done(text, part, number, stem))
            said = {"type": "audio", WORDS[stem]: text}
            events.append({"type": "response.content_part.done", **place(number, part), "part": said})
        events.append(item_event("done", number, message(number, texts, stem)))
    return [*events, ended(*(message(number, texts, stem) for number, texts in enumerate(items)))]


def shown(events: Iterable[Event]) -> str:
    return "".join(e["delta"] for e in events if e["type"].endswith(("text.delta", "transcript.delta")))


def again(events: Iterable[Event]) -> dict[str, set[str]]:
    """What is said of each part, by whichever event."""
    found: dict[str, list[str]] = {}
    pieces: dict[str, str] = {}

    def whole(item: Event) -> None:
        for number, part in enumerate(item["content"]):
            found.setdefault(f"{item['id']}/{number}", []).append(part.get("text", part.get("transcript")))

    for event in events:
        at = f"{event.get('item_id')}/{event.get('content_index')}"
        match event["type"].split("."):
            case [_, "output_audio", _] | [_, "output_item", "added"]:
                pass
            case [_, _, "delta"]:
                pieces[at] = pieces.get(at, "") + event["delta"]
            case [_, "content_part", "done"]:
                found.setdefault(at, []).append(event["part"].get("text", event["part"].get("transcript")))
            case [_, "output_item", "done"]:
                whole(event["item"])
            case [_, "done"]:
                for item in event["response"]["output"]:
                    whole(item)
            case [_, _, "done"]:
                found.setdefault(at, []).append(event.get("text", event.get("transcript")))
    assert all(len(each) == 4 for each in found.values())
    return {at: {text, *found[at]} for at, text in pieces.items()}


@pytest.mark.parametrize("stem", WORDS)
@pytest.mark.parametrize("texts", [(CARD,), ((CARD[0],), (CARD[1],))], ids=["parts", "items"])
def test_a_value_over_parts_is_masked_and_said_nowhere_again(
    texts: tuple[Sequence[str], ...], stem: str
) -> None:
    out, tap = passed(answer(*texts, stem=stem))
    assert tap.failed is None
    assert shown(out) == "The card is [CREDIT_CARD], a test."
    assert all(len(each) == 1 for each in again(out).values())
    assert "1111" not in json.dumps(out)


def test_the_conversation_is_told_what_was_sent_of_an_item() -> None:
    texts = (CARD[0], f"{CARD[1]} Ask {PLACEHOLDER[:7]}", f"{PLACEHOLDER[7:]} now")
    events = answer(texts)
    events.insert(-2, {"type": "conversation.item.done", "item": message(0, texts)})
    out, tap = passed(events)
    assert tap.failed is None
    (told_again,) = [e["item"]["content"] for e in out if e["type"] == "conversation.item.done"]
    assert told_again == out[-1]["response"]["output"][0]["content"]
    assert (
        "".join(part["text"] for part in told_again) == f"The card is [CREDIT_CARD], a test. Ask {JOAN} now"
    )


@pytest.mark.parametrize("sound", [False, True], ids=["text", "sound"])
def test_parts_become_what_those_of_a_buffered_answer_become(sound: bool) -> None:
    rng = random.Random(11)
    masked = restored = 0
    for _ in range(60):
        parts = divided(rng)
        body = edited("openai_responses", whole_body("openai_responses", parts), MASK, SCOPE.original).body
        cut = rng.randint(0, len(parts))
        stem = rng.choice([*WORDS])
        out, tap = passed(answer(parts[:cut], parts[cut:], stem=stem, sound=sound))
        assert tap.failed is None
        assert shown(out) == "".join(texts_of("openai_responses", body)), parts
        assert all(len(each) == 1 for each in again(out).values())
        masked += "[CREDIT_CARD]" in shown(out)
        restored += JOAN in shown(out)
    assert masked > 10
    assert restored > 10


def test_an_answer_ends_where_a_divided_value_begins() -> None:
    out, tap = passed(answer(CARD), "pii: refuse")
    assert tap.ended_early is not None
    assert shown(out[:-1]) == "The card is "
    assert "1111" not in json.dumps(out)


OPEN = {
    "pieces": [piece(LINK), piece(HIDDEN, 1), ended()],
    "transcripts": [piece(LINK), piece(HIDDEN, 1, stem="output_audio_transcript"), ended()],
    "names of the beta": [piece(LINK, stem="text"), piece(HIDDEN, 1), ended()],
    "items": [piece(LINK), item_event("added", 1, message(1, ())), piece(HIDDEN, 0, 1), ended()],
    "a call between": [piece(LINK), done(LINK), item_event("added", 1, CALL), piece(HIDDEN, 0, 2), ended()],
    "a piece and the end": [piece(LINK), ended(message(0, ("", HIDDEN)))],
    "two answers": [piece(LINK), {**piece(HIDDEN, 1), "response_id": "another"}, ended()],
    "a part that is done": [piece(LINK), done(LINK), piece(HIDDEN, 1), ended()],
    "only whole": [done(LINK), done(HIDDEN, 1), ended()],
    "whole, then a piece": [item_event("added", 0, message(0, (LINK,))), piece(HIDDEN), ended()],
    "only at the end": [piece("hi"), ended(message(0, (LINK, HIDDEN)))],
}
AGAIN = {
    "a piece": [piece(HIDDEN, 1)],
    "what was done": [piece("hi "), done("hi "), piece(HIDDEN, 1), done(HIDDEN, 1)],
}


@pytest.mark.parametrize("events", OPEN.values(), ids=OPEN)
def test_no_original_comes_behind_a_link_that_a_part_before_began(events: list[Event]) -> None:
    out, tap = passed(events)
    assert tap.failed is None
    assert "evil.example" in json.dumps(out)
    assert PLACEHOLDER in json.dumps(out)
    assert JOAN not in json.dumps(out)


@pytest.mark.parametrize("begun", AGAIN.values(), ids=AGAIN)
def test_what_is_said_again_behind_a_new_link_is_not_what_was_sent(begun: list[Event]) -> None:
    out, tap = passed([*begun, ended(message(0, (LINK, HIDDEN)))])
    assert tap.failed is None
    assert shown(out).endswith(f"{JOAN} now")
    assert [part["text"] for part in out[-1]["response"]["output"][0]["content"]] == [LINK, HIDDEN]


BACK = {
    "the part before": [piece(LINK), piece("hi ", 1), piece(HIDDEN)],
    "the item before": [piece(LINK), piece("hi ", 0, 1), piece(HIDDEN, 1)],
    "its text": [piece(LINK), piece("hi ", stem="output_audio_transcript"), piece(HIDDEN)],
    "an item of the same number": [
        piece(LINK),
        {**piece("hi "), "item_id": "other"},
        piece(HIDDEN),
    ],
    "an item of another answer": [
        piece(LINK),
        {**piece("hi ", 0, 1), "response_id": "other"},
        piece(HIDDEN),
    ],
    "an item without a name": [piece(LINK), {**piece("hi "), "item_id": None}, piece(HIDDEN)],
}


@pytest.mark.parametrize("events", BACK.values(), ids=BACK)
def test_what_goes_on_before_what_was_said_last_ends_the_answer(events: list[Event]) -> None:
    out, tap = passed([*events, ended()])
    assert tap.failed == "wire.stream.order"
    assert JOAN not in json.dumps(out)


def test_a_repetition_that_is_none_is_looked_at_by_itself() -> None:
    out, tap = passed(
        [piece("All is well."), done("Mail b@example.org"), ended(message(0, ("Or c@example.org",)))]
    )
    assert tap.failed is None
    assert [e.get("text") for e in out[1:2]] == ["Mail [EMAIL_ADDRESS]"]
    assert out[2]["response"]["output"][0]["content"][0]["text"] == "Or [EMAIL_ADDRESS]"


def test_a_value_that_pieces_and_the_end_share_does_not_come_together() -> None:
    out, _ = passed([piece(CARD[0]), ended(message(0, ("", CARD[1])))])
    assert "1111 1111, a" not in json.dumps(out)


def test_the_session_goes_on_with_the_next_answer() -> None:
    first = [*answer(("Look at https://a.example/",))]
    second = json.loads(
        json.dumps(answer((f"{PLACEHOLDER} is it.",))).replace('"r"', '"r2"').replace('"m0"', '"n0"')
    )
    out, tap = passed([*first, *second])
    assert tap.failed is None
    assert shown(out) == f"Look at https://a.example/{JOAN} is it."


def test_sound_behind_a_finished_part_waits_no_longer_than_the_policy_wants() -> None:
    clock = Clock()
    tap = tap_of(clock=clock)
    text = "The card is 4111 1111 1111 1111"
    sound = {"type": "response.output_audio.delta", **place(0, 0), "delta": "AAAA"}
    for event in (
        piece(text, stem="output_audio_transcript"),
        done(text, stem="output_audio_transcript"),
        sound,
    ):
        step = tap.feed(json.dumps(event).encode())
    held = told(step.out)
    assert not held
    clock.now += step.wake_s or 0.0
    out = told(tap.wake().out)
    assert [event["type"].split(".")[1] for event in out] == ["output_audio_transcript"] * 2 + [
        "output_audio"
    ]
    assert out[0]["delta"] == out[1]["transcript"] == "The card is [CREDIT_CARD]"


def test_a_call_does_not_wait_for_the_text_before_it() -> None:
    tap = tap_of()
    events = [piece(CARD[0]), done(CARD[0]), item_event("added", 1, CALL)]
    out = [data for event in events for data in tap.feed(json.dumps(event).encode()).out]
    assert [event["type"] for event in told(out)] == [event["type"] for event in events]
    assert shown(told(out)) == CARD[0]


def test_what_is_kept_of_an_answer_is_each_text_once() -> None:
    kept = heard_in(
        REALTIME, [json.dumps(event).encode() for event in answer(CARD, ("Mail b@example.org.",))]
    )
    assert [segment.text for segment in kept] == ["".join(CARD) + "Mail b@example.org."]


def test_only_recorded_a_divided_value_is_found_once() -> None:
    tap, output = only_recording(REALTIME, MASK)
    for event in answer(CARD, ("Mail b@example.org.",)):
        data = json.dumps(event).encode()
        assert tap.feed(data).out == [data]
    tap.end()
    assert sorted(finding.entity for finding, _ in output.found) == ["CREDIT_CARD", "EMAIL_ADDRESS"]


def arguments(text: str, **at: Any) -> Event:
    return {
        "type": "response.function_call_arguments.delta",
        **place(0, 0),
        "call_id": "k",
        **at,
        "delta": text,
    }


@pytest.mark.parametrize("at", [{"content_index": 1}, {"output_index": 1}], ids=["part", "number"])
def test_arguments_of_one_item_are_one_text_whichever_part_they_say_they_are_of(at: Event) -> None:
    link, hidden = '{"u":"https://evil.example/?q=', f'{PLACEHOLDER} now"}}'
    out, tap = passed([arguments(link), arguments(hidden, **at), ended()])
    assert tap.failed is None
    assert "".join(e.get("delta", "") for e in out) == link + hidden
    out, tap = passed([arguments('{"u":"'), arguments(hidden, **at), ended()])
    assert JOAN in json.dumps(out)


@pytest.mark.parametrize("role", ["user", "system"])
def test_no_original_goes_into_a_link_of_the_part_before_in_an_item_that_is_told(role: str) -> None:
    def item(*texts: str) -> Event:
        return {"type": "conversation.item.created", "item": {**message(0, texts), "role": role}}

    out, _ = passed([item(LINK, HIDDEN), item("Ask ", HIDDEN)])
    assert JOAN not in json.dumps(out[0])
    assert JOAN in json.dumps(out[1])
