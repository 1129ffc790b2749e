"""`sallyport replay`: what would have been decided, found exactly, however the work is shared."""

import gzip
import hashlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from mitmproxy.flow import Error
from mitmproxy.io import tnetstring
from typer.testing import CliRunner

from replay.recording import ANSWER, BEGAN, flow, write
from sallyport.cli.benches import Side
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.replay.flows import files_of, find_flows, load_flow
from sallyport.state.masterkey import MasterKeys

BASE = "version: 1\nidentity: {unknown: anonymous}\n"
CARD = "4111 1111 1111 1111"


def policy(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(BASE + text)
    return str(path)


def run(*words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, ["replay", *words, "--jobs", "1", "--json"], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.fixture(autouse=True)
def nobody_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(tmp_path / "confdir"))


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[str]]:
    """60 flows out of order, and how many of each kind there are."""
    chosen = random.Random(7)
    kinds = ["plain"] * 8 + ["mail", "card", "tunnelled"]
    said = {
        "plain": "Summarise the minutes.",
        "mail": "Write to ann.smith@example.com.",
        "card": f"Pay with {CARD}",
    }
    flows, counts = [], Counter[str]()
    for number in range(60):
        kind = chosen.choice(kinds)
        counts[kind] += 1
        host = "www.example.org" if kind == "tunnelled" else "api.openai.com"
        flows.append(flow(said.get(kind, "x"), at=number, host=host, address=f"10.0.0.{number % 3}"))
    chosen.shuffle(flows)
    return write(tmp_path_factory.mktemp("month") / "may.flow", flows), counts


def test_a_planted_rule_is_found_exactly(month: tuple[Path, Counter[str]], tmp_path: Path) -> None:
    file, counts = month
    base = policy(tmp_path, "base.yaml", "masking: {entities: {CREDIT_CARD: allow, EMAIL_ADDRESS: allow}}\n")
    next_ = policy(tmp_path, "next.yaml", "masking: {entities: {CREDIT_CARD: deny}}\n")
    found = run(str(file), "--policy", next_, "--against", base)
    assert found["flows"] == 60
    assert found["sorts"] == {
        "exchange": 60 - counts["tunnelled"],
        "tunnelled": counts["tunnelled"],
        "unreadable": 0,
    }
    assert found["changes"]["newly_refused"] == counts["card"] == found["candidate"]["refused"]
    assert (
        found["changes"]["masks_changed"] == counts["mail"] == found["candidate"]["masked"]["EMAIL_ADDRESS"]
    )
    assert found["changes"]["same"] == counts["plain"] + counts["tunnelled"]
    assert found["by"]["rule"] == {
        "masking.denied": {"newly_refused": counts["card"]},
        "masking.EMAIL_ADDRESS": {"masks_changed": counts["mail"]},
    }
    back = run(str(file), "--policy", base, "--against", next_)
    assert back["changes"]["newly_allowed"] == counts["card"]


LIMITED = """
masking: {entities: {CREDIT_CARD: deny}}
limits:
  rules:
    - {id: daily, by: [network], measure: requests, per: day, limit: 20}
"""


def test_limits_count_in_the_order_of_time_and_what_was_refused_otherwise_gives_back(tmp_path: Path) -> None:
    flows = [flow(f"pay {CARD}" if n in (0, 5) else "hello", at=n * 60, takes_s=30) for n in range(30)]
    file = write(tmp_path / "f.flow", reversed(flows))
    found = run(str(file), "--policy", policy(tmp_path, "l.yaml", LIMITED), "--samples", "30")
    assert found["by"]["rule"]["limits.daily"] == {"newly_refused": 8}
    assert found["by"]["rule"]["masking.denied"] == {"newly_refused": 2}
    late = [s["began"] - BEGAN for s in found["samples"] if s["candidate"]["reason"] == "limits.daily"]
    assert late == [n * 60.0 for n in range(22, 30)]


def test_two_at_once_are_two_only_while_both_are_under_way(tmp_path: Path) -> None:
    limit = "limits: {rules: [{id: one, measure: concurrent, limit: 1}]}\n"
    file = write(tmp_path / "f.flow", [flow("a", at=0, takes_s=10), flow("b", at=5), flow("c", at=11)])
    found = run(str(file), "--policy", policy(tmp_path, "l.yaml", limit))
    assert [(s["began"] - BEGAN, s["candidate"]["reason"]) for s in found["samples"]] == [(5.0, "limits.one")]


