"""What a gateway captured is replayed as it happened, and holds nothing that it should not."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.io import tnetstring
from typer.testing import CliRunner

import rawclient
from e2e.traffic import CANARY, CHAT, OPENAI, ask, assert_clean, chat, recorded, running, settled
from gateways import OPEN_POLICY, GatewayProcess, lab_in_thread
from rawclient import post
from sallyport.audit.events import EventKind
from sallyport.cli.main import app
from sallyport.lab.server import Lab
from sallyport.state.captures import CaptureFile
from sallyport.state.masterkey import MasterKeys

MAIL = "odile.brandt@example.org"
SECRET = "sk-proj-" + "Qm7vXw2LpZ" * 5
CARD = "4111 1111 1111 1111"
ASKED = [
    ("plain", "What is a sally port?", {}),
    ("mail", f"Write to {MAIL}.", {}),
    ("streamed", f"Write to {MAIL} again.", {"stream": True}),
    ("secret", f"My key is {SECRET}", {}),
    ("card", f"Pay with {CARD}.", {}),
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_in_thread() as up:
        yield up


def run(folder: Path, lab: Lab, capture: str, policy: str = OPEN_POLICY) -> Path:
    """Send everything through a gateway that captures, stop it, and return its confdir."""
    with running(folder, lab, policy=policy + f"\ncapture: {{{capture}}}\n") as gateway:
        for model, text, more in ASKED:
            ask(gateway, model, text, **more)
        settled(gateway.confdir)
        clean(gateway)
    return folder / "conf"


def clean(gateway: GatewayProcess) -> None:
    assert_clean(gateway, MAIL, SECRET, CARD)


def flows(conf: Path) -> dict[str, http.HTTPFlow]:
    found = {}
    for path in (conf / "captures").glob("*.flows"):
        assert path.stat().st_mode & 0o077 == 0
        for _, record in CaptureFile(path, MasterKeys(conf, {})).records():
            assert record is not None
            flow = http.HTTPFlow.from_state(tnetstring.loads(record))
            found[json.loads(flow.request.get_content() or b"")["model"]] = flow
    return found


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory, lab: Lab) -> Path:
    return run(tmp_path_factory.mktemp("masked"), lab, "share: 1")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, lab: Lab) -> Path:
    return run(tmp_path_factory.mktemp("original"), lab, "share: 1, content: original")


def test_a_masked_capture_holds_no_value_no_answer_and_no_credential(masked: Path) -> None:
    found = flows(masked)
    assert set(found) == {model for model, _, _ in ASKED}
    for flow in found.values():
        state = repr(flow.get_state())
        assert not any(value in state for value in (MAIL, SECRET, CARD))
        assert "authorization" not in state.lower()
        assert flow.response is None or flow.response.raw_content == b""
    assert CANARY in (found["mail"].request.get_text() or "")
    assert "[EMAIL_ADDRESS]" in (found["mail"].request.get_text() or "")
    assert found["secret"].response is None, "what was refused has no answer of a provider"


def test_an_original_capture_is_what_client_and_provider_wrote(original: Path) -> None:
    found = flows(original)
    assert MAIL in (found["mail"].request.get_text() or "")
    assert b"data:" in (found["streamed"].response.raw_content or b"")  # type: ignore[union-attr]
    for flow in found.values():
        assert "authorization" not in repr(flow.get_state()).lower()


@pytest.mark.parametrize("content", ["masked", "original"])
def test_the_same_policy_changes_nothing_of_what_was_recorded(
    content: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    conf = request.getfixturevalue(content)
    said = replayed(conf, tmp_path, OPEN_POLICY)
    assert (said["flows"], said["changes"]["same"]) == (len(ASKED), len(ASKED)), said
    assert said["base"]["cost_micro_usd"] == said["candidate"]["cost_micro_usd"]


@pytest.mark.parametrize("content", ["masked", "original"])
def test_another_policy_changes_exactly_what_it_says(
    content: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    conf = request.getfixturevalue(content)
    stricter = (
        OPEN_POLICY
        + "\nmasking: {entities: {CREDIT_CARD: deny, EMAIL_ADDRESS: allow}}\nsecrets: {action: mask}\n"
    )
    said = replayed(conf, tmp_path, stricter)
    assert said["changes"]["newly_refused"] == 1
    assert said["changes"]["newly_allowed"] == 1
    assert said["changes"]["masks_changed"] == 2
    ids = {
        event.exchange for event in recorded(conf) if event.kind in (EventKind.ADMITTED, EventKind.REFUSED)
    }
    assert {sample["id"] for sample in said["samples"]} <= ids


PRICED = (
    OPEN_POLICY
    + """
