"""What the policy keeps of what was said: sealed, found, shown with a reason, and gone with its person."""

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from e2e.traffic import CANARY, ask, assert_clean, of_kind, recorded, running, settled
from gateways import lab_in_thread
from sallyport.audit.events import Event, EventKind
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.lab.server import Lab
from sallyport.state.content.keys import FRESH_S

MAIL = "odile.brandt@example.org"
SECRET = "sk-proj-" + "Qm7vXw2LpZ" * 5

POLICY = """version: 1
identity:
  unknown: anonymous
  networks: [{cidr: 127.0.0.1/32, principal: ann, tenant: default}]
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_in_thread() as up:
        yield up


def run(folder: Path, lab: Lab, content: str, *, extra: str = "", ready: Any = None) -> Path:
    with running(folder, lab, policy=f"{POLICY}content: {content}\n{extra}") as gateway:
        if ready is not None:
            ready(gateway.confdir)
        ask(gateway, "plain", "What is a sally port?")
        ask(gateway, "mail", f"Write to {MAIL} and say it again: {MAIL}")
        ask(gateway, "streamed", f"Write to {MAIL} and say it again: {MAIL}", stream=True)
        ask(gateway, "secret", f"My key is {SECRET} and I am {MAIL}")
        settled(gateway.confdir)
    assert_clean(gateway, MAIL, SECRET)
    return folder / "conf"


def command(conf: Path, *words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["audit", *words, "--confdir", str(conf)], input=stdin)


def refused(result: Result, why: str) -> bool:
    return isinstance(result.exception, OperatorError) and why in str(result.exception)


def exchange(conf: Path, model: str) -> str:
    return next(e.exchange for e in recorded(conf) if e.model == model and e.is_end)


def shown(conf: Path, model: str) -> dict[str, Any]:
    done = command(conf, "reveal", exchange(conf, model), "--reason", "a test", "--json")
    assert done.exit_code == 0, done.output
    return {part["part"]: part for part in json.loads(done.stdout)}


def acts(conf: Path, kind: EventKind = EventKind.CONTENT_REVEALED) -> list[Event]:
    return of_kind(recorded(conf), kind)


def said(part: dict[str, Any]) -> str:
    return "\n".join(text["text"] for text in part["texts"])


def test_nothing_is_kept_unless_the_policy_says_so(tmp_path: Path, lab: Lab) -> None:
    conf = run(tmp_path, lab, "{}")
    assert not (conf / "content.db").exists()
    assert not (conf / "content-keys.db").exists()
    assert not (conf / "master.key").exists()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, lab: Lab) -> Path:
    folder = tmp_path_factory.mktemp("original")
    return run(folder, lab, "{keep: original, reveal: {second_person: false}}")


def test_originals_are_what_was_written_and_answered(original: Path) -> None:
    for model in ("mail", "streamed"):
        parts = shown(original, model)
        assert said(parts["request"]).count(MAIL) == 2
        assert CANARY in said(parts["request"])
        assert MAIL in said(parts["answer"]), "as the client was sent it"
        assert parts["request"]["class"] == "masked"
    refused = shown(original, "secret")
    assert refused.keys() == {"request"}
    assert refused["request"]["class"] == "refused"
    assert SECRET in said(refused["request"])
    assert shown(original, "plain")["request"]["class"] == "ordinary"


def test_every_look_is_an_event_of_its_exchange_with_a_digest_of_its_reason(original: Path) -> None:
    before = len(acts(original))
    id = exchange(original, "mail")
    assert command(original, "reveal", id, "--reason", "case 4711").exit_code == 0
    event = acts(original)[-1]
    assert len(acts(original)) == before + 1
    assert (event.exchange, event.tenant, event.detail[:6]) == (id, "default", "shown:")
    listed = [json.loads(line) for line in command(original, "reveals", "--json").stdout.splitlines()]
    assert next(x["reason"] for x in listed if x["id"] == event.detail[6:]) == "case 4711"
    assert refused(command(original, "reveal", id, "--reason", " "), "empty")


def test_the_id_that_the_list_prints_names_the_exchange(original: Path) -> None:
    id = exchange(original, "mail")
    for event in recorded(original):
        if event.exchange == id and event.id != id:
            assert command(original, "reveal", event.id[:28], "--reason", "case 4711").exit_code == 0
    assert refused(command(original, "reveal", "ffffffff", "--reason", "case 4711"), "nothing is kept")


def test_a_value_is_found_by_its_spelling_and_nothing_is_opened(original: Path) -> None:
    for spelling in (MAIL, MAIL.upper() + "\n"):
        found = command(original, "search", "--value-from-stdin", stdin=spelling)
        assert set(found.stdout.split()) == {exchange(original, m) for m in ("mail", "streamed", "secret")}
    nobody = command(original, "search", "--value-from-stdin", stdin="nobody@example.org")
    assert (nobody.exit_code, nobody.stdout) == (1, "")
    assert command(original, "search", "--value-from-stdin", "--tenant", "other", stdin=MAIL).exit_code == 1
    assert MAIL not in repr(acts(original))


def test_masked_content_holds_no_value_in_request_or_answer(tmp_path: Path, lab: Lab) -> None:
    conf = run(tmp_path, lab, "{keep: masked, reveal: {second_person: false}}")
    for model in ("mail", "streamed", "secret"):
        parts = shown(conf, model)
        everything = "".join(map(said, parts.values()))
        assert MAIL not in everything
        assert SECRET not in everything
        assert "[EMAIL_ADDRESS]" in said(parts["request"])
        assert CANARY in said(parts["request"])
        assert model == "secret" or "[EMAIL_ADDRESS]" in said(parts["answer"])


def test_rules_say_of_which_exchanges_what_is_kept(tmp_path: Path, lab: Lab) -> None:
    rules = (
        "rules: [{id: refused, actions: [deny], reasons: ['secrets*'], keep: original},"
        " {id: mails, found: ['pii.*'], keep: masked}]"
    )
    conf = run(tmp_path, lab, f"{{keep: none, {rules}, reveal: {{second_person: false}}}}")
    assert SECRET in said(shown(conf, "secret")["request"])
    assert "[EMAIL_ADDRESS]" in said(shown(conf, "mail")["request"])
    missing = command(conf, "reveal", exchange(conf, "plain"), "--reason", "x")
    assert refused(missing, "nothing is kept")


def test_a_second_person_has_to_approve_and_only_for_a_time(
    tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = run(tmp_path, lab, "{keep: masked, reveal: {approvers: [bob, ann], within_s: 60}}")
    id = exchange(conf, "mail")

    def act(who: str, *words: str) -> Result:
        monkeypatch.setattr("sallyport.cli.auditreveal.operator", lambda: who)
        monkeypatch.setattr("sallyport.cli.operator.operator", lambda: who)
        return command(conf, *words)

    waits = act("ann", "reveal", id, "--reason", "case 7")
    assert (waits.exit_code, waits.stdout) == (1, "")
    request = waits.output.split(":")[0].strip()
    assert act("ann", "reveal", id, "--reason", "case 7").exit_code == 1
    assert len(command(conf, "reveals").stdout.splitlines()) == 1, "asking twice is one request"
    for who, why in (("ann", "your own"), ("Ann", "your own"), ("eve", "does not name")):
        no = act(who, "approve-reveal", request, "--reason", "ok")
        assert refused(no, why)
    assert act("bob", "approve-reveal", request, "--reason", "ok").exit_code == 0
    assert act("bob", "reveal", id, "--reason", "me too").exit_code == 1, "it is ann's"
    assert CANARY in act("ann", "reveal", id, "--reason", "case 7").stdout
    told = [(e.principal, e.detail) for e in acts(conf) if e.detail.endswith(request)]
    assert told == [("ann", f"asked:{request}"), ("bob", f"approved:{request}"), ("ann", f"shown:{request}")]
    with sqlite3.connect(conf / "content.db") as store:
        store.execute("UPDATE content_reveals SET until_us = 1 WHERE id = ?", (request,))
    assert act("ann", "reveal", id, "--reason", "case 7").exit_code == 1


def test_what_has_to_be_kept_and_cannot_be_does_not_leave(tmp_path: Path, lab: Lab) -> None:
    def full(conf: Path) -> None:
        for name in ("content.db", "content.db-wal", "content.db-shm"):
            (conf / name).unlink(missing_ok=True)
        os.mkdir(conf / "content.db")

    before = len(lab.requests)
    conf = run(tmp_path, lab, "{keep: masked, required: true}", ready=full)
    assert len(lab.requests) == before
    reasons = {e.model: e.reason for e in recorded(conf) if e.kind is EventKind.REFUSED}
    assert reasons["mail"] == reasons["plain"] == "content.unavailable"
    shutil.rmtree(conf / "content.db")


def test_what_has_to_be_kept_is_durable_before_it_leaves(tmp_path: Path, lab: Lab) -> None:
    conf = run(tmp_path, lab, "{keep: original, required: true, reveal: {second_person: false}}")
    assert shown(conf, "mail").keys() == {"request", "answer"}


def test_a_person_that_is_forgotten_is_gone_from_every_copy(tmp_path: Path, lab: Lab) -> None:
    conf = run(
        tmp_path,
        lab,
        "{keep: original, reveal: {second_person: false}}",
        extra="capture: {share: 1, content: original}",
    )
    id = exchange(conf, "mail")
    assert MAIL in command(conf, "reveal", id, "--reason", "x").stdout
    dry = command(conf, "forget", "ann", "--dry-run")
    assert "would destroy 1 keys" in dry.stdout
    assert MAIL in command(conf, "reveal", id, "--reason", "x").stdout
    done = command(conf, "forget", "ann")
    assert done.exit_code == 0, done.output
    gone = command(conf, "reveal", id, "--reason", "x")
    assert refused(gone, "nothing is kept")
    assert command(conf, "search", "--value-from-stdin", stdin=MAIL).exit_code == 1
    (event,) = acts(conf, EventKind.ERASED)
    assert "ann" not in (event.reason, event.detail, event.exchange)
    assert event.reason.startswith("subject.")
    assert command(conf, "checkpoint").exit_code == 0
    assert command(conf, "verify").exit_code == 0
    words = [
        "replay",
        str(conf / "captures"),
        "--policy",
        str(tmp_path / "policy.yaml"),
        "--confdir",
        str(conf),
    ]
    replayed = CliRunner().invoke(app, [*words, "--jobs", "1", "--json"])
    assert replayed.exit_code == 0, replayed.output
    counted = json.loads(replayed.stdout)
    assert (counted["flows"], counted["left_out"]) == (0, {"forgotten": 4})
    again = command(conf, "forget", "ann")
    assert again.exit_code == 0
    assert "no key of it is here" in again.stdout


def test_a_running_gateway_learns_of_it_and_begins_anew(tmp_path: Path, lab: Lab) -> None:
    policy = f"{POLICY}content: {{keep: original, required: true, reveal: {{second_person: false}}}}\n"
    with running(tmp_path, lab, policy=policy) as gateway:
        conf = gateway.confdir
        ask(gateway, "before", f"Write to {MAIL}")
        settled(conf)
        assert MAIL in said(shown(conf, "before")["request"])
        done = command(conf, "forget", "ann")
        assert (done.exit_code, "destroyed 1 keys" in done.stdout) == (0, True), done.output
        time.sleep(FRESH_S + 0.1)  # a key that was looked at longer ago is looked at again before it is used
        ask(gateway, "after", f"Write to {MAIL} again")
        settled(conf)
        assert "again" in said(shown(conf, "after")["request"])
        assert refused(command(conf, "reveal", exchange(conf, "before"), "--reason", "x"), "nothing is kept")
        assert command(conf, "search", "--value-from-stdin", stdin=MAIL).stdout.split() == [
            exchange(conf, "after")
        ]
