"""A report says what the events say, to the last one, and shows what clients wrote without doing it."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sallyport.audit.classes import Coverage
from sallyport.audit.events import DecisionRecord, Event, EventKind, FindingRecord
from sallyport.audit.reporting import Treatment, report
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.decision import Action, Kind, Mode, Severity
from sallyport.exchange import Surface, Usage

MAY = datetime(2026, 5, 1, tzinfo=UTC)


def found(entity: str, action: Action, mode: Mode = Mode.ENFORCE, count: int = 1) -> DecisionRecord:
    finding = FindingRecord(f"pii.{entity}", Kind.PII, entity, Severity.MEDIUM, 1.0, Surface.USER, 0, 0, 5)
    return DecisionRecord("masking", action, "masking.masked", mode, 10, (finding,) * count)


def exchange(number: int, kind: EventKind, **facts: Any) -> list[Event]:
    """Return the events of one exchange: admitted with its decisions and then its end, or refused."""
    decisions = facts.pop("decisions", ())
    common = {
        "gateway": "gw",
        "exchange": f"x{number}",
        "at": MAY + timedelta(hours=number),
        "host": "bedrock-runtime.eu-central-1.amazonaws.com",
        "provider": "bedrock",
        "policy_revision": "r1",
        **facts,
    }
    end = Event(kind=kind, **{"coverage": Coverage.PARSED, **common})
    if kind is EventKind.REFUSED:
        return [Event(kind=kind, **{**common, "decisions": decisions, "coverage": Coverage.DENIED})]
    return [Event(kind=EventKind.ADMITTED, decisions=decisions, **common), end]


@pytest.fixture
def filled(url: str, open_store: Callable[[str], Store]) -> str:
    store = open_store(url)
    used = {"usage": Usage(input=100, output=50), "cost_micro_usd": 2_000_000}
    batch = [
        *exchange(
            1,
            EventKind.COMPLETED,
            principal="ann",
            tenant="a",
            decisions=(found("EMAIL_ADDRESS", Action.MODIFY, count=3),),
            **used,
        ),
        *exchange(2, EventKind.COMPLETED, principal="ann", tenant="a", decisions=(), **used),
        replace(
            exchange(2, EventKind.COMPLETED)[0],
            id="answer",
            kind=EventKind.COMPLETED,
            exchange="x3",
            principal="ann",
            tenant="a",
            decisions=(replace(found("PHONE_NUMBER", Action.ALLOW), stage="output"),),
        ),
        *exchange(
            30,
            EventKind.REFUSED,
            principal="<script>x",
            tenant="b",
            stage="masking",
            reason="masking.denied",
            decisions=(found("CREDIT_CARD", Action.DENY),),
        ),
        *exchange(
            31,
            EventKind.BROKEN,
            principal="bob",
            tenant="b",
            detail="interrupted",
            would_be=Action.DENY,
            stage="masking",
            reason="masking.denied",
            decisions=(found("IBAN_CODE", Action.DENY, Mode.OBSERVE),),
        ),
        Event(kind=EventKind.TUNNELLED, gateway="gw", at=MAY + timedelta(hours=3), host="example.org"),
        Event(kind=EventKind.POLICY_CHANGED, gateway="gw", at=MAY, policy_revision="r1"),
        Event(
            kind=EventKind.KILL_SWITCH,
            gateway="gw",
            at=MAY,
            principal="root",
            reason="stop.all",
            detail="pulled",
        ),
        *exchange(2000, EventKind.COMPLETED, principal="late"),
    ]
    store.write(batch)
    return url


def told(url: str, *words: str) -> Any:
    period = ["--since", "2026-05-01", "--until", "2026-06-01"]
    done = CliRunner().invoke(
        app, ["audit", "report", *period, "--store", url, "--json", *words], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_every_count(filled: str) -> None:
    said = told(filled)
    assert said["exchanges"] == 5
    assert said["days"] == {"2026-05-01": {"left": 3, "refused": 0}, "2026-05-02": {"left": 1, "refused": 1}}
    ann = next(each for each in said["by_principal"] if each["principal"] == "ann")
    assert (ann["exchanges"], ann["input_tokens"], ann["cost_micro_usd"]) == (3, 200, 4_000_000)
    assert said["refusals"] == [{"stage": "masking", "reason": "masking.denied", "count": 1}]
    assert said["would_refuse"] == [{"stage": "masking", "reason": "masking.denied", "count": 1}]
    data = {(d["direction"], d["entity"], d["treatment"], d["region"]): d["count"] for d in said["data"]}
    assert data == {
        ("sent", "EMAIL_ADDRESS", "masked", "eu-central-1"): 3,
        ("sent", "CREDIT_CARD", "refused", "eu-central-1"): 1,
        ("sent", "IBAN_CODE", "left", "eu-central-1"): 1,
        ("received", "PHONE_NUMBER", "left", "eu-central-1"): 1,
    }
    assert said["coverage"] == {"denied": 1, "parsed": 3}
    assert said["not_intercepted"] == {"example.org": 1}
    assert said["broken"] == {"interrupted": 1}
    assert [(act["kind"], act["by"]) for act in said["acts"]] == [
        ("policy_changed", ""),
        ("kill_switch", "root"),
    ]


def test_a_tenant_s_report_is_of_that_tenant_alone(filled: str) -> None:
    said = told(filled, "--tenant", "a")
    assert said["exchanges"] == 3
    assert {each["tenant"] for each in said["by_principal"]} == {"a"}
    assert said["acts"] == []


def test_the_page_needs_nothing_and_does_nothing(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    told(filled, "--html", str(file))
    page = file.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;x" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for clause in ("GDPR Art. 30", "HIPAA 164.312", "SOC 2 CC", "EU AI Act Art. 12", "ISO/IEC 42001"):
        assert clause in page


def test_a_period_that_is_none_is_told(filled: str) -> None:
    words = ["audit", "report", "--since", "2026-06-01", "--until", "2026-05-01", "--store", filled]
    assert "--until" in str(CliRunner().invoke(app, words).exception)


@pytest.mark.parametrize("kind", [EventKind.COMPLETED, EventKind.BROKEN])
def test_what_was_taken_out_of_an_answer_has_not_left(kind: EventKind) -> None:
    decisions = tuple(
        replace(found("US_SSN", action), stage="output") for action in (Action.DENY, Action.MODIFY)
    )
    event = Event(kind=kind, gateway="gw", at=MAY, exchange="x1", provider="openai", decisions=decisions)
    said = report([event], MAY, MAY + timedelta(days=1))
    assert {each.treatment: count for each, count in said.data.items()} == {
        Treatment.REFUSED: 1,
        Treatment.MASKED: 1,
    }
