"""A capture holds nothing that a rule knows, also where no stage got as far as to look for it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mitmproxy import http
from mitmproxy.io import tnetstring

import rawclient
from e2e.traffic import CHAT, OPENAI, ask, chat, running, settled
from gateways import OPEN_POLICY, GatewayProcess, lab_in_thread
from rawclient import post
from sallyport.lab.server import Lab
from sallyport.state.captures import CaptureFile
from sallyport.state.masterkey import MasterKeys

MAIL = "odile.brandt@example.org"
SECRET = "sk-proj-" + "Qm7vXw2LpZ" * 5
STRANGE = "sk-ant-api03-" + "Qm7vXw2LpZ" * 9 + "QmAA"
FORMLESS = "key-of-nobody-known"
PASSWORD = "".join(("Vq8!", "xT2mL", "Zr4k"))
POLICY = (
    OPEN_POLICY
    + """
access: {models: {forbid: ["stopped*"]}}
detection: {max_text_bytes: 3000}
secrets: {action: mask}
"""
)
REPEATING = [
    {"role": "user", "content": f"password: {PASSWORD}"},
    {"role": "assistant", "content": "And now?"},
    {"role": "user", "content": f"I typed {PASSWORD} twice."},
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_in_thread() as up:
        yield up


def sent(gateway: GatewayProcess, model: str, *headers: str, body: bytes = b"", path: str = CHAT) -> None:
    request = post(path, body or chat(model), OPENAI, *headers)
    rawclient.ask(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, request, timeout=10)


def run(folder: Path, lab: Lab, content: str) -> dict[str, str]:
    """Return what is kept of each request, by its model, as text; what has none is `unread`."""
    with running(folder, lab, policy=f"{POLICY}capture: {{share: 1, content: {content}}}\n") as gateway:
        ask(gateway, "stopped", f"{SECRET} {MAIL}")
        ask(gateway, "long", f"{SECRET} {'word ' * 1000}")
        ask(gateway, "plain", "What is a sally port?")
        sent(gateway, "header", f"OpenAI-Beta: {SECRET}")
        sent(gateway, "strange", f"X-API-Key: {STRANGE}", f"X-Trace: {SECRET}")
        sent(gateway, "formless", f"X-Goog-Api-Key: {FORMLESS}")
        sent(gateway, "unread", body=f'{{"key": "{SECRET}"}}'.encode(), path=f"/v1/unheard/{SECRET}")
        sent(gateway, "again", body=json.dumps({"model": "again", "messages": REPEATING}).encode())
        settled(gateway.confdir)
    kept = {}
    for path in (folder / "conf" / "captures").glob("*.flows"):
        for _, record in CaptureFile(path, MasterKeys(folder / "conf", {})).records():
            assert record is not None
            flow = http.HTTPFlow.from_state(tnetstring.loads(record))
            body = flow.request.get_content() or b""
            model = json.loads(body).get("model") if body.startswith(b"{") else None
            kept[model or "unread"] = repr(flow.get_state())
    return kept


def test_a_masked_capture_is_searched_whole_whoever_refused_the_request(tmp_path: Path, lab: Lab) -> None:
    kept = run(tmp_path, lab, "masked")
    assert set(kept) == {"stopped", "plain", "header", "strange", "formless", "unread", "again"}
    assert "[EMAIL_ADDRESS]" in kept["stopped"]
    assert "And now?" in kept["again"]
    for model, state in kept.items():
        for value in (SECRET, MAIL, STRANGE, FORMLESS, PASSWORD):
            assert value not in state, model


def test_an_original_capture_has_no_credential_in_its_head(tmp_path: Path, lab: Lab) -> None:
    kept = run(tmp_path, lab, "original")
    assert MAIL in kept["stopped"]
    for model in ("header", "strange", "formless"):
        for value in (SECRET, STRANGE, FORMLESS):
            assert value not in kept[model], model
