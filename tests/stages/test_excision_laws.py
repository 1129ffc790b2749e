"""Whatever dialect a request is in: an excised text is nowhere in the body that leaves, and all else stands."""

import json

import pytest

from sallyport.decision import Action, Decision, Finding, Kind, Severity
from sallyport.exchange import Exchange, Operation, Request, Surface
from sallyport.pipeline import merge_edits
from sallyport.policy.load import parse_policy
from sallyport.stages.excision import settled, told
from samples import Desk, exchange
from wire.samples import Sample, call, operation_of, samples

SECTION = parse_policy("version: 1\nsecrets: {blocked: excise}").secrets
NOTICE = "[Removed by the gateway: secrets.law.x]"


def read(sample: Sample, body: bytes) -> Request:
    operation = Operation.COMPLETION if "generate_request" in sample.name else operation_of(sample)
    return sample.dialect.read_request(body, call(operation, model="m" if _in_path(sample) else None))


def _in_path(sample: Sample) -> bool:
    return sample.dialect.name in ("gemini_generate", "bedrock_converse", "bedrock_invoke")


def denial(request: Request, at: str, text: str) -> Decision:
    finding = Finding("secrets.law.x", Kind.SECRET, "X", Severity.HIGH, at, 0, len(text))
    return Decision("secrets", Action.DENY, "secrets.found", findings=(finding,))


def around(request: Request) -> Exchange:
    base = exchange()
    return Exchange(base.id, base.conversation, base.received_at, base.host, base.client, request)


REQUESTS = [s for s in samples("request", every=True) if "embedding" not in s.name]


@pytest.mark.parametrize("sample", REQUESTS, ids=str)
def test_an_excised_text_is_gone_and_all_else_stands(sample: Sample) -> None:
    request = read(sample, sample.body)
    vault = Desk().ports().vault
    excised = 0
    for segment in request.segments:
        if len(segment.text) < 6:
            continue
        decision = told(denial(request, segment.at, segment.text), around(request), SECTION, vault)
        if decision.action is Action.DENY:
            continue
        excised += 1
        body = sample.dialect.edit(sample.body, merge_edits(settled(decision.edits), lambda e, u: "?"))
        again = {s.at: s.text for s in read(sample, body).segments}
        edited = {edit.at for edit in decision.edits}
        assert again.keys() == {s.at for s in request.segments}
        assert segment.text not in "\n".join(again.values())
        assert all(again[s.at] == s.text for s in request.segments if s.at not in edited)
        assert NOTICE in again[segment.at] or json.loads(again[segment.at]) == {"removed": NOTICE}
    assert excised


@pytest.mark.parametrize("sample", REQUESTS, ids=str)
def test_every_text_of_a_turn_can_be_excised_by_itself(sample: Sample) -> None:
    """What users and tools wrote is what stops sessions; only what repeats at a fixed place is rejected."""
    request = read(sample, sample.body)
    vault = Desk().ports().vault
    texts = [s.text for s in request.segments]
    for segment in request.segments:
        if segment.surface not in (Surface.USER, Surface.TOOL_RESULT) or segment.at.endswith("~k"):
            continue
        if sum(segment.text in text for text in texts) > 1 or segment.at.rpartition("/")[2] in NAMED:
            continue
        decision = told(denial(request, segment.at, segment.text), around(request), SECTION, vault)
        assert decision.action is Action.MODIFY, segment.at


NAMED = {"name", "url", "image_url", "filename", "user", "tool_name", "tool_call_id"}