prices: {contract: [{model: '*', provider: openai, input_usd: 1, output_usd: 10}]}
limits: {rules: [{id: day, measure: cost_usd, limit: 0.05, per: day, by: []}]}
"""
)


@pytest.mark.parametrize("content", ["masked", "original"])
def test_an_answer_that_did_not_come_costs_in_a_replay_what_it_cost(
    content: str, tmp_path: Path, lab: Lab
) -> None:
    with running(tmp_path, lab, policy=f"{PRICED}capture: {{share: 1, content: {content}}}\n") as gateway:
        for model in ("reset", "reset-again", "error-500", "error-429", "cut-3", "whole"):
            for stream in (False, True):
                ask(gateway, model, "Tell me more.", stream=stream, max_tokens=1000)
        ends = [e for e in settled(gateway.confdir) if e.is_end]
    said = replayed(gateway.confdir, tmp_path, PRICED)
    assert said["base"]["cost_micro_usd"] == sum(e.cost_micro_usd or 0 for e in ends)
    assert said["candidate"]["cost_micro_usd"] == said["base"]["cost_micro_usd"]
    assert said["changes"]["same"] == len(ends) == 12, said["changes"]


ECHOED = OPEN_POLICY + "\nmasking: {entities: {EMAIL_ADDRESS: allow}}\noutput: {pii: %s}\n"


@pytest.mark.parametrize("content", ["masked", "original"])
def test_what_rules_for_answers_would_do_is_found(content: str, tmp_path: Path, lab: Lab) -> None:
    conf = run(tmp_path / "gateway", lab, f"share: 1, content: {content}", ECHOED % "observe")
    assert replayed(conf, tmp_path, ECHOED % "observe")["changes"]["same"] == len(ASKED)
    masked = replayed(conf, tmp_path, ECHOED % "mask")
    assert masked["changes"]["answer_changed"] == 2, masked
    assert masked["candidate"]["answers_edited"] == {"pii.contact.email_address": 2}
    refused = replayed(conf, tmp_path, ECHOED % "refuse")
    assert refused["changes"]["answer_newly_ended"] == 2
    assert refused["changes"]["same"] == len(ASKED) - 2


def test_what_was_done_with_answers_was_recorded(tmp_path: Path, lab: Lab) -> None:
    conf = run(tmp_path / "gateway", lab, "share: 1, content: original", ECHOED % "refuse")
    assert MAIL in (flows(conf)["mail"].response.get_text() or ""), "what the provider wrote"  # type: ignore[union-attr]
    assert replayed(conf, tmp_path, ECHOED % "refuse")["changes"]["same"] == len(ASKED)
    assert replayed(conf, tmp_path, ECHOED % "allow")["changes"]["answer_newly_whole"] == 2


def replayed(conf: Path, folder: Path, policy: str) -> Any:
    file = folder / "policy.yaml"
    file.write_text(policy)
    words = [
        "replay",
        str(conf / "captures"),
        "--policy",
        str(file),
        "--confdir",
        str(conf),
        "--jobs",
        "1",
        "--json",
    ]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert not any(value in done.output for value in (MAIL, SECRET, CARD, CANARY))
    return json.loads(done.stdout)


def test_nothing_is_kept_unless_the_policy_says_so(tmp_path: Path, lab: Lab) -> None:
    conf = run(tmp_path, lab, "share: 0")
    assert not (conf / "captures").exists()
    assert not (conf / "master.key").exists()


@pytest.mark.parametrize("content", ["masked", "original"])
def test_what_a_capture_leaves_out_of_the_head_is_decided_on_in_a_replay(
    content: str, tmp_path: Path, lab: Lab
) -> None:
    with running(
        tmp_path, lab, policy=f"{OPEN_POLICY}\ncapture: {{share: 1, content: {content}}}\n"
    ) as gateway:
        for model, path, *headers in (
            ("mail", CHAT, f"X-Note: {MAIL}"),
            ("secret", CHAT, f"X-Note: {SECRET}"),
            ("query", f"{CHAT}?note=5"),
            ("encoded", f"{CHAT}?note=%41"),
        ):
            request = post(path, chat(model), OPENAI, *headers)
            rawclient.ask(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, request, timeout=10)
    ends = [event for event in recorded(gateway.confdir) if event.is_end]
    assert [end.kind for end in ends] == [EventKind.REFUSED] * 4
    said = replayed(gateway.confdir, tmp_path, OPEN_POLICY)
    assert said["changes"]["same"] == 4, said["changes"]
    allowing = OPEN_POLICY + "\nmasking: {entities: {EMAIL_ADDRESS: allow}}\n"
    assert replayed(gateway.confdir, tmp_path, allowing)["changes"]["newly_allowed"] == 1


def test_a_flow_that_was_changed_is_told_with_what_is_not_read_for_it(original: Path, tmp_path: Path) -> None:
    conf = shutil.copytree(original, tmp_path / "conf")
    (file,) = (conf / "captures").glob("*.flows")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    places = [at for at, flow in CaptureFile(file, MasterKeys(conf, {})).records() if flow is None]
    words = ["replay", str(conf / "captures"), "--policy", "observe", "--confdir", str(conf), "--jobs", "1"]
    done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["cut_files"] == len(places) == 1
    assert json.loads(done.stdout)["flows"] < len(ASKED)
    assert f"byte {places[0]} is cut off, damaged or changed" in done.stderr
    assert f"({len(data) - places[0]} bytes)" in done.stderr
