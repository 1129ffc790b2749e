"""The texts of a buffered answer, looked at in the order of the body as a stream would have been.

Parts of one message that clients show joined are looked at where they meet as well: what is divided over them is no
value in any of them, neither one to mask nor one to put back.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from sallyport.decision import Edit
from sallyport.exchange import Response, Segment, Surface
from sallyport.policy.output import OutputAction
from sallyport.proxy.flowing import Lookup, is_json_source, whole
from sallyport.proxy.moving import moved_offsets
from sallyport.stages.channel import Stop
from sallyport.stages.judge import marker, notice
from sallyport.stages.output import OutputFilter
from sallyport.stages.restoring import Context, restore, restore_parts
from sallyport.wire.dialect import Dialect
from sallyport.wire.echoes import emptied, may_echo, to_empty
from sallyport.wire.errors import WireError
from sallyport.wire.jsonlines import read_lines
from sallyport.wire.jsonsplice import replace
from sallyport.wire.jsontext import MAX_ANSWER_NODES, Json, parse
from sallyport.wire.offsets import may_count

_PART = re.compile(r"(.*/(?:content|parts))/[0-9]+/text")
_PLACE = re.compile(r"^/[0-9]+(?=/candidates/)|(?<=^/output)/[0-9]+(?=/content$)")
"""Numbers of chunks and of items, over which clients join texts as they do over parts."""
_APART = (Surface.TOOL_CALL, Surface.TOOL_RESULT)

type _Shown = tuple[str, Surface]
"""What clients show as one text: where its parts lie, and their surface."""


@dataclass(frozen=True, slots=True)
class Edited:
    """An answer's body with new texts in it. cut: the segment in which the answer ends, with how much of its text."""

    body: bytes
    changed: bool
    stop: Stop | None = None
    cut: tuple[str, int] = ("", 0)


def edited_answer(
    dialect: Dialect,
    answer: Response,
    body: bytes,
    lookup: Lookup | None,
    output: OutputFilter | None,
    *,
    structured: bool = False,
) -> Edited:
    """Return what a buffered answer becomes: what is found in it edited, originals in, log probabilities emptied.

    structured: the request asks for JSON. The answer is not shortened yet where it ends early. Raises WireError as
    dialect.edit does.
    """
    echoing = may_echo(body)
    calls = output is not None and any(s.surface is Surface.TOOL_CALL for s in answer.segments)
    counting = lookup is not None and may_count(body)
    payload = _payload(body) if calls or echoing or counting else None
    given, ends = ({}, {}) if output is None else _at_borders(answer.segments, output)
    texts: dict[str, str] = {}
    stop, cut = None, ""
    behind = len(answer.segments)
    for number, segment in enumerate(answer.segments):
        text = given.get(segment.at, segment.text)
        json = is_json_source(segment.surface, text)
        texts[segment.at], stop = whole(
            segment.at, segment.surface, text, output, None, json=json, payload=payload
        )
        stop = stop or ends.get(segment.at)
        if stop is not None:
            cut, behind = segment.at, number
            break
    shown = answer.segments[: behind + 1]
    if lookup is not None:
        _restore(shown, texts, lookup, structured=structured)
    edits = [Edit(s.at, 0, len(s.text), texts[s.at]) for s in shown if texts[s.at] != s.text]
    changed = {edit.at: edit.replacement for edit in edits}
    changed |= {segment.at: "" for segment in answer.segments[behind:] if segment.at not in changed}
    acts = output is not None and output.acts
    empty = to_empty(payload, answer.segments, changed, strict=acts) if echoing else []
    kept = [edit for edit in edits if not any(edit.at.startswith(at + "/") for at in empty)]
    edited = emptied(dialect.edit(body, kept), empty)
    if counting and lookup is not None and kept:
        edited = replace(edited, moved_offsets(payload, shown, texts, lookup))
    return Edited(edited, bool(kept or empty), stop, (cut, len(texts.get(cut, ""))))


