"""Events in other people's formats, judged by those formats' own schemas and readers."""

import json
import re
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from ocsf.v1_4_0 import events as classes
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from audit.samples import hostile_texts, numbers, usages
from sallyport.audit.events import Event, EventKind
from sallyport.audit.forwarding.cef import cef
from sallyport.audit.forwarding.ecs import ecs
from sallyport.audit.forwarding.ocsf import ocsf
from sallyport.audit.forwarding.otlp import otlp
from sallyport.audit.schema import event_json
from sallyport.decision import Action

CLASSES = {
    6003: classes.ApiActivity if hasattr(classes, "ApiActivity") else classes.APIActivity,
    4001: classes.NetworkActivity,
    6002: classes.ApplicationLifecycle,
    3004: classes.EntityManagement,
    2004: classes.DetectionFinding,
}
OF_THE_PROFILE = {"action_id", "disposition_id"}
"""Attributes of the profile security_control, which every class may have."""


@st.composite
def events(draw: st.DrawFn) -> Event:
    return Event(
        kind=draw(st.sampled_from(EventKind)),
        gateway=draw(st.sampled_from(["gw-1", "gw ü", ""])),
        principal=draw(hostile_texts),
        tenant=draw(hostile_texts),
        client=draw(st.sampled_from(["", "10.0.0.1", "2001:db8::1", "pipe", "fe80::1%eth0"])),
        host=draw(hostile_texts),
        model=draw(hostile_texts),
        provider=draw(st.sampled_from(["", "openai"])),
        operation=draw(st.sampled_from(["", "chat"])),
        exchange=draw(st.sampled_from(["", "x-1"])),
        action=draw(st.sampled_from([None, *Action])),
        stage=draw(st.sampled_from(["", "secrets"])),
        reason=draw(st.sampled_from(["", "secrets.found"])),
        detail=draw(st.sampled_from(["", "interrupted"])),
        status=draw(st.sampled_from([None, 200, 403, 502])),
        usage=draw(st.none() | usages),
        duration_us=draw(numbers),
        request_bytes=draw(numbers),
        response_bytes=draw(numbers),
        cost_micro_usd=draw(numbers),
    )


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_of_event_is_what_ocsf_publishes(kind: EventKind) -> None:
    full = Event(
        kind=kind, gateway="gw", principal="ann", tenant="t", client="10.0.0.1", host="api.openai.com"
    )
    for event in (full, Event(kind=kind, gateway="gw")):
        said = ocsf(event)
        model = CLASSES[said["class_uid"]]
        model.model_validate(said)
        assert set(said) - OF_THE_PROFILE <= set(model.model_fields), (
            "no attribute that the class does not have"
        )
        wrong = {**said, "class_uid": 1}
        with pytest.raises(ValueError):
            model.model_validate({**wrong, "time": "late"})


@given(events())
@settings(max_examples=150)
def test_any_event_can_be_spelled_and_read_back(event: Event) -> None:
    spelled = ocsf(event)
    CLASSES[spelled["class_uid"]].model_validate(spelled)
    for said in (ecs(event), spelled, event_json(event)):
        assert json.loads(json.dumps(said)) == said
    assert ecs(event)["sallyport"] == spelled["unmapped"] == event_json(event)
    assert read_cef(cef(event))["externalId"] == event.id


@given(st.lists(events(), min_size=1, max_size=4))
@settings(max_examples=100)
def test_opentelemetry_s_own_messages_take_them(given_: list[Event]) -> None:
    said = json_format.Parse(json.dumps(otlp(given_)), ExportLogsServiceRequest())
    records = [
        r for resource in said.resource_logs for scope in resource.scope_logs for r in scope.log_records
    ]
    assert sorted(r.event_name for r in records) == sorted(f"sallyport.{e.kind.value}" for e in given_)
    ids = {a.value.string_value for r in records for a in r.attributes if a.key == "sallyport.id"}
    assert ids == {event.id for event in given_}


def read_cef(line: str) -> dict[str, str]:
    """Read a line of CEF by its specification: seven heads, then key=value."""
    assert "\n" not in line
    assert "\r" not in line
    heads = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    assert len(heads) == 8
    assert heads[0] == "CEF:0"
    assert 0 <= int(heads[6]) <= 10
    pairs = re.findall(r"(\w+)=((?:[^\\=]|\\.)*?)(?= \w+=|$)", heads[7])
    assert " ".join(f"{k}={v}" for k, v in pairs) == heads[7]
    return {k: re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), v) for k, v in pairs}


def test_cef_escapes_what_it_must() -> None:
    event = Event(kind=EventKind.REFUSED, gateway="a|b", principal="x=1 y\\z", host="h|i", reason="r.s")
    line = cef(event)
    assert read_cef(line)["suser"] == "x=1 y\\z"
    assert r"h\|i" in line


def test_ecs_says_what_searches_ask_for() -> None:
    said: dict[str, Any] = ecs(
        Event(
            kind=EventKind.REFUSED, gateway="gw", principal="ann", client="10.0.0.1", host="h", reason="a.b"
        )
    )
    assert said["event"]["type"] == ["denied"]
    assert (said["source"]["ip"], said["user"]["id"], said["rule"]["id"]) == ("10.0.0.1", "ann", "a.b")
    assert "http" not in said