def test_a_budget_is_used_up_by_what_recorded_answers_cost(tmp_path: Path) -> None:
    prices = "prices: {contract: [{model: gpt-5-mini, input_usd: 1000, output_usd: 2000}]}\n"
    budget = (
        prices
        + "limits: {rules: [{id: money, measure: cost_usd, per: day, limit: 5}], assumed_output_tokens: 1}\n"
    )
    file = write(tmp_path / "f.flow", [flow("hello", at=n * 60) for n in range(6)])
    found = run(str(file), "--policy", policy(tmp_path, "l.yaml", budget))
    assert found["base"]["cost_micro_usd"] == 6 * 2_000_000
    assert found["by"]["rule"] == {"limits.money": {"newly_refused": 3}}
    assert found["candidate"]["cost_micro_usd"] == 3 * 2_000_000


def test_a_stream_is_read_by_its_own_reader(tmp_path: Path) -> None:
    chunk = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-5-mini","choices":%s%s}'
    events = [
        chunk % ('[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]', ""),
        chunk % ("[]", ',"usage":{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500}'),
        "[DONE]",
    ]
    raw = "".join(f"data: {event}\n\n" for event in events).encode()
    body = b'{"model":"gpt-5-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    prices = "prices: {contract: [{model: gpt-5-mini, input_usd: 1000, output_usd: 2000}]}\n"
    file = write(tmp_path / "f.flow", [flow("", body=body, answer=raw, kind="text/event-stream")])
    found = run(str(file), "--policy", policy(tmp_path, "l.yaml", prices))
    assert found["candidate"]["cost_micro_usd"] == 2_000_000


def test_what_the_gateway_could_not_read_it_would_have_refused(tmp_path: Path) -> None:
    twice = b'{"model":"gpt-5-mini","model":"x","messages":[]}'
    file = write(tmp_path / "f.flow", [flow("", body=b"{"), flow("", body=twice, at=1), flow("fine", at=2)])
    found = run(str(file), "--policy", policy(tmp_path, "l.yaml", ""))
    assert found["changes"]["newly_refused"] == 2
    assert all(rule.startswith("wire.") for rule in found["by"]["rule"])


def test_the_identity_is_that_of_the_time(tmp_path: Path) -> None:
    text = "identity:\n  unknown: deny\n  networks: [{cidr: 10.1.0.0/16, principal: lab}]\n"
    path = tmp_path / "i.yaml"
    path.write_text("version: 1\n" + text)
    file = write(tmp_path / "f.flow", [flow("a", address="10.1.2.3"), flow("b", address="10.2.2.3", at=1)])
    found = run(str(file), "--policy", str(path))
    assert found["by"]["rule"] == {"identity.unknown": {"newly_refused": 1}}


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "f.flow", [flow("a")])
    done = CliRunner().invoke(
        app, ["replay", str(file), "--policy", "balanced", "--dask", "tcp://127.0.0.1:9"]
    )
    assert "--dask" in str(done.exception)


def test_a_har_file_is_read_too(tmp_path: Path) -> None:
    request = {
        "method": "POST",
        "url": "https://api.openai.com/v1/chat/completions",
        "httpVersion": "HTTP/2",
        "headers": [{"name": "content-type", "value": "application/json"}],
        "postData": {"text": flow(f"pay {CARD}").request.get_text()},
    }
    content = {"size": 2, "mimeType": "application/json", "text": "{}"}
    response = {"status": 200, "httpVersion": "HTTP/2", "headers": [], "content": content}
    entry = {"startedDateTime": "2026-05-01T12:00:00Z", "time": 100, "request": request, "response": response}
    file = tmp_path / "f.har"
    file.write_text("\ufeff" + json.dumps({"log": {"entries": [entry, entry]}}))
    found = run(
        str(file), "--policy", policy(tmp_path, "l.yaml", "masking: {entities: {CREDIT_CARD: deny}}\n")
    )
    assert found["changes"]["newly_refused"] == 2
    assert [sample["id"] for sample in found["samples"]] == ["f.har#0", "f.har#1"]


def test_a_file_that_ends_inside_a_flow_is_read_up_to_there(tmp_path: Path) -> None:
    file = write(tmp_path / "f.flow", [flow("a"), flow("b", at=1)])
    whole = file.read_bytes()
    for lost in (1, 40, 900):
        file.write_bytes(whole[:-lost])
        with find_flows([file], MasterKeys(tmp_path)) as index:
            assert (len(index), len(index.cut)) == (1, 1)
            assert 0 < index.cut[0].at < len(whole) - lost


@pytest.mark.parametrize("content", [b"", b"garbage\n", b"\x00" * 64, b"{}", b'{"log": 3}', b"5:hello,"])
def test_a_file_without_flows_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "f.flow"
    file.write_bytes(content)
    done = CliRunner().invoke(app, ["replay", str(file), "--policy", "balanced"])
    if not content:
        assert done.exit_code == 0  # a capture in which nothing happened
        return
    assert done.exit_code != 0
    assert str(file) in str(done.exception)


