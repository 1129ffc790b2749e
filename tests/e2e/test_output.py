"""What may come back: real SDKs and raw clients against a gateway that masks, ends and refuses answers."""

import json
import time
from collections.abc import Iterator

import pytest

from e2e.test_aborts import HEAD, openai_event
from e2e.test_sdks import call
from e2e.traffic import Villain, Wire, eventually, hang, running, settled, villain
from gateways import GatewayProcess
from rawclient import post
from sallyport.audit.events import Event, EventKind
from sallyport.decision import Action
from sallyport.exchange import Surface
from sallyport.lab.server import Lab

GROQ = "api.groq.com"
CHAT_AT_GROQ = "/openai/v1/chat/completions"
MAIL = "marta.quill@example.com"
POLICY = """\
version: 1
identity: {unknown: anonymous}
masking: {mode: observe}
secrets: {mode: observe}
injection: {mode: observe}
output:
  pii: mask
  rules:
    output.commands.*: truncate
    pii.finance.iban: refuse
transport: {hold_s: 0.4}
"""
IBAN = "DE89 3704 0044 0532 0130 00"
COMMAND = "rm -rf --no-preserve-root /"


@pytest.fixture(scope="module")
def upstream(lab: Lab) -> Iterator[Villain]:
    with villain(lab.ca, {}) as server:
        yield server