def _restore(segments: Sequence[Segment], texts: dict[str, str], lookup: Lookup, *, structured: bool) -> None:
    """Put originals back into texts, by pointer. Reasoning is signed: none go into it."""
    open_segments = [segment for segment in segments if segment.surface is not Surface.REASONING]
    joined: set[str] = set()
    shown: dict[_Shown, Context] = {}  # clients join texts over calls, too
    for name, run in _runs(open_segments):
        places = [segment.at for segment in run]
        behind = shown.setdefault(name, Context())
        is_json = structured and len(run) == 1 and texts[places[0]].lstrip()[:1] in ("{", "[")
        if is_json and not behind.forbidden:
            behind.feed(texts[places[0]])
            continue
        texts |= zip(places, restore_parts([texts[at] for at in places], lookup, behind), strict=True)
        joined |= {*places}
    for segment in open_segments:
        if segment.at not in joined:
            json = is_json_source(segment.surface, segment.text)
            said = structured and segment.surface is Surface.ASSISTANT
            texts[segment.at] = restore(texts[segment.at], lookup, json=json, structured=said)


def _payload(body: bytes) -> dict[str, Json] | list[Json] | None:
    """Return what an answer's pointers point into, JSON lines by their numbers; None where it is no JSON."""
    try:
        payload = parse(body, MAX_ANSWER_NODES)
    except WireError as error:
        if error.reason != "json.trailing_data" or body.lstrip()[:1] != b"{":
            return None
        return {str(number): line for number, line in read_lines(body)}
    return payload if type(payload) is dict or type(payload) is list else None


def _at_borders(segments: Sequence[Segment], output: OutputFilter) -> tuple[dict[str, str], dict[str, Stop]]:
    """Return what at_borders does of every run of texts that clients join."""
    given: dict[str, str] = {}
    ends: dict[str, Stop] = {}
    for _, run in _runs(segments):
        if len(run) > 1:
            texts, stops = at_borders(run, output, run[0].at)
            given |= texts
            ends |= stops
    return given, ends


def at_borders(
    run: Sequence[Segment], output: OutputFilter, at: str
) -> tuple[dict[str, str], dict[str, Stop]]:
    """Return, by pointer, the texts that share a match with their neighbours as they are without it, and where one
    ends the answer. run: texts of one surface that clients join. at: where it is told that they lie."""
    given: dict[str, str] = {}
    ends: dict[str, Stop] = {}
    starts = [*accumulate((len(segment.text) for segment in run), initial=0)]
    for match, action in output.across(at, run[0].surface, [segment.text for segment in run]):
        for segment, begin in zip(run, starts, strict=False):
            start, end = match.start - begin, match.end - begin
            text = given.get(segment.at, segment.text)
            if end <= 0 or start >= len(segment.text):
                continue
            begins, is_last = start >= 0, end <= len(segment.text)
            if action is OutputAction.MASK:
                given[segment.at] = text[: max(0, start)] + (marker(match) if begins else "") + text[end:]
            elif action is OutputAction.ANNOTATE and is_last:
                given[segment.at] = text[:end] + notice(match) + text[end:]
            elif action in (OutputAction.TRUNCATE, OutputAction.REFUSE) and begins:
                given[segment.at] = text[:start]
                ends[segment.at] = Stop(action, match.rule, start)
    return given, ends


def _runs(segments: Sequence[Segment]) -> Iterator[tuple[_Shown, list[Segment]]]:
    """Yield the texts that clients join: the parts of one message between two calls of tools, and whose they are."""
    open_runs: dict[_Shown, list[Segment]] = {}
    for segment in [*segments, Segment("", Surface.TOOL_CALL, "")]:
        if segment.surface in _APART:
            yield from open_runs.items()
            open_runs = {}
        elif (part := _PART.fullmatch(segment.at)) is not None:
            open_runs.setdefault((_PLACE.sub("", part[1]), segment.surface), []).append(segment)