def test_reports_hold_no_text_and_thresholds_fail(tmp_path: Path) -> None:
    file = write(
        tmp_path / "f.flow", [flow(f"Zanzibar {CARD}", model="m\x1b[31m<b>"), flow("Zanzibar", at=1)]
    )
    page, xml = tmp_path / "p.html", tmp_path / "r.xml"
    strict = policy(tmp_path, "l.yaml", "masking: {entities: {CREDIT_CARD: deny}}\n")
    words = ["replay", str(file), "--policy", strict, "--jobs", "1", "--html", str(page), "--junit", str(xml)]
    words += ["--fail-on", "newly-refused=0", "--fail-on", "masks_changed=1%"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1, done.output
    for text in (done.output, page.read_text(), xml.read_text()):
        assert "Zanzibar" not in text
        assert "4111" not in text
        assert "\x1b[31m<b>" not in text
    assert "<b>" not in page.read_text()
    suite = Xml.parse(xml).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")


def test_a_folder_without_captures_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no capture") as raised:
        files_of([tmp_path])
    assert raised.value.where == str(tmp_path)


def test_a_threshold_over_no_flow_has_not_been_kept(tmp_path: Path) -> None:
    file = tmp_path / "f.flow"
    file.write_bytes(b"")
    words = ["replay", str(file), "--policy", "balanced", "--jobs", "1"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert CliRunner().invoke(app, [*words, "--fail-on", "newly_refused=0"]).exit_code == 1


def test_a_threshold_that_is_none_is_said_so(tmp_path: Path) -> None:
    file = write(tmp_path / "f.flow", [flow("a")])
    for wrong in ("newly_refused", "nothing=1", "newly_refused=-1", "newly_refused=x%"):
        done = CliRunner().invoke(app, ["replay", str(file), "--policy", "balanced", "--fail-on", wrong])
        assert "--fail-on" in str(done.exception)


def test_twice_the_same_bytes(month: tuple[Path, Counter[str]], tmp_path: Path) -> None:
    words = ["replay", str(month[0]), "--policy", "strict", "--against", "balanced", "--jobs", "1"]
    made = []
    for name in ("a", "b"):
        page = tmp_path / name
        done = CliRunner().invoke(app, [*words, "--html", str(page)])
        made.append((done.stdout, page.read_bytes()))
    assert made[0] == made[1]


@pytest.mark.parametrize(
    "tail",
    [b"999999999999:x", b"0:]", tnetstring.dumps({"type": "http", "request": {"timestamp_start": b"x"}})],
    ids=["huge", "deep", "no time"],
)
def test_what_stands_behind_a_flow_cannot_stop_a_replay(tail: bytes, tmp_path: Path) -> None:
    if tail == b"0:]":
        for _ in range(3000):
            tail = b"%d:%s]" % (len(tail), tail)
    path = write(tmp_path / "a.flow", [flow("x"), flow("y", at=float("nan"))])
    path.write_bytes(path.read_bytes() + tail)
    with find_flows([path], MasterKeys(tmp_path)) as found:
        places = [*found]
    assert (len(places), len(found.cut)) in ((2, 1), (3, 0))
    ends = [load_flow(places[place], MasterKeys(tmp_path)) for place in (0, -1)]
    assert [each.request.timestamp_start for each in ends] == [0.0, BEGAN]


def test_what_only_looks_like_a_flow_is_counted_and_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flow", [flow("x"), flow("y", at=2)])
    strange = {"type": "http", "version": 21, "request": {"timestamp_start": BEGAN + 1, "method": 5}}
    path.write_bytes(path.read_bytes() + tnetstring.dumps(strange))
    found = run(str(path), "--policy", policy(tmp_path, "l.yaml", ""))
    assert (found["flows"], found["sorts"]["unreadable"]) == (2, 1)


def test_the_report_says_what_it_is_of_and_whether_thresholds_were_kept(tmp_path: Path) -> None:
    file = write(tmp_path / "f.flow", [flow(f"pay {CARD}"), flow("fine", at=1)])
    other = write(tmp_path / "g.flow", [flow("late", at=2)])
    strict = policy(tmp_path, "l.yaml", "masking: {entities: {CREDIT_CARD: deny}}\n")
    words = ["replay", str(file), str(other), "--policy", strict, "--jobs", "1"]
    report, latency = tmp_path / "report.json", tmp_path / "latency.json"
    words += ["--report", str(report), "--latency", str(latency)]
    words += ["--fail-on", "newly_refused=40%", "--fail-on", "masks_changed=0"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    said = json.loads(report.read_text())
    assert (said["format"], said["result"], done.exit_code) == ("sallyport.replay/1", "kept", 0)
    assert [each["count"] for each in said["thresholds"]] == [1, 0]
    lines = sorted(hashlib.sha256(path.read_bytes()).hexdigest() + "\n" for path in (file, other))
    assert said["flows_sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert hashlib.sha256(report.read_bytes()).hexdigest() in done.stderr
    assert set(json.loads(latency.read_text())) == {"candidate"}
    failed = CliRunner().invoke(app, [*words, "--fail-on", "newly_refused=0"], catch_exceptions=False)
    assert (json.loads(report.read_text())["result"], failed.exit_code) == ("exceeded", 1)


def test_content_is_shown_to_who_asks_for_it_only(tmp_path: Path) -> None:
    file = write(tmp_path / "f.flow", [flow(f"Zanzibar {CARD}")])
    page = tmp_path / "p.html"
    strict = policy(tmp_path, "l.yaml", "masking: {entities: {CREDIT_CARD: deny}}\n")
    found = run(str(file), "--policy", strict, "--content", "--html", str(page))
    (sample,) = found["samples"]
    assert f"Zanzibar {CARD}" in sample["content"]["request"]
    assert "Good." in sample["content"]["answer"]
    assert "Zanzibar" in page.read_text()
    assert "content" not in run(str(file), "--policy", strict)["samples"][0]


def test_an_answer_in_several_members_is_shown_as_it_was_read(tmp_path: Path) -> None:
    asked = flow(f"Zanzibar {CARD}")
    assert asked.response is not None
    whole = asked.response.raw_content or b""
    asked.response.raw_content = gzip.compress(whole[:20]) + gzip.compress(whole[20:])
    asked.response.headers["content-encoding"] = "gzip"
    file = write(tmp_path / "f.flow", [asked])
    strict = policy(tmp_path, "l.yaml", "masking: {entities: {CREDIT_CARD: deny}}\n")
    (sample,) = run(str(file), "--policy", strict, "--content")["samples"]
    assert "Good." in sample["content"]["answer"]


def test_a_policy_that_is_changed_meanwhile_is_not_taken_for_the_one_it_was(tmp_path: Path) -> None:
    path = policy(tmp_path, "l.yaml", "")
    side = Side.of(path, None)
    policy(tmp_path, "l.yaml", "masking: {entities: {CREDIT_CARD: deny}}\n")
    with pytest.raises(OperatorError, match="not the policy"):
        side.read(None)


def test_an_answer_in_a_coding_and_one_that_broke_off_are_read(tmp_path: Path) -> None:
    refusing = "output: {entities: {EMAIL_ADDRESS: refuse}}\n"
    said = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "ann.smith@example.com"},
    }
    packed = flow("a", answer=gzip.compress(json.dumps({**ANSWER, "choices": [said]}).encode()))
    assert packed.response is not None
    packed.response.headers["content-encoding"] = "gzip"
    chunk = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-5-mini","choices":[%s]}'
    delta = '{"index":0,"delta":{"content":"Write to ann.smith@example.com now."},"finish_reason":null}'
    body = b'{"model":"gpt-5-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    streamed = f"data: {chunk % delta}\n\n".encode()
    broken = flow("", at=1, body=body, answer=streamed, kind="text/event-stream")
    broken.error = Error("the provider went away")
    found = run(
        str(write(tmp_path / "f.flow", [packed, broken])), "--policy", policy(tmp_path, "l.yaml", refusing)
    )
    assert found["by"]["rule"] == {"pii.contact.email_address": {"answer_newly_ended": 2}}
    assert found["candidate"]["cost_micro_usd"] > 0


def test_an_answer_that_nobody_can_read_is_refused_where_answers_are_searched(tmp_path: Path) -> None:
    file = write(
        tmp_path / "f.flow",
        [
            flow("a", answer=b"{"),
            flow("b", answer=b"data", kind="text/event-stream", at=1),
            flow("c", answer=b"", at=2),
        ],
    )
    found = run(str(file), "--policy", policy(tmp_path, "l.yaml", "output: {pii: mask}\n"))
    assert found["by"]["rule"]["upstream.unreadable"]["answer_newly_ended"] == 3
    seen = run(str(file), "--policy", policy(tmp_path, "o.yaml", ""), "--mode", "observe")
    assert seen["candidate"]["answers_ended"] == 0


@pytest.mark.parametrize(
    ("mode", "change"), [("enforce", "answer_changed"), ("observe", "would_change"), ("shadow", "same")]
)
def test_what_becomes_of_an_answer_depends_on_the_state_of_its_rules(
    mode: str, change: str, tmp_path: Path
) -> None:
    said = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "ann.smith@example.com"},
    }
    file = write(tmp_path / "f.flow", [flow("a", answer={**ANSWER, "choices": [said]})])
    masking = policy(tmp_path, "l.yaml", f"output: {{mode: {mode}, pii: mask}}\n")
    found = run(str(file), "--policy", masking)
    assert {name: count for name, count in found["changes"].items() if count} == {change: 1}
    if change != "same":
        assert found["by"]["rule"] == {"pii.contact.email_address": {change: 1}}