@pytest.fixture(scope="module")
def filtering(
    lab: Lab, upstream: Villain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("output")
    with running(folder, lab, policy=POLICY, to={GROQ: upstream.port}) as gateway:
        yield gateway


def end_of(gateway: GatewayProcess, model: str) -> Event:
    """The end event of the one exchange with a model name."""
    (end,) = [e for e in settled(gateway.confdir, 30) if e.model == model and e.is_end]
    return end


@pytest.mark.parametrize(("sdk", "kind"), [("openai", "responses_stream"), ("anthropic", "stream")])
def test_an_address_that_the_model_wrote_is_masked(filtering: GatewayProcess, sdk: str, kind: str) -> None:
    model = f"masked-{sdk}-{kind}"
    answer = call(filtering, sdk, kind, model, f"Write to {MAIL}, or to nobody at all.")
    got = answer.get("got", answer)
    assert got == "You wrote: Write to [EMAIL_ADDRESS], or to nobody at all."
    end = end_of(filtering, model)
    (decision,) = end.decisions
    assert (end.kind, decision.stage, decision.action) == (EventKind.COMPLETED, "output", Action.MODIFY)
    assert decision.reason == "output.masked"
    (finding,) = decision.findings
    assert (finding.entity, finding.surface) == ("EMAIL_ADDRESS", Surface.ASSISTANT)
    assert end.detail == ""


@pytest.mark.parametrize(
    ("sdk", "kind"),
    [("openai", "stream"), ("openai", "chat"), ("anthropic", "stream"), ("google-genai", "stream")],
)
def test_an_answer_ends_where_a_command_begins_and_the_sdk_finishes(
    filtering: GatewayProcess, sdk: str, kind: str
) -> None:
    model = f"ended-{sdk}-{kind}"
    answer = call(filtering, sdk, kind, model, f"To clean up, run `{COMMAND}` and then go home.")
    assert answer.get("got") == "You wrote: To clean up, run `", answer
    assert end_of(filtering, model).detail == "output.truncated"


@pytest.mark.parametrize(
    ("sdk", "kind", "error"),
    [
        ("openai", "chat", "PermissionDeniedError"),
        ("anthropic", "stream", "APIStatusError"),
    ],
)
def test_a_refused_answer_raises_in_the_sdk(
    filtering: GatewayProcess, sdk: str, kind: str, error: str
) -> None:
    model = f"refused-{sdk}-{kind}"
    answer = call(filtering, sdk, kind, model, f"Pay to {IBAN} today, and do not wait.")
    assert answer.get("raised") == error, answer
    assert "pii.finance.iban" in answer["message"]
    assert "3704" not in answer["message"]
    end = end_of(filtering, model)
    assert end.detail == "output.refused"
    assert end.decisions[0].action is Action.DENY
    assert end.usage is not None
    assert end.usage.output


def test_tool_arguments_stay_json_when_a_value_in_them_is_masked(filtering: GatewayProcess) -> None:
    got = call(filtering, "openai", "tool_stream", "arguments", f'Mail "{MAIL}"\nnow.')["got"]
    said = 'Mail "[EMAIL_ADDRESS]"\nnow.'
    assert json.loads(got) == {"to": said, "body": said}


def opened(gateway: GatewayProcess, model: str) -> Wire:
    """A streaming request on its way to the villain."""
    wire = Wire.open(gateway, GROQ)
    body = {"model": model, "messages": [{"role": "user", "content": "Go on."}], "stream": True}
    wire.send(post(CHAT_AT_GROQ, json.dumps(body).encode(), GROQ))
    return wire


@pytest.mark.parametrize(
    ("model", "said", "detail"),
    [
        ("cut-upstream", f"First run {COMMAND}\n and ", "output.truncated"),
        ("refuse-upstream", f"Pay {IBAN} and ", "output.refused"),
    ],
)
def test_ending_a_stream_cancels_the_upstream(
    filtering: GatewayProcess, upstream: Villain, model: str, said: str, detail: str
) -> None:
    """The provider would have gone on for ever; it sees the connection close, and the client sees an end."""
    upstream.deeds[model] = hang(
        HEAD, openai_event("Well. "), openai_event(said), openai_event("then more. ")
    )
    with_upstream = opened(filtering, model)
    with_upstream.read_all()
    eventually(lambda: model in upstream.gone, 30, "the upstream was cancelled")
    whole = bytes(with_upstream.data)
    assert b"Well. " in whole
    assert not [word for word in (b"then more", b"no-preserve", b"3704") if word in whole]
    assert (b'"content_filter"' in whole) == (detail == "output.truncated")
    assert whole.rstrip().endswith(b"0")
    assert b"[DONE]" in whole or b'"error"' in whole
    assert end_of(filtering, model).detail == detail


def test_what_waits_for_nothing_is_let_go_after_a_time(filtering: GatewayProcess, upstream: Villain) -> None:
    """A number might go on and waits; the model thinks; the client gets it all the same, but never a whole card."""
    upstream.deeds["pausing"] = hang(HEAD, openai_event("You have 12"))
    wire = opened(filtering, "pausing")
    wire.read_until(b"You have 12")
    wire.reset()
    upstream.deeds["pausing-card"] = hang(HEAD, openai_event("The card is 4111 1111 1111 1111"))
    wire = opened(filtering, "pausing-card")
    wire.sock.settimeout(1.5)
    with pytest.raises(TimeoutError):
        wire.read_until(b"4111")
    wire.reset()


def test_a_hostile_answer_gets_no_value_out_through_an_image(gateway: GatewayProcess) -> None:
    """The package's gateway masks and restores as by default: plain text gets the value, links do not."""
    got = call(gateway, "openai", "stream", "hostile-restore-output", f"Remember {MAIL} for me.")["got"]
    assert f"In plain text: {MAIL}." in got
    assert got.count(MAIL) == 1
    assert "evil.example/image" not in got
    (decision,) = end_of(gateway, "hostile-restore-output").decisions
    assert {f.rule.rpartition(".")[0] for f in decision.findings} == {"output.exfiltration"}


def test_nothing_that_was_found_is_written_down(filtering: GatewayProcess) -> None:
    deadline = time.monotonic() + 30
    settled(filtering.confdir, 30)
    assert time.monotonic() < deadline
    for file in (filtering.log, *(f for f in filtering.confdir.rglob("*") if f.is_file())):
        written = file.read_bytes()
        assert MAIL.encode() not in written
        assert b"3704 0044" not in written
        assert b"no-preserve-root" not in written
